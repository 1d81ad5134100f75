"""What the quantization of one operation needs to know about the rest of the model."""

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from stepcell.ir.model import FloatArray, Model
from stepcell.ir.ops import Activate, Binary, Mean, Op, Value, all_matrix_inputs
from stepcell.ir.qmodel import IntArray, QValue
from stepcell.quantize.calibrate import Ranges

Activations = Literal["int8", "int16"]
"""What the recurrent layers' input matrices read: int8 values and views, or int16 values."""
Weights = Literal["int8", "int4"]
"""What the recurrent layers' matrices hold; heads are small and keep int8."""

Q15 = 2.0**-15
"""Scale of a hidden state, and of what sigmoid and tanh give."""
Q4_11 = 2.0**-11
"""Scale of a pre-activation, the argument of the sigmoid table."""


@dataclass(frozen=True, eq=False)
class Context:
    """`values` grows as operations are quantized in order; `choices` collects reasons for the manifest."""

    model: Model
    ranges: Ranges
    activations: Activations
    weights: Weights
    table_arguments: frozenset[str]
    """Values that a sigmoid or tanh reads, which must be Q4.11."""
    means: frozenset[str]
    """States that hold the sum of a mean over time, which must be int32."""
    values: dict[str, QValue] = field(default_factory=dict)
    choices: dict[str, str] = field(default_factory=dict)

    def calibrated(self, value: Value) -> QValue:
        """An int16 value whose scale covers what calibration saw."""
        largest = self.ranges.typical[value.name] or 1.0
        return QValue(value.name, value.shape, 16, largest / 32767)


def fraction_bits(largest: float) -> int:
    """How many of 15 bits can be fraction bits if |value| <= largest: clamp(15 - ceil(log2), 0, 15)."""
    return 15 if largest == 0.0 else int(np.clip(15 - math.ceil(math.log2(largest)), 0, 15))


def quantize_array(array: FloatArray, value: QValue) -> IntArray:
    """A constant or an initial state in the scale of `value`, ties up, clamped to its width."""
    limit = 1 << (value.bits - 1)
    return np.clip(np.floor(array / value.scale + 0.5), -limit, limit - 1).astype(np.int64)


def make_context(model: Model, ranges: Ranges, activations: Activations, weights: Weights) -> Context:
    """The context before the first operation: the input's format is fixed, nothing else is."""
    (stage,) = model.main.stages
    finish = model.main.finish.ops if model.main.finish is not None else ()
    ops = (*stage.ops, *finish)
    tables = {op.x for op in ops if isinstance(op, Activate) and op.function in ("sigmoid", "tanh")}
    means = {op.total for op in ops if isinstance(op, Mean)}
    context = Context(model, ranges, activations, weights, frozenset(tables), frozenset(means))
    (value,) = stage.inputs
    context.values[value.name] = _input_format(context, value, ops)
    return context


def _input_format(context: Context, value: Value, ops: tuple[Op, ...]) -> QValue:
    """int8 where only matrices read the input; int16 where arithmetic does, or the user asked for it."""
    wide = context.activations == "int16" or not all_matrix_inputs(value.name, ops)
    limit = 32767 if wide else 127
    largest = context.ranges.typical[value.name] or 1.0
    return QValue(value.name, value.shape, 16 if wide else 8, largest / limit)


def is_running(op: Binary, context: Context) -> str | None:
    """The state that `op` folds its other operand into (a running sum or maximum), if it does."""
    (stage,) = context.model.main.stages
    updated = (state for state, value in stage.updates if value == op.y.name)
    return next((state for state in updated if state in (op.a, op.b)), None)
