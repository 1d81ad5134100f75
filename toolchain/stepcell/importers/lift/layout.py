"""Operators that only move elements: they change a tensor's table and axes, and emit nothing."""

from dataclasses import replace
from math import prod

import numpy as np

from stepcell.importers.graph import Node, Unsupported
from stepcell.importers.lift import over_time
from stepcell.importers.lift.attributes import Operands, axis_of, ints_of
from stepcell.importers.lift.axes import Axes, Axis, extent, labels, regroup, require_inner
from stepcell.importers.lift.context import (
    Lift,
    Lifted,
    Tensor,
    has_time,
    inner_shape,
    known,
    movable,
    whole,
)


def identity(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Identity, Cast between floats, Dropout in inference."""
    del lift
    if (
        node.op == "Dropout"
        and len(operands) > 2
        and operands[2] is not None
        and np.any(known(operands[2], "a mode"))
    ):
        raise Unsupported("trains", "export the model in evaluation mode.")
    if node.op == "Cast" and int(node.attributes["to"]) not in (1, 10, 11):
        raise Unsupported("casts data to integers; only float types are allowed", "keep the data in float.")
    return [movable(operands[0])]


def transpose(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Transpose."""
    del lift
    x = movable(operands[0])
    rank = len(x.axes)
    order = [int(axis) for axis in node.attributes.get("perm", range(rank)[::-1])]
    if sorted(order) != list(range(rank)):
        raise Unsupported(f"permutes {rank} axes by {order}", "check the file.")
    return [replace(x, table=x.table.transpose(order), axes=tuple(x.axes[axis] for axis in order))]


def swap_axes(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """SwapAxes: PyTorch's transpose, whose rank only the tensor tells."""
    del lift
    x = movable(operands[0])
    order = list(range(len(x.axes)))
    a, b = (axis_of(int(axis), len(order)) for axis in node.attributes["axes"])
    order[a], order[b] = b, a
    return [replace(x, table=x.table.transpose(order), axes=tuple(x.axes[axis] for axis in order))]


def reshape(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Reshape, Flatten, and FlattenAxes (PyTorch's flatten from one axis to another)."""
    x = movable(operands[0])
    shape = lift.shape(x)
    if node.op == "FlattenAxes":
        first, last = (axis_of(int(node.attributes[name]), len(shape)) for name in ("start", "end"))
        wanted = [*shape[:first], prod(shape[first : last + 1]), *shape[last + 1 :]]
    elif node.op == "Flatten":
        axis = int(node.attributes.get("axis", 1))
        axis += len(shape) if axis < 0 else 0
        wanted = [prod(shape[:axis]), prod(shape[axis:])]
    else:
        wanted = [int(size) for size in known(operands[1], "a shape").ravel()]
        if not node.attributes.get("allowzero", 0):
            wanted = [shape[i] if size == 0 and i < len(shape) else size for i, size in enumerate(wanted)]
    return [regrouped(lift, x, complete(wanted, prod(shape)))]


def complete(wanted: list[int], total: int) -> tuple[int, ...]:
    """A reshape's target with its -1 filled in."""
    rest = prod(size for size in wanted if size != -1)
    if wanted.count(-1) > 1 or rest <= 0 or total % rest or (-1 not in wanted and rest != total):
        raise Unsupported(
            f"reshapes {total} elements to {wanted}",
            "if the exporter fixed the number of steps, use the other one (dynamo=), or give that number "
            "as --shape x=...",
        )
    return tuple(total // rest if size == -1 else size for size in wanted)


def regrouped(lift: Lift, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The tensor reshaped to what the source's arithmetic calls `shape`."""
    axes = regroup(whole(x).axes, shape, lift.sizes)
    if has_time(x.axes) and not has_time(axes):  # a frozen time of one step vanishes
        x = over_time.last(lift, x)
    return replace(x, table=x.table.reshape(inner_shape(axes)), axes=axes)


def squeeze(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Squeeze; without axes, of those whose size is one."""
    x = movable(operands[0])
    rank = len(x.axes)
    given = ints_of(node, operands, "axes", 1)
    chosen = [axis_of(axis, rank) for axis in given] if given is not None else _of_size_one(lift, x)
    for axis in chosen:
        if extent(x.axes[axis], lift.sizes) != 1:
            require_inner(x.axes[axis], "squeezes")
            raise Unsupported(f"squeezes axis {axis} of size {lift.shape(x)[axis]}", "check the file.")
    if any("time" in x.axes[axis] for axis in chosen):
        x = over_time.last(lift, x)
    axes = tuple(axis for i, axis in enumerate(x.axes) if i not in chosen)
    return [replace(x, table=x.table.reshape(inner_shape(axes)), axes=axes)]


def _of_size_one(lift: Lift, x: Tensor) -> list[int]:
    return [i for i, axis in enumerate(x.axes) if extent(axis, lift.sizes) == 1]


def unsqueeze(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Unsqueeze."""
    del lift
    x = movable(operands[0])
    given = ints_of(node, operands, "axes", 1) or []
    rank = len(x.axes) + len(given)
    new = {axis_of(axis, rank) for axis in given}
    rest = iter(x.axes)
    axes: Axes = tuple((1,) if i in new else next(rest) for i in range(rank))
    return [replace(x, table=x.table.reshape(inner_shape(axes)), axes=axes)]


def expand(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Expand of inner axes; batch and time keep their size."""
    del node
    x = movable(operands[0])
    target = [int(size) for size in known(operands[1], "a shape").ravel()]
    rank = max(len(target), len(x.axes))
    old: Axes = ((1,),) * (rank - len(x.axes)) + x.axes
    axes = tuple(
        _expanded(lift, axis, size)
        for axis, size in zip(old, [1] * (rank - len(target)) + target, strict=True)
    )
    table = x.table.reshape(inner_shape(old))
    return [replace(x, table=np.broadcast_to(table, inner_shape(axes)), axes=axes)]


def _expanded(lift: Lift, axis: Axis, size: int) -> Axis:
    current = extent(axis, lift.sizes)
    if size in (1, current):
        return axis
    if labels(axis) or current != 1 or not 0 < size <= 2**20:
        require_inner(axis, "expands")
        raise Unsupported(f"expands an axis of size {current} to {size}", "check the file.")
    return (size,)
