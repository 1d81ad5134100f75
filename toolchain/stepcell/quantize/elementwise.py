"""Quantization of everything without weights: activations, arithmetic, layout, running sums."""

import numpy as np

from stepcell.errors import StepcellError
from stepcell.ir.graph import reads
from stepcell.ir.model import all_ops
from stepcell.ir.ops import (
    Activate,
    Binary,
    Concat,
    Constant,
    Count,
    Mean,
    Op,
    Recurrent,
    Take,
    Value,
)
from stepcell.ir.qfunctions import QMin
from stepcell.ir.qmodel import (
    QActivate,
    QAdd,
    QConcat,
    QConstant,
    QCount,
    QMax,
    QMean,
    QMul,
    QOp,
    QTake,
    QTotal,
    QValue,
)
from stepcell.quantize import functions
from stepcell.quantize.context import Q4_11, Q15, Context, is_running, quantize_array
from stepcell.quantize.log_softmax import quantize_log_softmax
from stepcell.quantize.requantize import single_multiplier
from stepcell.quantize.rescale import rescaled


def quantize_activate(context: Context, op: Activate) -> list[QOp]:
    """A relu keeps the scale of its input; sigmoid and tanh go from Q4.11 to Q0.15."""
    x = context.values[op.x]
    if op.function == "softmax":
        return [functions.quantize_softmax(context, op)]
    if op.function == "log_softmax":
        return quantize_log_softmax(context, op)
    if op.function in ("sigmoid", "tanh"):
        name, before = rescaled(context, op.x, Q4_11)
        return [*before, QActivate(name, QValue(op.y.name, op.y.shape, 16, Q15), op.function)]
    if op.function == "relu":
        name, before = rescaled(context, op.x, x.scale)
        return [*before, QActivate(name, QValue(op.y.name, op.y.shape, 16, x.scale), "relu")]
    return [QTake(op.x, QValue(op.y.name, op.y.shape, x.bits, x.scale), tuple(range(x.size)))]


def quantize_binary(context: Context, op: Binary) -> list[QOp]:
    """Sums and products of int16 values; running sums are exact int32, running maxima keep their scale."""
    state = is_running(op, context)
    if state is not None and state in context.means and op.operator == "add":
        return _running_total(context, op, state)
    if state is not None and op.operator in ("max", "min"):
        return _running_extreme(context, op, state)
    if state is not None and op.operator in ("add", "sub"):
        raise StepcellError(
            f"{op.y.name}: '{state}' sums over time without a bound, which no integer holds.",
            "take the mean over time, or let the sum decay.",
        )
    first, repeated = functions.broadcast(context, op.a, op.y.shape)
    second, more = functions.broadcast(context, op.b, op.y.shape)
    return [*repeated, *more, *_arithmetic(context, op, first, second)]


def _arithmetic(context: Context, op: Binary, first: str, second: str) -> list[QOp]:
    """The operation on two values of its shape."""
    a, b = context.values[first], context.values[second]
    y = functions.result_format(context, op.y)
    if op.operator == "div":
        return functions.quantize_division(context, op, first, second)
    if op.operator == "mul":
        unit = a.scale * b.scale * 2.0**15
        y = functions.no_finer(y, unit)
        (multiplier,), shift = single_multiplier(op.y.name, unit / y.scale)
        return [QMul(first, second, y, multiplier, shift)]
    if op.operator in ("max", "min"):
        kind = QMax if op.operator == "max" else QMin
        first, before = rescaled(context, first, y.scale)
        second, then = rescaled(context, second, y.scale)
        return [*before, *then, kind(first, second, y)]
    sign = -1.0 if op.operator == "sub" else 1.0
    y = functions.no_finer(y, max(a.scale, b.scale))
    (ma, mb), shift = single_multiplier(op.y.name, a.scale / y.scale, sign * b.scale / y.scale)
    return [QAdd(first, second, y, ma, mb, shift)]


def _running_total(context: Context, op: Binary, state: str) -> list[QOp]:
    name = op.b if op.a == state else op.a
    x = context.values[name]
    total = context.define_state(QValue(state, x.shape, 32, x.scale))
    term, before = (name, []) if total.scale == x.scale else rescaled(context, name, total.scale)
    (count,) = {m.count for m in all_ops(context.model) if isinstance(m, Mean) and m.total == state}
    return [*before, QTotal(state, count, term, QValue(op.y.name, op.y.shape, 32, total.scale))]


def _running_extreme(context: Context, op: Binary, state: str) -> list[QOp]:
    other = op.b if op.a == state else op.a
    x = context.values[other]
    largest = context.define_state(QValue(state, x.shape, 16, x.scale))
    name, before = rescaled(context, other, largest.scale)
    kind = QMax if op.operator == "max" else QMin
    return [*before, kind(state, name, QValue(op.y.name, op.y.shape, 16, largest.scale))]


def quantize_constant(context: Context, op: Constant, shape: tuple[int, ...]) -> list[QOp]:
    """Repeated offline to the shape that its reader needs, in a scale that its largest number fills."""
    array = np.broadcast_to(context.model.weights[op.weights], shape)
    y = QValue(op.y.name, shape, 16, (float(np.abs(array).max(initial=0.0)) or 1.0) / 32767)
    return [QConstant(y, quantize_array(array, y))]


def quantize_take(context: Context, op: Take) -> list[QOp]:
    """Moves elements; the format stays."""
    x = context.values[op.x]
    return [QTake(op.x, QValue(op.y.name, op.y.shape, x.bits, x.scale), op.indices)]


def quantize_concat(context: Context, op: Concat) -> list[QOp]:
    """Parts of one format are joined as they are; others are first brought to the coarsest int16 scale."""
    parts = [context.values[x] for x in op.xs]
    if len({(part.bits, part.scale) for part in parts}) == 1:
        return [QConcat(op.xs, QValue(op.y.name, op.y.shape, parts[0].bits, parts[0].scale))]
    scale = max(part.scale / (256 if part.bits == 8 else 1) for part in parts)
    names, ops = [], []
    for x in op.xs:
        name, before = rescaled(context, x, scale)
        names.append(name)
        ops += before
    return [*ops, QConcat(tuple(names), QValue(op.y.name, op.y.shape, 16, scale))]


def quantize_count(context: Context, op: Count) -> list[QOp]:
    """Counts steps in an int32 state."""
    context.define_state(QValue(op.x, (), 32, 1.0))
    return [QCount(op.x, QValue(op.y.name, (), 32, 1.0))]


def quantize_mean(context: Context, op: Mean) -> list[QOp]:
    """Back to int16 in the scale of what was summed."""
    total = context.values[op.total]
    return [QMean(op.total, op.count, QValue(op.y.name, op.y.shape, 16, total.scale))]


def constant_shape(value: Value, ops: tuple[Op, ...]) -> tuple[int, ...]:
    """The shape that all of a constant's readers need it in; its own where they differ."""
    readers = [op for op in ops if value.name in reads(op)]
    shapes = {
        op.y.shape if isinstance(op, Binary) else value.shape
        for op in readers
        if not isinstance(op, Recurrent)
    }
    return shapes.pop() if len(shapes) == 1 and len(readers) > 0 else value.shape
