"""Pad: of inner axes any mode; of time, zeros, which only a convolution takes in."""

from dataclasses import replace

import numpy as np

from stepcell.importers.graph import Node, Unsupported
from stepcell.importers.lift import frames
from stepcell.importers.lift.attributes import Operands, axis_of, ints_of
from stepcell.importers.lift.axes import inner, labels, replaced
from stepcell.importers.lift.context import LARGEST_STEP, Lift, Lifted, Tensor, constant, flat, known
from stepcell.importers.lift.conv import windowed, zeros_where_nothing
from stepcell.ir.ops import Concat, Value
from stepcell.ir.window import NOTHING

_MODES = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}


def pad(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Pad."""
    x = windowed(operands[0])
    mode = str(node.attributes.get("mode", "constant"))
    value = _value(node, operands)
    for axis, (before, after) in _amounts(node, operands, len(x.axes)).items():
        if before == after == 0:
            continue
        if frames.open_label(x.axes[axis]):
            size = lift.shape(x)[axis] + before + after
            x = replace(x, axes=replaced(x.axes, axis, frames.guessed(lift, x.axes[axis], size)))
        elif labels(x.axes[axis]):
            x = _pad_time(x, axis, (before, after), mode, value)
        else:
            x = _pad_inner(lift, x, axis, (before, after), mode, value)
    return [x]


def _value(node: Node, operands: Operands) -> float:
    if len(operands) > 2 and operands[2] is not None:
        return float(known(operands[2], "a value").ravel()[0])
    return float(node.attributes.get("value", 0.0))


def _amounts(node: Node, operands: Operands, rank: int) -> dict[int, tuple[int, int]]:
    """(before, after) by axis."""
    pads = ints_of(node, operands, "pads", 1) or []
    given = (
        [int(n) for n in known(operands[3], "axes").ravel()]
        if len(operands) > 3 and operands[3] is not None
        else range(rank)
    )
    axes = [axis_of(axis, rank) for axis in given]
    if len(pads) != 2 * len(axes):
        raise Unsupported(f"has the pads {pads} for {len(axes)} axes", "check the file.")
    return dict(zip(axes, zip(pads[: len(axes)], pads[len(axes) :], strict=True), strict=True))


def _pad_time(x: Tensor, axis: int, amount: tuple[int, int], mode: str, value: float) -> Tensor:
    before, after = amount
    if not frames.is_time(x.axes[axis]):
        raise Unsupported("pads the batch axis", "pad inner axes, or time.")
    cuts = (before > 0 and x.pads[0] < 0) or (after > 0 and x.pads[1] < 0)
    if (mode != "constant" or value != 0.0) or cuts or (after > 0 and x.tail):
        raise Unsupported(
            f"pads the time axis by {before} and {after} frames in the mode {mode}, value {value:g}",
            "pad it once with zeros, in front of a convolution, so that a stream starts the same.",
        )
    pads = (x.pads[0] + before, x.pads[1] + after)
    return replace(x, pads=pads, tail=max(0, min(x.tail, pads[1])))


def _pad_inner(lift: Lift, x: Tensor, axis: int, amount: tuple[int, int], mode: str, value: float) -> Tensor:
    before, after = amount
    size = x.table.shape[axis]
    keep = np.take(x.table, range(max(0, -before), size - max(0, -after)), axis=axis)
    width = [(0, 0)] * x.table.ndim
    width[axis] = (max(0, before), max(0, after))
    axes = replaced(x.axes, axis, (size + before + after,))
    if keep.shape[axis] < 1:
        raise Unsupported("cuts everything off", "check the file.")
    if keep.size // keep.shape[axis] * (size + before + after) > LARGEST_STEP:
        raise Unsupported(f"pads an axis to {size + before + after}", "check the file.")
    if mode in _MODES:
        return replace(x, table=np.pad(keep, width, mode=mode), axes=axes)  # type: ignore[call-overload]
    if mode != "constant":
        raise Unsupported(f"has the mode {mode}", "constant, reflect, edge and wrap are allowed.")
    if value != 0.0:
        return _with_constant(lift, replace(x, table=keep), width, value, axis)
    table = np.pad(keep, width, constant_values=NOTHING)
    if not any(max(pair, default=0) for pair in width):
        return replace(x, table=keep, axes=axes)
    return zeros_where_nothing(lift, replace(x, axes=axes), table)


def _with_constant(lift: Lift, x: Tensor, width: list[tuple[int, int]], value: float, axis: int) -> Tensor:
    """One more element holds the constant."""
    source = flat(lift, x)
    size = lift.values[source].size
    number = constant(lift, np.array([value]), x.phase)
    name = lift.fresh("concat")
    lift.emit(Concat((source, number), Value(name, (size + 1,))), x.phase)
    whole = source == x.value
    table = x.table if whole else np.arange(x.table.size).reshape(x.table.shape)
    padded = np.pad(table, width, constant_values=size)
    found = x.axes[axis]
    axes = replaced(x.axes, axis, (*labels(found), inner(found) - x.table.shape[axis] + padded.shape[axis]))
    return replace(x, value=name, table=padded, axes=replaced(axes, axis, (padded.shape[axis],)))
