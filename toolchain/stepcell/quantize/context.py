"""What the quantization of one operation needs to know about the rest of the model."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from stepcell.ir.graph import all_matrix_inputs, reads, writes
from stepcell.ir.model import FloatArray, Function, Model, all_ops
from stepcell.ir.ops import (
    Binary,
    Conv,
    Mean,
    Op,
    Take,
    Value,
)
from stepcell.ir.qmodel import IntArray, QValue
from stepcell.quantize.calibrate import Ranges
from stepcell.quantize.regions import Region, absorbed, find_regions, table_arguments

Activations = Literal["auto", "int8", "int16", "int16-states"]
"""What recurrent layers read: int8 input and the int8 view of their state; int16 input; or both int16.

auto: int8, but for inputs where calibration shows that to cost much (quantize/choose.py).
"""
Weights = Literal["int8", "int4"]
"""What the recurrent layers' matrices hold; heads are small and keep int8."""
WeightChoice = Literal["int8", "int4", "auto"]
"""auto: int4, but int8 for the matrices whose int4 calibration shows to cost much (quantize/choose.py)."""

Q15 = 2.0**-15
"""Scale of a hidden state, and of what sigmoid and tanh give."""
Q4_11 = 2.0**-11
"""Scale of a pre-activation, the argument of the sigmoid table."""


@dataclass(frozen=True)
class Formats:
    """`wide`: inputs and memories that are int16 though int8 would do; `cell_bits`: fraction bits by cell.

    `exact`: recurrent layers, by what they make of h, whose matrices read all 16 bits of it; `fine`: matrices
    that keep int8 weights though the others have int4.
    """

    wide: frozenset[str] = frozenset()
    cell_bits: Mapping[str, int] = field(default_factory=dict)
    exact: frozenset[str] = frozenset()
    fine: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class Context:
    """One function; `values` grows as its operations are quantized in order.

    `states` holds the formats of the states, which all functions share; `choices` collects reasons for the
    manifest.
    """

    model: Model
    function: Function
    ranges: Ranges
    activations: Activations
    weights: Weights
    table_arguments: frozenset[str]
    """Values that a sigmoid or tanh reads, which must be Q4.11."""
    means: frozenset[str]
    """States that hold the sum of a mean over time, which must be int32."""
    states: dict[str, QValue]
    choices: dict[str, str]
    regions: Mapping[str, Region]
    """Operations that become one function of one value, by the name of the result (quantize/regions.py)."""
    absorbed: frozenset[str]
    """Values that exist only inside of regions, and constants that only regions read."""
    formats: Formats
    values: dict[str, QValue] = field(default_factory=dict)

    def define_state(self, value: QValue) -> QValue:
        """Fix the format of a state, unless another function has done so; the format that it has."""
        known = self.states.setdefault(value.name, value)
        self.values[value.name] = known
        return known

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


def function_ops(function: Function) -> tuple[Op, ...]:
    """The operations of every stage and of finish."""
    finish = function.finish.ops if function.finish is not None else ()
    return (*(op for stage in function.stages for op in stage.ops), *finish)


def make_contexts(
    model: Model,
    ranges: Mapping[str, Ranges],
    activations: Activations,
    weights: Weights,
    formats: Formats,
) -> tuple[Context, ...]:
    """The context of each function before its first operation: the formats of inputs are fixed, no other."""
    regions = {function.name: find_regions(model, function) for function in model.functions}
    tables = frozenset(
        name for f in model.functions for name in table_arguments(function_ops(f), regions[f.name])
    )
    means = frozenset(op.total for op in all_ops(model) if isinstance(op, Mean))
    states: dict[str, QValue] = {}
    choices: dict[str, str] = {}
    contexts = tuple(
        Context(
            model,
            f,
            ranges[f.name],
            activations,
            weights,
            tables,
            means,
            states,
            choices,
            regions[f.name],
            absorbed(function_ops(f), regions[f.name]),
            formats,
        )
        for f in model.functions
    )
    for context in contexts:
        for value in context.function.inputs:
            context.values[value.name] = _input_format(context, value)
    return contexts


def _input_format(context: Context, value: Value) -> QValue:
    """int8 where only matrices read the input; int16 where arithmetic does, or the user asked for it."""
    if value.dtype == "token":
        return QValue(value.name, value.shape, 16, 1.0, "token")
    ops = function_ops(context.function)
    wide = context.activations != "int8" or value.name in context.formats.wide
    wide = wide or not all_matrix_inputs(value.name, ops) or _slid_over(value.name, ops)
    limit = 32767 if wide else 127
    largest = (context.ranges.typical if wide else context.ranges.coarse)[value.name] or 1.0
    return QValue(value.name, value.shape, 16 if wide else 8, largest / limit)


def _slid_over(name: str, ops: tuple[Op, ...]) -> bool:
    """Whether a window slides over the value: how many bits it reads is then decided by what they cost."""
    readers = [op for op in ops if name in reads(op)]
    return any(
        isinstance(op, Conv) or (isinstance(op, Take) and _slid_over(op.y.name, ops)) for op in readers
    )


def is_running(op: Binary, context: Context) -> str | None:
    """The state that `op` folds its other operand into (a running sum or maximum), if it does.

    An average that forgets, s + a * (x - s), is none: it stays within what it averages.
    """
    updates = (update for stage in context.function.stages for update in stage.updates)
    updated = (state for state, value in updates if value == op.y.name)
    state = next((state for state in updated if state in (op.a, op.b)), None)
    if state is None or op.operator not in ("add", "sub", "max", "min"):
        return None
    return None if _depends(op.b if op.a == state else op.a, state, context.function) else state


def _depends(value: str, state: str, function: Function) -> bool:
    made = {v.name: op for op in function_ops(function) for v in writes(op)}
    waiting, seen = [value], set[str]()
    while waiting:
        name = waiting.pop()
        if name == state:
            return True
        if name in made and name not in seen:
            waiting += reads(made[name])
        seen.add(name)
    return False
