"""A function of one int16 value as the smallest table that is exact enough.

A table's error is known, as there are only 65,536 arguments: it is computed for each of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stepcell.errors import StepcellError
from stepcell.ir.model import FloatArray
from stepcell.ir.qfunctions import QLookup, QOctaves
from stepcell.ir.qvalue import IntArray, QValue
from stepcell.reference import integer_functions

Function = Callable[[FloatArray], FloatArray]
Sign = Literal["none", "even", "odd"]

CLOSE_ENOUGH = 8.0
"""Units of the result (2.4e-4 of its range), what the sigmoid table errs by; a larger table is for worse."""
FAR_OFF = 328.0
"""Units of the result, 1 % of its range: what even the largest table errs by more than is refused."""
HEADROOM = 1.25
"""A result's scale may grow by so much."""
FIXED_SCALE = 2.0**-11
"""The scale of what a sigmoid reads, which may not."""
_EVERY = np.arange(-32768, 32768)


@dataclass(frozen=True)
class Fit:
    """A table, how many numbers it has, and its largest error in units of the result."""

    op: QLookup | QOctaves
    entries: int
    error: float

    @property
    def text(self) -> str:
        """For the manifest."""
        kind = "octaves" if isinstance(self.op, QOctaves) else "equal steps"
        units = f"{self.error:.1f} units of {self.op.y.scale:.3g}"
        return f"a table of {self.entries} numbers in {kind}, within {units}"


def fit_table(x: str, scale: float, y: QValue, function: Function, positive: bool) -> Fit:
    """The first table within CLOSE_ENOUGH, or the best one; StepcellError where that is FAR_OFF.

    positive: x is never negative.
    """
    best: Fit | None = None
    for op, entries in _candidates(x, scale, y, function, positive):
        fit = Fit(op, entries, _error(op, scale, function, positive, 32767.0 * y.scale))
        if fit.error <= CLOSE_ENOUGH:
            return fit
        if best is None or fit.error < best.error:
            best = fit
    assert best is not None
    if best.error > FAR_OFF:
        raise StepcellError(
            f"{y.name}: no table comes closer to its function than {best.error / 327.67:.2g} % of its range.",
            "a function that jumps, or is steep over a small part of its range, is not lowered to C: "
            "use another, or rescale its argument.",
        )
    return best


def _candidates(
    x: str, scale: float, y: QValue, function: Function, positive: bool
) -> list[tuple[QLookup | QOctaves, int]]:
    """Tables in the order of their sizes."""
    found: list[tuple[QLookup | QOctaves, int]] = []
    for shift in (8, 7, 6):
        nodes = np.arange(-32768, 32769, 1 << shift)
        to = _with_headroom(function, nodes, scale, y)
        found.append((QLookup(x, to, _stored(function, nodes, scale, to), shift), len(nodes)))
        if shift == 8:
            nodes = integer_functions.octave_nodes()
            to = _with_headroom(function, nodes, scale, y)
            table = _stored(function, nodes, scale, to)
            found += [
                (QOctaves(x, to, table, sign), len(nodes)) for sign in _signs(function, scale, positive)
            ]
    return found


def _with_headroom(function: Function, nodes: IntArray, scale: float, y: QValue) -> QValue:
    """y in a scale that holds the first node beyond its range, if that is near: a line leads there."""
    with np.errstate(all="ignore"):
        values = np.abs(function(_real(nodes, scale))) / y.scale
    inside = values <= 32767.0
    beside = np.append(inside[1:], False) | np.append(False, inside[:-1])
    edge = values[beside & ~inside & (values <= 32767.0 * HEADROOM)].max(initial=32767.0)
    return y if y.scale == FIXED_SCALE else replace(y, scale=y.scale * edge / 32767.0)


def _signs(function: Function, scale: float, positive: bool) -> list[Sign]:
    if positive:
        return ["none"]
    v = _real(np.arange(1, 32768), scale)
    with np.errstate(all="ignore"):
        above, below = function(v), function(-v)
    if not np.isfinite(below).any():
        return ["none"]
    close = 1e-9 * np.abs(above).max()
    if np.allclose(above, below, rtol=1e-9, atol=close):
        return ["even"]
    return ["odd"] if np.allclose(above, -below, rtol=1e-9, atol=close) else []


def _stored(function: Function, nodes: IntArray, scale: float, y: QValue) -> IntArray:
    """The function's values at the nodes; at a pole what int16 holds nearest, 0 where undefined."""
    with np.errstate(all="ignore"):
        values = np.floor(function(_real(nodes, scale)) / y.scale + 0.5)
    limited = np.clip(np.nan_to_num(values, nan=0.0, posinf=32767, neginf=-32768), -32768, 32767)
    return np.asarray(limited, np.int64)


def _error(op: QLookup | QOctaves, scale: float, function: Function, positive: bool, largest: float) -> float:
    """The largest distance to the function, where its magnitude is at most `largest`."""
    x = _EVERY[_EVERY >= 0] if positive else _EVERY
    with np.errstate(all="ignore"):
        exact: NDArray[np.float64] = function(_real(x, scale)) / op.y.scale
    inside = np.isfinite(exact) & (np.abs(exact) * op.y.scale <= largest)
    if not inside.any():
        return 0.0
    run = integer_functions.lookup if isinstance(op, QLookup) else integer_functions.octaves
    return float(np.abs(run(op, x[inside]) - exact[inside]).max())  # type: ignore[arg-type]


def _real(stored: IntArray, scale: float) -> FloatArray:
    return stored.astype(np.float64) * scale
