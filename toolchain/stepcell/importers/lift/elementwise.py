"""Arithmetic of operands that broadcast: Add, Sub, Mul, Div, and Max, Min, Sum, Mean of any number."""

from dataclasses import replace

import numpy as np

from stepcell.importers.graph import Node, Unsupported
from stepcell.importers.lift import attention_operators
from stepcell.importers.lift.attributes import Operands
from stepcell.importers.lift.axes import Axes, labels, unify
from stepcell.importers.lift.context import (
    Known,
    Lift,
    Lifted,
    Phase,
    Tensor,
    constant,
    data,
    inner_shape,
    join_phase,
    known,
    materialise,
    per_step,
    tensor,
)
from stepcell.importers.lift.dense import absorb_bias
from stepcell.ir.operators import Operator
from stepcell.ir.ops import Binary, Value

_OPERATORS: dict[str, Operator] = {
    "Add": "add",
    "Sub": "sub",
    "Mul": "mul",
    "Div": "div",
    "Max": "max",
    "Min": "min",
    "Sum": "add",
    "Mean": "add",
}


def binary(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Arithmetic of two operands that broadcast; a constant may stand on either side."""
    if len(operands) != 2:
        raise Unsupported(f"has {len(operands)} operands; two are allowed", "nest operators of two operands.")
    if node.op == "Add":
        absorbed = absorb_bias(lift, node, operands)
        if absorbed is not None:
            return [absorbed]
    return [combined(lift, _OPERATORS[node.op], *operands)]


def variadic(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Sum, Mean, Max and Min of any number of operands, from left to right."""
    made = operands[0]
    for operand in operands[1:]:
        if isinstance(made, Tensor) or isinstance(operand, Tensor):
            made = combined(lift, _OPERATORS[node.op], made, operand)
        else:
            made = _NUMPY[node.op](known(made, "an operand"), known(operand, "an operand"))
    if node.op == "Mean" and len(operands) > 1:
        made = combined(lift, "mul", made, np.asarray(1.0 / len(operands)))
    return [tensor(made)]


_NUMPY = {"Sum": np.add, "Mean": np.add, "Max": np.maximum, "Min": np.minimum}


def combined(lift: Lift, operator: Operator, a: Lifted | None, b: Lifted | None) -> Tensor:
    """a (operator) b, of which at least one is data."""
    if operator == "div" and not isinstance(b, Tensor):
        operator, b = "mul", 1.0 / known(b, "a divisor").astype(np.float64)
    operands = [a, b]
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        attended = attention_operators.combined(lift, operator, a, b, lambda: _meeting_axes(operands))
        if attended is not None:
            return attended
    phase = join_phase(numbers(lift, found) for found in operands if isinstance(found, Tensor))
    if isinstance(a, Tensor) and isinstance(b, Tensor) and _lie_alike(lift, a, b):
        shape, made = lift.values[a.value].shape, lift.fresh(operator)
        lift.emit(Binary(a.value, b.value, Value(made, shape), operator), phase)
        return replace(a, value=made)
    axes = _meeting_axes(operands)
    sides = [_side(lift, operand, axes, phase) for operand in operands]
    shape = np.broadcast_shapes(*(lift.values[name].shape for name in sides))
    made = lift.fresh(operator)
    lift.emit(Binary(sides[0], sides[1], Value(made, shape), operator), phase)
    return data(made, inner_shape(axes), axes, phase)


def _lie_alike(lift: Lift, a: Tensor, b: Tensor) -> bool:
    """Whether both hold all of a value in the same order, though not its own: no need to reorder them."""
    same = a.axes == b.axes and lift.values[a.value].shape == lift.values[b.value].shape
    size = lift.values[a.value].size
    whole = a.table.size == size and np.array_equal(a.table, b.table)
    moved = bool((np.diff(a.table.ravel()) < 0).any())
    return same and whole and moved and len(np.unique(a.table)) == size


def numbers(lift: Lift, operand: Lifted | None) -> Tensor:
    """The operand as real numbers; refused where it is a token, whose size means nothing."""
    found = tensor(operand)
    if lift.values[found.value].dtype == "token":
        raise Unsupported(
            "computes with integers (tokens); only a look-up in a table is allowed",
            "feed float numbers, or look the tokens up in a table first.",
        )
    return found


def _meeting_axes(operands: Operands) -> Axes:
    """The result's axes: aligned from the last, batch with batch and time with time."""
    rank = max(len(_axes(operand)) for operand in operands)
    axes: Axes = ((1,),) * rank
    for operand in operands:
        aligned = ((1,),) * (rank - len(_axes(operand))) + _axes(operand)
        if isinstance(operand, Tensor):
            axes = tuple(unify(a, b) for a, b in zip(axes, aligned, strict=True))
    return tuple(_widened(axis, [_size(op, i - rank) for op in operands]) for i, axis in enumerate(axes))


def _axes(operand: Lifted | None) -> Axes:
    return (
        operand.axes
        if isinstance(operand, Tensor)
        else tuple((size,) for size in known(operand, "an operand").shape)
    )


def _size(operand: Lifted | None, from_end: int) -> int:
    """A constant's size along an axis; one where it has none, or for data."""
    if isinstance(operand, Tensor) or operand is None or operand.ndim < -from_end:
        return 1
    return int(operand.shape[from_end])


def _widened(axis: tuple[int | str, ...], sizes: list[int]) -> tuple[int | str, ...]:
    return axis if labels(axis) or axis != (1,) else (max(sizes),)


def _side(lift: Lift, operand: Lifted | None, axes: Axes, phase: Phase) -> str:
    """The operand as a value whose shape broadcasts to the result's."""
    if isinstance(operand, Tensor):
        table = operand.table
        table = table.reshape((1,) * (len(axes) - table.ndim) + table.shape)
        return _broadcastable(lift, replace(operand, table=table), _kept(table.shape, axes))
    array = _aligned(known(operand, "an operand"), axes)
    array = per_step(array, axes, lift.sizes)
    if array.size == 1:
        return constant(lift, array.reshape(()), phase)
    _check_broadcast(array, axes)
    return constant(lift, array.reshape(_kept(array.shape, axes)), phase)


def _broadcastable(lift: Lift, operand: Tensor, shape: tuple[int, ...]) -> str:
    """A value of this shape, or of the same without its leading ones."""
    value = lift.values[operand.value]
    short = shape[next((i for i, size in enumerate(shape) if size != 1), len(shape)) :]
    return materialise(lift, operand, short if value.shape == short else shape)


def _aligned(array: Known, axes: Axes) -> Known:
    return array.reshape((1,) * (len(axes) - array.ndim) + array.shape)


def _check_broadcast(array: Known, axes: Axes) -> None:
    for size, wanted in zip(array.shape, inner_shape(axes), strict=True):
        if size not in (1, wanted):
            raise Unsupported(f"combines axes of size {size} and {wanted}", "check the file.")


def _kept(shape: tuple[int, ...], axes: Axes) -> tuple[int, ...]:
    """The per-step shape: batch and time axes, and leading axes of size one, are not in it."""
    whole = inner_shape(axes)
    kept = [i for i, axis in enumerate(axes) if not labels(axis) or whole[i] > 1]
    while len(kept) > 1 and whole[kept[0]] == 1:
        kept.pop(0)
    return tuple(shape[i] for i in kept)
