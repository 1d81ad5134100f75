"""Quantization of everything without weights: activations, arithmetic, layout, running sums."""

import numpy as np

from stepcell.errors import StepcellError
from stepcell.ir.ops import Activate, Binary, Concat, Constant, Count, Mean, Take, Value
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
    QRescale,
    QTake,
    QTotal,
    QValue,
)
from stepcell.quantize.context import Q4_11, Q15, Context, is_running, quantize_array
from stepcell.quantize.requantize import single_multiplier


def rescaled(context: Context, name: str, scale: float) -> tuple[str, list[QOp]]:
    """The int16 value `name` in another scale: its name, and the operation that makes it (if any)."""
    x = context.values[name]
    if x.bits == 16 and x.scale == scale:
        return name, []
    if x.bits == 32:
        raise StepcellError(
            f"{name}: a sum over time leaves 16 bits, which this version does not lower to C but in a mean.",
            "take the mean over time.",
        )
    y = QValue(f"{name}_rescaled{len(context.values)}", x.shape, 16, scale)
    (multiplier,), shift = single_multiplier(name, x.scale / scale)
    context.values[y.name] = y
    return y.name, [QRescale(name, y, multiplier, shift)]


def quantize_activate(context: Context, op: Activate) -> list[QOp]:
    """A relu keeps the scale of its input; sigmoid and tanh go from Q4.11 to Q0.15."""
    x = context.values[op.x]
    if op.function == "softmax":
        raise StepcellError(
            f"{op.y.name}: a softmax inside the network is not lowered to C by this version.",
            "softmax is supported as the last operation, where the caller applies it to the logits.",
        )
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
    if state is not None and op.operator == "max":
        return _running_max(context, op, state)
    _require_same_shape(context, op)
    a, b = context.values[op.a], context.values[op.b]
    y = _result_format(context, op)
    if op.operator == "mul":
        (multiplier,), shift = single_multiplier(op.y.name, a.scale * b.scale * 2.0**15 / y.scale)
        return [QMul(op.a, op.b, y, multiplier, shift)]
    if op.operator == "max":
        first, before = rescaled(context, op.a, y.scale)
        second, then = rescaled(context, op.b, y.scale)
        return [*before, *then, QMax(first, second, y)]
    sign = -1.0 if op.operator == "sub" else 1.0
    (ma, mb), shift = single_multiplier(op.y.name, a.scale / y.scale, sign * b.scale / y.scale)
    return [QAdd(op.a, op.b, y, ma, mb, shift)]


def _result_format(context: Context, op: Binary) -> QValue:
    if op.y.name in context.table_arguments:
        return QValue(op.y.name, op.y.shape, 16, Q4_11)
    return context.calibrated(op.y)


def _running_total(context: Context, op: Binary, state: str) -> list[QOp]:
    name = op.b if op.a == state else op.a
    x = context.values[name]
    context.values[state] = QValue(state, x.shape, 32, x.scale)
    (count,) = {m.count for m in _means(context) if m.total == state}
    return [QTotal(state, count, name, QValue(op.y.name, op.y.shape, 32, x.scale))]


def _means(context: Context) -> list[Mean]:
    finish = context.model.main.finish
    return [op for op in (finish.ops if finish is not None else ()) if isinstance(op, Mean)]


def _running_max(context: Context, op: Binary, state: str) -> list[QOp]:
    other = op.b if op.a == state else op.a
    name, before = rescaled(context, other, context.values[other].scale)
    x = context.values[name]
    context.values[state] = QValue(state, x.shape, 16, x.scale)
    return [*before, QMax(state, name, QValue(op.y.name, op.y.shape, 16, x.scale))]


def _require_same_shape(context: Context, op: Binary) -> None:
    for name in (op.a, op.b):
        if context.values[name].shape != op.y.shape:
            raise StepcellError(
                f"{op.y.name}: '{name}' {context.values[name].shape} would be repeated to {op.y.shape}, "
                "which this version does not lower to C.",
                "give both operands the same shape.",
            )


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
    context.values[op.x] = QValue(op.x, (), 32, 1.0)
    return [QCount(op.x, QValue(op.y.name, (), 32, 1.0))]


def quantize_mean(context: Context, op: Mean) -> list[QOp]:
    """Back to int16 in the scale of what was summed."""
    total = context.values[op.total]
    return [QMean(op.total, op.count, QValue(op.y.name, op.y.shape, 16, total.scale))]


def broadcast_shape(value: Value, readers: list[Binary]) -> tuple[int, ...]:
    """The shape that a constant's readers need it in."""
    return readers[0].y.shape if readers else value.shape
