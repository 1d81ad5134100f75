"""Concat."""

from math import prod

import numpy as np

from stepcell.importers.graph import Node, Unsupported
from stepcell.importers.lift.attributes import Operands, axis_of
from stepcell.importers.lift.axes import Axes, replaced, require_inner, unify
from stepcell.importers.lift.context import (
    Lift,
    Lifted,
    Phase,
    Tensor,
    constant,
    flat,
    join_phase,
    known,
    per_step,
)
from stepcell.ir.ops import Concat, Value


def concat(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Concat along an inner axis, of data and constants."""
    tensors = [operand for operand in operands if isinstance(operand, Tensor)]
    phase = join_phase(tensors)
    if phase == "initial":
        raise Unsupported(
            "joins state inputs", "give every recurrent operator its own state input, or slices of one."
        )
    rank = len(tensors[0].axes)
    axis = axis_of(int(node.attributes.get("axis", 0)), rank)
    axes = _common_axes(tensors, axis)
    parts, tables, offset = [], [], 0
    for operand in operands:
        name, shape = _part(lift, operand, axes, axis, phase)
        size = prod(shape)
        tables.append(np.arange(offset, offset + size).reshape(shape))
        parts.append(name)
        offset += size
    table = np.concatenate(tables, axis=axis)
    joined = lift.fresh("concat")
    lift.emit(Concat(tuple(parts), Value(joined, (offset,))), phase)
    return [Tensor(joined, table, replaced(axes, axis, (table.shape[axis],)), phase)]


def _part(
    lift: Lift, operand: Lifted | None, axes: Axes, axis: int, phase: Phase
) -> tuple[str, tuple[int, ...]]:
    if isinstance(operand, Tensor):
        return flat(lift, operand), operand.table.shape
    array = per_step(known(operand, "an operand"), replaced(axes, axis, (1,)), lift.sizes)
    return constant(lift, array.ravel(), phase), array.shape


def _common_axes(tensors: list[Tensor], along: int) -> Axes:
    axes = list(tensors[0].axes)
    for tensor in tensors:
        if len(tensor.axes) != len(axes):
            raise Unsupported("joins tensors of different ranks", "check the file.")
        require_inner(tensor.axes[along], "joins tensors along")
        for i, axis in enumerate(tensor.axes):
            axes[i] = axes[i] if i == along else unify(axes[i], axis)
    return tuple(axes)
