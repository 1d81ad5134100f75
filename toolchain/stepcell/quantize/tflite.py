"""From a Model with the integers of its source to a QModel of exactly these: no calibration, no choice."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from stepcell.errors import StepcellError
from stepcell.ir.graph import writes
from stepcell.ir.model import Function, Model, Stage
from stepcell.ir.ops import (
    Activate,
    Concat,
    Dense,
    Lstm,
    Op,
    Quant,
    Take,
    Value,
)
from stepcell.ir.qmodel import (
    IntArray,
    QConcat,
    QFunction,
    QMatrix,
    QModel,
    QOp,
    QOutput,
    QStage,
    QState,
    QTake,
    QValue,
)
from stepcell.ir.qtflite import QFixed, QTfliteDense, QTfliteLstm, QTfliteTable
from stepcell.ir.source_integers import DenseIntegers, LstmIntegers

_HINT = "convert the model without quantization; stepcell quantizes it with your calibration data."
_FIXED = {"sigmoid": Quant(1 / 256, -128, 8), "tanh": Quant(1 / 128, 0, 8)}
"""Formats that TensorFlow Lite fixes for its int8 sigmoid and tanh."""


@dataclass(frozen=True, eq=False)
class _Context:
    model: Model
    values: dict[str, QValue] = field(default_factory=dict)

    def refuse(self, what: str) -> StepcellError:
        return StepcellError(f"{self.model.name}: {what}", _HINT)

    def read(self, name: str, expected: Quant, reader: str) -> str:
        """`name`, if it has the format that its reader expects."""
        found = self.values[name]
        if (np.float32(found.scale), found.zero_point) != (np.float32(expected.scale), expected.zero_point):
            raise self.refuse(f"'{reader}' reads '{name}' in another scale than it has.")
        return name


def quantize_as_source(model: Model, changed: bool = False) -> QModel:
    """The QModel of the source's own integers; `changed`: whether the user asked for other ones.

    Raises StepcellError for operations whose integers the source does not say.
    """
    context = _Context(model)
    if changed:
        raise context.refuse("the source is quantized already, and other formats were asked for.")
    function = model.main
    for value in function.inputs:
        found = model.quantized[value.name]
        assert isinstance(found, Quant)
        context.values[value.name] = _value(value, found)
    states = _states(context)
    stages = tuple(_stage(context, function, stage) for stage in function.stages)
    finish = function.finish.ops if function.finish is not None else ()
    kept = _left_to_caller(function)
    finish_ops = tuple(_quantized(context, finish, kept))
    ends = function.finish.outputs if function.finish is not None else ()
    outputs = tuple(_output(context, function, name, name in ends) for name in function.outputs)
    inputs = tuple(context.values[value.name] for value in function.inputs)
    made = QFunction(function.name, inputs, stages, finish_ops, outputs)
    choices = {"scales": "the source's own; nothing was calibrated"}
    return QModel(model.name, (made,), states, choices)


def _value(value: Value, found: Quant) -> QValue:
    return QValue(value.name, value.shape, 8, found.scale, zero_point=found.zero_point)


def _states(context: _Context) -> tuple[QState, ...]:
    """h starts at real zero as the recurrent matrix reads it; c at zero."""
    states: list[QState] = []
    for op in (op for stage in context.model.main.stages for op in stage.ops if isinstance(op, Lstm)):
        found = context.model.quantized[op.h_next.name]
        assert isinstance(found, LstmIntegers)
        h, c = (context.model.state(name) for name in (op.h, op.c))
        if h.initial.any() or c.initial.any():
            raise context.refuse(f"the states of '{op.h_next.name}' do not start at zero.")
        context.values[op.h] = _value(h.value, found.y)
        context.values[op.c] = QValue(op.c, c.initial.shape, 16, 2.0**-found.cell_bits)
        start = np.full(h.initial.shape, found.h.zero_point, np.int64)
        states.append(QState(context.values[op.h], start))
        states.append(QState(context.values[op.c], np.zeros(c.initial.shape, np.int64)))
    missing = {state.name for state in context.model.states} - {state.value.name for state in states}
    if missing:
        raise context.refuse(f"the state '{min(missing)}' is no LSTM's.")
    order = [state.name for state in context.model.states]
    return tuple(sorted(states, key=lambda state: order.index(state.value.name)))


def _stage(context: _Context, function: Function, stage: Stage) -> QStage:
    inputs = tuple(context.values[value.name] for value in stage.inputs)
    ops = tuple(_quantized(context, stage.ops, _left_to_caller(function)))
    left = [_before_softmax(function, name) for name in stage.outputs]
    outputs = tuple(context.values[name] for name in dict.fromkeys(left))
    return QStage(stage.name, inputs, ops, stage.updates, outputs, stage.direction)


def _left_to_caller(function: Function) -> dict[str, Activate]:
    """Softmaxes that give outputs, by their result."""
    finish = function.finish.ops if function.finish is not None else ()
    ops = (*(op for stage in function.stages for op in stage.ops), *finish)
    return {
        op.y.name: op
        for op in ops
        if isinstance(op, Activate) and op.function == "softmax" and op.y.name in function.outputs
    }


def _before_softmax(function: Function, name: str) -> str:
    left = _left_to_caller(function)
    return left[name].x if name in left else name


def _output(context: _Context, function: Function, name: str, finished: bool) -> QOutput:
    before = _before_softmax(function, name)
    return QOutput(context.values[before], finished, "softmax" if before != name else None)


def _quantized(context: _Context, ops: tuple[Op, ...], left: dict[str, Activate]) -> Iterable[QOp]:
    for op in ops:
        if isinstance(op, Activate) and op.y.name in left:
            continue
        made = _quantize(context, op, ops)
        if made is not None:
            yield made


def _quantize(context: _Context, op: Op, ops: tuple[Op, ...]) -> QOp | None:
    match op:
        case Lstm():
            return _lstm(context, op)
        case Dense():
            return _dense(context, op, ops)
        case Activate(function="relu") if _clamped_by(context, op) is not None:
            return None
        case Activate(function="sigmoid" | "tanh"):
            return _table(context, op)
        case Take() if -1 not in op.indices:
            made = QTake(op.x, _like(context, op.x, op.y), op.indices)
        case Concat():
            return _concat(context, op)
        case _:
            raise context.refuse(f"'{writes(op)[0].name}' has no integers in the source.")
    context.values[op.y.name] = made.y
    return made


def _like(context: _Context, x: str, y: Value) -> QValue:
    """A value in the format of another."""
    found = context.values[x]
    return QValue(y.name, y.shape, 8, found.scale, zero_point=found.zero_point)


def _concat(context: _Context, op: Concat) -> QOp:
    first, *others = (context.values[x] for x in op.xs)
    if any((other.scale, other.zero_point) != (first.scale, first.zero_point) for other in others):
        raise context.refuse(f"'{op.y.name}' joins values of different scales.")
    made = QConcat(op.xs, _like(context, op.xs[0], op.y))
    context.values[op.y.name] = made.y
    return made


def fixed(*factors: float) -> QFixed:
    """Real factors as 31-bit multipliers and shifts, rounded as TensorFlow Lite does."""
    found = [_multiplier(factor) for factor in factors]
    return QFixed(np.array([m for m, _ in found], np.int64), np.array([s for _, s in found], np.int64))


def _multiplier(factor: float) -> tuple[int, int]:
    if factor == 0.0:
        return 0, 0
    mantissa, exponent = math.frexp(factor)
    multiplier = math.floor(mantissa * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier, exponent = 2**30, exponent + 1
    return (0, 0) if exponent < -31 else (multiplier, exponent)


def _folded(weights: IntArray, zero_point: int) -> IntArray:
    """What the zero point of the input adds to every row."""
    return np.asarray(-zero_point * weights.sum(axis=1))


def _matrix(weights: IntArray, scales: Iterable[float]) -> QMatrix:
    rows = np.asarray(list(scales), np.float64)
    return QMatrix(weights, np.repeat(rows, len(weights) // len(rows)), None, False, 128)


def _lstm(context: _Context, op: Lstm) -> QOp:
    found = context.model.quantized[op.h_next.name]
    assert isinstance(found, LstmIntegers)
    x = context.read(op.x, found.x, op.h_next.name)
    h_next = _value(op.h_next, found.y)
    c_next = QValue(op.c_next.name, op.c_next.shape, 16, 2.0**-found.cell_bits)
    context.values.update({h_next.name: h_next, c_next.name: c_next})
    made = QTfliteLstm(
        x,
        op.h,
        op.c,
        h_next,
        c_next,
        _matrix(found.input_weights, found.input_scales),
        _matrix(found.recurrent_weights, found.recurrent_scales),
        found.bias + _folded(found.input_weights, found.x.zero_point),
        _folded(found.recurrent_weights, found.h.zero_point),
        fixed(*(scale * found.x.scale / 2.0**-12 for scale in found.input_scales)),
        fixed(*(scale * found.h.scale / 2.0**-12 for scale in found.recurrent_scales)),
        fixed(2.0**-15 / found.written.scale * 2.0**-15),
        found.written.zero_point,
        found.cell_bits,
        found.cell_limit,
    )
    for matrix, bias, factors in (
        (made.input, made.input_bias, made.input_factors),
        (made.recurrent, made.recurrent_bias, made.recurrent_factors),
    ):
        _check_sums(context, op.h_next.name, matrix, bias, factors)
    return made


def _check_sums(context: _Context, name: str, matrix: QMatrix, bias: IntArray, factors: QFixed) -> None:
    """Every sum fits int32, shifted left as far as its factor says."""
    largest = np.abs(matrix.weights).sum(axis=1) * 128 + np.abs(bias)
    gates = np.repeat(np.maximum(factors.shifts, 0), len(largest) // len(factors.shifts))
    if np.any(largest << gates >= 2**31):
        raise context.refuse(f"a sum of '{name}' could overflow 32 bits.")


def _clamped_by(context: _Context, op: Activate) -> DenseIntegers | None:
    """The dense layer that clamps its own result, where a relu after it has nothing left to do."""
    found = context.model.quantized.get(op.x)
    if not isinstance(found, DenseIntegers) or not found.relu:
        return None
    return found


def _dense(context: _Context, op: Dense, ops: tuple[Op, ...]) -> QOp:
    """The layer, with the relu that follows it: it then defines the relu's value."""
    found = context.model.quantized[op.y.name]
    assert isinstance(found, DenseIntegers)
    if math.prod(op.y.shape[:-1]) != 1:
        raise context.refuse(f"'{op.y.name}' has several vectors a step.")
    relu = next(
        (o for o in ops if isinstance(o, Activate) and o.function == "relu" and o.x == op.y.name), None
    )
    if found.relu and relu is None:
        raise context.refuse(f"the relu of '{op.y.name}' is not where the source has it.")
    y = _value(relu.y if found.relu and relu is not None else op.y, found.y)
    context.values[y.name] = y
    x = context.read(op.x, found.x, op.y.name)
    matrix = _matrix(found.weights, found.scales)
    bias = found.bias + _folded(found.weights, found.x.zero_point)
    factors = fixed(*(found.x.scale * scale / found.y.scale for scale in found.scales))
    if np.any(factors.shifts > 30):
        raise context.refuse(f"'{op.y.name}' has a factor above 2^30.")
    _check_sums(context, op.y.name, matrix, bias, QFixed(factors.multipliers, 0 * factors.shifts))
    least = found.y.zero_point if found.relu else -128
    return QTfliteDense(x, y, matrix, bias, factors, found.y.zero_point, least, 127)


def _table(context: _Context, op: Activate) -> QOp:
    """sigmoid and tanh of every int8, in float32 as TensorFlow Lite fills its table."""
    x = context.values[op.x]
    to = _FIXED[op.function]
    real = np.float32(x.scale) * np.arange(-128 - x.zero_point, 128 - x.zero_point, dtype=np.float32)
    sigmoid = np.float32(1) / (np.float32(1) + np.exp(-real))
    result = sigmoid if op.function == "sigmoid" else np.tanh(real)
    scaled = np.asarray(result * np.float32(1 / to.scale), np.float64)
    rounded = np.sign(scaled) * np.floor(np.abs(scaled) + 0.5) + to.zero_point
    y = _value(op.y, to)
    context.values[y.name] = y
    return QTfliteTable(op.x, y, np.clip(rounded, -128, 127).astype(np.int64))
