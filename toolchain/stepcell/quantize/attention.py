"""Quantization of memories and of attention over them (docs/numerics.md, 5 and 6)."""

import math
from dataclasses import replace

from stepcell.errors import StepcellError
from stepcell.ir.graph import matrices, reads
from stepcell.ir.model import Model, all_ops
from stepcell.ir.ops import Append, Attend, Count
from stepcell.ir.qattention import LONGEST_MEMORY, QAppend, QAttend
from stepcell.ir.qmodel import QOp, QValue
from stepcell.quantize.context import Context
from stepcell.quantize.functions import result_format
from stepcell.quantize.requantize import single_multiplier
from stepcell.quantize.rescale import rescaled

NARROW = 4
"""Rows of up to so many elements are int16: int8 would spare few bytes, and such rows are scores."""
LARGEST_DIFFERENCE = (1 << 31) - (1 << 14)
"""Of the scores of int16 keys: products within 2^30 and above -2^30 + 2^15, and 2^13 from rounding."""
_OCTAVE = 4096
"""Units of an exponent in one octave."""
_LARGEST_EXPONENT = 1 << 17


def memories(model: Model) -> frozenset[str]:
    """The states that something is appended to."""
    return frozenset(op.memory for op in all_ops(model) if isinstance(op, Append))


def counts(model: Model) -> frozenset[str]:
    """The states that count steps."""
    return frozenset(op.x for op in all_ops(model) if isinstance(op, Count))


def memory_format(context: Context, name: str, scale: float) -> QValue:
    """int8 for wide rows that only attention and matrices read, else int16; `scale`: that of int16."""
    shape = context.model.state(name).initial.shape
    coarse = _is_coarse(context, name, math.prod(shape[1:]))
    return QValue(name, shape, 8 if coarse else 16, scale * (256 if coarse else 1))


def _is_coarse(context: Context, name: str, width: int) -> bool:
    """Whether int8 rows will do: not where the user, or the error of the outputs, asked for int16."""
    wanted = context.activations == "int8" and name not in context.formats.wide
    return wanted and width > NARROW and _reads_int8(context.model, name)


def _reads_int8(model: Model, memory: str) -> bool:
    """Whether all that reads a memory takes int8: attention to its rows, and matrices."""
    grown = {op.y.name for op in all_ops(model) if isinstance(op, Append) and op.memory == memory}
    updates = [update for f in model.functions for stage in f.stages for update in stage.updates]
    if any((state == memory) != (value in grown) for state, value in updates):
        return False
    return all(
        _takes_int8(op, name) for op in all_ops(model) for name in (memory, *grown) if name in reads(op)
    )


def _takes_int8(op: object, name: str) -> bool:
    match op:
        case Append():
            return name != op.x
        case Attend():
            return name != op.query
        case _:
            return bool(matrices(op))  # type: ignore[arg-type]


def quantize_append(context: Context, op: Append) -> list[QOp]:
    """A memory has the scale of what is first appended to it, unless it was read before."""
    x = context.values[op.x]
    if op.count not in context.values:
        context.define_state(QValue(op.count, (), 32, 1.0))
    _check_count(context, op)
    memory = context.define_state(memory_format(context, op.memory, x.scale))
    coarse = memory.bits == 8
    row, before = rescaled(context, op.x, memory.scale / (256 if coarse else 1))
    stored = "the int8 views of what is appended" if coarse else "int16"
    context.choices[op.memory] = f"{stored}, {memory.shape[0]} rows"
    return [*before, QAppend(op.memory, op.count, row, replace(memory, name=op.y.name))]


def quantize_attend(context: Context, op: Attend) -> list[QOp]:
    """Scores keep 32 bits; the mean of the rows has a calibrated scale."""
    _check_count(context, op)
    if not op.scale >= 0.0:
        raise StepcellError(
            f"{op.y.name}: its scores are multiplied by {op.scale:g}; at least 0 is allowed.",
            "negate the query or the keys.",
        )
    keys, values = context.values[op.keys], context.values[op.values]
    query = context.values[op.query]
    _check_size(op, keys)
    rows, view = keys.shape[0], keys.bits == 8
    product_shift = 0 if view else (query.size - 1).bit_length()
    unit = query.scale * (256 if view else 1) * keys.scale * 2.0**product_shift * op.scale
    largest = query.size << 15 if view else LARGEST_DIFFERENCE
    pre_shift, multiplier, shift = exponent_numbers(op.y.name, largest, unit)
    y = _mean_format(context, op, values)
    value_shift = values.bits - 1
    factor = values.scale / y.scale * 2.0 ** (value_shift - 16)
    (mean_multiplier,), mean_shift = single_multiplier(op.y.name, factor)
    fraction = min(24, 31 - (rows - 1).bit_length())
    weighs = (product_shift, pre_shift, multiplier, shift, fraction)
    mean = (value_shift, mean_multiplier, mean_shift)
    return [QAttend(op.query, op.keys, op.values, op.count, y, view, *weighs, *mean)]


def exponent_numbers(layer: str, largest: int, unit: float) -> tuple[int, int, int]:
    """(pre_shift, multiplier, shift) from differences of scores, 0..largest, of `unit` each, to exponents.

    The smallest pre_shift after which 16 bits hold either all differences or all whose weight is not 0; at
    most 15, as `largest` is at most 2^31.
    """
    factor = unit * math.log2(math.e) * _OCTAVE
    pre_shift = 0
    while largest >> pre_shift > 65535 and 65535 * factor * 2.0**pre_shift < 1.001 * _LARGEST_EXPONENT:
        pre_shift += 1
    (multiplier,), shift = single_multiplier(layer, factor * 2.0**pre_shift)
    return pre_shift, multiplier, shift


def _mean_format(context: Context, op: Attend, values: QValue) -> QValue:
    """As calibrated, but no more than 256 times finer than the values in int16."""
    y = result_format(context, op.y)
    finest = values.scale / (256 if values.bits == 8 else 1) / 256
    return replace(y, scale=max(y.scale, finest))


def _check_size(op: Attend, keys: QValue) -> None:
    rows = keys.shape[0]
    if rows > LONGEST_MEMORY or keys.size // rows > LONGEST_MEMORY:
        raise StepcellError(
            f"{op.y.name}: it attends to {rows} rows of {keys.size // rows} elements; at most "
            f"{LONGEST_MEMORY} rows of {LONGEST_MEMORY} are allowed.",
            "bound the steps by less.",
        )


def _check_count(context: Context, op: Append | Attend) -> None:
    if context.values[op.count].bits != 32:
        raise StepcellError(
            f"{op.y.name}: '{op.count}' says how many rows it has, but does not count steps from 0.",
            "let a state count the steps (Count).",
        )
