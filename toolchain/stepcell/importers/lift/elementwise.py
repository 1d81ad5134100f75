"""Add, Sub, Mul, Div by a constant, Max; Relu, Sigmoid, Tanh, Softmax."""

from dataclasses import replace

import numpy as np

from stepcell.importers.graph import Node, Unsupported
from stepcell.importers.lift.attributes import Operands, axis_of
from stepcell.importers.lift.axes import Axes, labels, require_inner, unify
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
from stepcell.ir.ops import Activate, Binary, FunctionName, Operator, Value

_OPERATORS: dict[str, Operator] = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "mul", "Max": "max"}
_FUNCTIONS: dict[str, FunctionName] = {"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh"}


def binary(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Arithmetic of two operands that broadcast; a constant may stand on either side."""
    if len(operands) != 2:
        raise Unsupported(f"has {len(operands)} operands; two are allowed", "nest operators of two operands.")
    if node.op == "Div":
        operands = [operands[0], 1.0 / known(operands[1], "a divisor").astype(np.float64)]
    if node.op == "Add":
        absorbed = absorb_bias(lift, node, operands)
        if absorbed is not None:
            return [absorbed]
    phase = join_phase(tensor(found) for found in operands if isinstance(found, Tensor))
    axes = _meeting_axes(operands)
    sides = [_side(lift, operand, axes, phase) for operand in operands]
    operator = _OPERATORS[node.op]
    shape = np.broadcast_shapes(*(lift.values[name].shape for name in sides))
    made = lift.fresh(operator)
    lift.emit(Binary(sides[0], sides[1], Value(made, shape), operator), phase)
    return [data(made, inner_shape(axes), axes, phase)]


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
        return materialise(lift, replace(operand, table=table), _kept(table.shape, axes))
    array = _aligned(known(operand, "an operand"), axes)
    array = per_step(array, axes, lift.sizes)
    if array.size == 1:
        return constant(lift, array.reshape(()), phase)
    _check_broadcast(array, axes)
    return constant(lift, array.reshape(_kept(array.shape, axes)), phase)


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


def activate(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """A function of every element, in the value's own order."""
    x = tensor(operands[0])
    function = _FUNCTIONS[node.op]
    made = lift.fresh(function)
    lift.emit(Activate(x.value, Value(made, lift.values[x.value].shape), function), x.phase)
    return [replace(x, value=made)]


def softmax(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Softmax over one inner axis (before opset 13: all axes from `axis` on, of which one may be long)."""
    x = tensor(operands[0])
    old = lift.graph.opset < 13
    axis = axis_of(int(node.attributes.get("axis", 1 if old else -1)), len(x.axes))
    if old:
        axis = _only_long_axis(lift, x, axis)
    require_inner(x.axes[axis], "runs over")
    moved = np.moveaxis(x.table, axis, -1)
    shape = (*(size for size in moved.shape[:-1] if size > 1), moved.shape[-1])
    source = materialise(lift, replace(x, table=moved), shape)
    made = lift.fresh("softmax")
    lift.emit(Activate(source, Value(made, shape), "softmax"), x.phase)
    table = np.moveaxis(np.arange(moved.size).reshape(moved.shape), -1, axis)
    return [Tensor(made, table, x.axes, x.phase)]


def _only_long_axis(lift: Lift, x: Tensor, first: int) -> int:
    shape = lift.shape(x)
    long = [i for i in range(first, len(shape)) if shape[i] > 1] or [first]
    if len(long) > 1:
        raise Unsupported("runs over several axes at once (opset below 13)", "export with opset 13 or later.")
    return long[0]
