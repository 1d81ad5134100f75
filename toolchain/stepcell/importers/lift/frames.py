"""The time axis of convolutions: frames in front and behind, and several frames a step.

A stride over time makes one step consume several frames: the time axis of the input is then the product of
the steps ("time") and an inner size, and lifting starts again with that. A tensor may hold more frames than
its sequence (padding) or fewer (`Tensor.pads`); only windows, slices and functions of every element take it.
"""

from collections.abc import Callable
from dataclasses import replace
from math import gcd

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.graph import Node, Unsupported, all_nodes
from stepcell.importers.lift.attributes import Operands
from stepcell.importers.lift.axes import AFTER, TIME, Axis, Relabel, inner, is_open, labels, replaced
from stepcell.importers.lift.context import Lift, Lifted, Tensor, movable, whole

FRAMES = "frames of a step"
"""A key of the roles: how many frames one step consumes."""
WINDOWS = (
    "Conv",
    "ConvTranspose",
    "Pad",
    "AveragePool",
    "MaxPool",
    "LpPool",
    "Resize",
    "Upsample",
)
"""Operators whose results are not as long as their operands."""


def frames_per_step(roles: dict[str, str]) -> int:
    """How many frames of the source one step takes in, as far as is known."""
    return int(roles.get(FRAMES, "1"))


def need_frames(lift: Lift, axis: Axis, stride: int) -> None:
    """Learn that a step takes more frames, where those of this time axis are no multiple of the stride."""
    here = inner(axis)
    if here % stride:
        raise Relabel({FRAMES: str(frames_per_step(lift.roles) * stride // gcd(here, stride))})


def steps_of(lift: Lift) -> int:
    """The number of steps that the source's shape arithmetic sees."""
    return lift.sizes["time"]


def guessed(lift: Lift, axis: Axis, size: int) -> Axis:
    """What a window makes of an axis whose role is not known: a label of this size in its place."""
    (label,) = (label for label in labels(axis) if is_open(label))
    origin = label.partition(AFTER)[0]
    name = f"{origin}{AFTER}{size}"
    lift.sizes = {**lift.sizes, name: size}
    lift.guesses.add(name)
    return (name,)


def open_label(axis: Axis) -> bool:
    """Whether the role of some part of the axis is not known yet."""
    return any(is_open(label) for label in labels(axis))


def is_time(axis: Axis) -> bool:
    """Whether the axis is time alone, of one or several frames a step."""
    return axis[0] == "time" and labels(axis) == ("time",)


def frames_of(x: Tensor) -> int:
    """How many frames of its time axis one step has."""
    return next((inner(axis) for axis in x.axes if is_time(axis)), 1)


def frames_first(lift: Lift, source: str, found: Tensor) -> Tensor:
    """An output with several frames a step: these are the first of its inner axes."""
    count = frames_of(found)
    if count == 1 or found.phase != "step":
        return found
    at = next(k for k, axis in enumerate(found.axes) if is_time(axis))
    if found.pads != (0, 0):
        raise StepcellError(
            f"{lift.graph.file}: the output '{source}' has {sum(found.pads):+d} frames besides {count} for "
            "every step; exactly so many are allowed.",
            "pad, or cut off what is over, so that every step gives whole frames.",
        )
    rest = tuple(axis for k, axis in enumerate(found.axes) if k != at)
    return replace(found, table=np.moveaxis(found.table, at, 0)[None], axes=(TIME, (count,), *rest))


def trimmed(lift: Lift, x: Tensor, axis: int, chosen: range) -> Tensor | None:
    """The tensor without some frames in front or behind; None where the slice is something else."""
    found, size = x.axes[axis], lift.shape(x)[axis]
    is_last = len(chosen) <= 1 and (not chosen or chosen[0] == size - 1)
    if chosen.step != 1 or is_last or lift.single_step or x.phase != "step":
        return None
    if open_label(found) and any(node.op in WINDOWS for node in all_nodes(lift.graph.nodes)):
        return replace(x, axes=replaced(x.axes, axis, guessed(lift, found, len(chosen))))
    if not is_time(found):
        return None
    pads = (x.pads[0] - chosen.start, x.pads[1] - (size - chosen.stop))
    return replace(x, pads=pads, tail=max(0, min(x.tail, pads[1])))


def last_frame(x: Tensor, axis: int) -> Tensor:
    """The last frame of every step, where a step has several."""
    if not is_time(x.axes[axis]) or x.table.shape[axis] == 1:
        return x
    table = np.take(x.table, [-1], axis=axis)
    return replace(x, table=table, axes=replaced(x.axes, axis, ("time",)))


def require_last_frame(x: Tensor) -> None:
    """The last frame that the tensor holds is that of the last step."""
    if x.pads[1]:
        whole(replace(x, pads=(0, x.pads[1])))


Lifter = Callable[[Lift, Node, Operands], list[Lifted]]


def of_every_frame(lifter: Lifter, lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """A function of every element, of a tensor that may hold other frames than its sequence.

    Zeros in front of a sequence would not stay zeros, so those are refused.
    """
    x = operands[0]
    if not isinstance(x, Tensor) or x.pads == (0, 0):
        return lifter(lift, node, operands)
    if x.pads[0] > 0 or x.pads[1] > x.tail:
        raise Unsupported(
            "computes with padded frames", "pad right before the convolution, after every function."
        )
    (made,) = lifter(lift, node, [replace(movable(x), pads=(0, 0)), *operands[1:]])
    assert isinstance(made, Tensor)
    return [replace(made, pads=x.pads, tail=x.tail)]
