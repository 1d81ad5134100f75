"""Operators that pick elements: of inner axes any, of time everything or the last step."""

from dataclasses import replace

import numpy as np

from stepcell.importers.graph import Node, Unsupported
from stepcell.importers.lift import frames, over_time
from stepcell.importers.lift.attributes import Operands, axis_of, ints_of
from stepcell.importers.lift.axes import Axes, is_open, labels, replaced, require_inner, without
from stepcell.importers.lift.context import Lift, Lifted, Tensor, known, movable
from stepcell.importers.lift.embed import embed

_END = 2**31 - 1
"""Exporters write this or more for `to the end of the axis`."""


def gather(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Gather with constant indices: any inner ones, or the last step."""
    if isinstance(operands[1], Tensor):
        return embed(lift, node, operands)
    x, indices = movable(operands[0]), known(operands[1], "indices").astype(np.int64)
    axis = axis_of(int(node.attributes.get("axis", 0)), len(x.axes))
    size = lift.shape(x)[axis]
    if indices.size and (indices.min() < -size or indices.max() >= size):
        raise Unsupported(f"gathers index {indices.ravel()[0]} of an axis of size {size}", "check the file.")
    picked = np.where(indices < 0, indices + size, indices)
    if labels(x.axes[axis]):
        x, picked = _pick_label(lift, x, axis, [int(i) for i in picked.ravel()]), np.zeros_like(picked)
    new: Axes = tuple((int(n),) for n in picked.shape)
    axes = (*x.axes[:axis], *new, *x.axes[axis + 1 :])
    return [replace(x, table=np.take(x.table, picked, axis=axis), axes=axes)]


def _pick_label(lift: Lift, x: Tensor, axis: int, indices: list[int]) -> Tensor:
    """One index of a batch or time axis: only the last step (or the only sequence of a frozen batch)."""
    found = x.axes[axis]
    size = lift.shape(x)[axis]
    if indices == [size - 1]:
        x = frames.last_frame(x, axis)
        found = x.axes[axis]
    if len(indices) != 1 or (size > 1 and indices != [size - 1]) or len(found) != 1:
        require_inner(found, f"picks index {indices[0] if indices else 'none'} of")
    if found == ("batch",) and size > 1:
        raise Unsupported(
            "picks one sequence of a batch; only a batch of one allows that", "export a batch of 1."
        )
    if found == ("time",):
        frames.require_last_frame(x)
        return over_time.last(lift, x)
    if is_open(str(found[0])) and size > 1:
        return replace(x, axes=replaced(x.axes, axis, (1,)))
    return replace(x, axes=replaced(x.axes, axis, without(found, str(found[0]))))


def slice_(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Slice of inner axes; of time, everything or the last step."""
    x = movable(operands[0])
    starts, ends = (ints_of(node, operands, name, i) or [] for i, name in ((1, "starts"), (2, "ends")))
    axes = ints_of(node, operands, "axes", 3)
    steps = ints_of(node, operands, "steps", 4) or [1] * len(starts)
    axes = list(range(len(starts))) if axes is None else axes
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise Unsupported("has starts, ends, axes and steps that do not fit", "check the file.")
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        x = _sliced(lift, x, axis_of(axis, len(x.axes)), slice(start, _open_end(end, step), step))
    return [x]


def _open_end(end: int, step: int) -> int | None:
    return None if abs(end) >= _END and (end > 0) == (step > 0) else end


def _sliced(lift: Lift, x: Tensor, axis: int, part: slice) -> Tensor:
    size = lift.shape(x)[axis]
    chosen = range(size)[part]
    if chosen == range(size):
        return x
    if labels(x.axes[axis]):
        trimmed = frames.trimmed(lift, x, axis, chosen)
        return _pick_label(lift, x, axis, list(chosen[:2])) if trimmed is None else trimmed
    if not chosen:
        raise Unsupported("slices nothing out of an axis", "check the file.")
    table = np.take(x.table, list(chosen), axis=axis)
    return replace(x, table=table, axes=replaced(x.axes, axis, (len(chosen),)))


def split(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Split of an inner axis."""
    x = movable(operands[0])
    axis = axis_of(int(node.attributes.get("axis", 0)), len(x.axes))
    size, count = lift.shape(x)[axis], len(node.outputs)
    require_inner(x.axes[axis], "splits")
    parts = ints_of(node, operands, "split", 1) or _even_parts(size, count)
    if sum(parts) != size or len(parts) != count or min(parts) < 1:
        raise Unsupported(f"splits an axis of size {size} into {parts}", "check the file.")
    stops = np.cumsum(parts)
    return [_sliced(lift, x, axis, slice(int(e) - n, int(e), 1)) for n, e in zip(parts, stops, strict=True)]


def _even_parts(size: int, count: int) -> list[int]:
    part = -(-size // count)
    return [part] * (count - 1) + [size - part * (count - 1)]
