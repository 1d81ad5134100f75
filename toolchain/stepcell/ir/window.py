"""What a convolution reads at each output position, as indices into its flat input."""

from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.ops import Conv

NOTHING = -1
"""The index of an element outside the input, which is zero."""


@dataclass(frozen=True)
class Window:
    """A kernel that slides over inner axes; x is [*spatial, channels], channels last."""

    spatial: tuple[int, ...]
    channels: int
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]

    @property
    def positions(self) -> tuple[int, ...]:
        """How many outputs lie along each spatial axis."""
        spans = zip(self.spatial, self.kernel, self.strides, self.dilations, self.pads, strict=True)
        return tuple((n + sum(pad) - (k - 1) * d - 1) // s + 1 for n, k, s, d, pad in spans)

    @property
    def taps(self) -> int:
        """Positions of the input that one output reads, those outside it counted in."""
        return prod(self.kernel)

    @property
    def count(self) -> int:
        """How many outputs there are, over all positions."""
        return prod(self.positions)


def window_of(op: Conv, shape: tuple[int, ...], weights: tuple[int, ...]) -> Window:
    """The window of a convolution over x of this shape, with weights of that."""
    return Window(shape[:-1], shape[-1], weights[1:-1], op.strides, op.dilations, op.pads)


@lru_cache(maxsize=64)
def window_indices(window: Window) -> NDArray[np.int64]:
    """[positions, taps, channels]: which elements of the flat input each output reads, or NOTHING."""
    where = np.zeros((1, 1), np.int64)
    outside = np.zeros((1, 1), np.int64)
    for axis, size in enumerate(window.spatial):
        at = _along(window, axis)
        where = _outer_sum(where * size, at)
        outside = _outer_sum(outside, ((at < 0) | (at >= size)).astype(np.int64))
    elements = where[..., None] * window.channels + np.arange(window.channels)
    found = np.where(outside[..., None] > 0, NOTHING, elements)
    found.flags.writeable = False
    return found


def _along(window: Window, axis: int) -> NDArray[np.int64]:
    """[positions, taps] along one axis: where in the input, possibly outside it."""
    starts = np.arange(window.positions[axis]) * window.strides[axis] - window.pads[axis][0]
    return np.asarray(starts[:, None] + np.arange(window.kernel[axis]) * window.dilations[axis])


def _outer_sum(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """[P, K] and [p, k] -> [P*p, K*k], row-major."""
    return (a[:, None, :, None] + b[None, :, None, :]).reshape(len(a) * len(b), -1)
