"""Quantization of functions of one value, reductions, normalizations, look-ups (ir/qfunctions.py)."""

import math
from dataclasses import replace

import numpy as np

from stepcell.errors import StepcellError
from stepcell.ir.graph import all_matrix_inputs
from stepcell.ir.model import FloatArray
from stepcell.ir.ops import (
    Activate,
    ArgMax,
    Binary,
    Embed,
    Normalize,
    Reduce,
    Value,
)
from stepcell.ir.qfunctions import (
    QAbs,
    QArgMax,
    QDiv,
    QEmbed,
    QHypot,
    QLeaky,
    QLinear,
    QNormalize,
    QReduce,
    QRepeat,
    QSoftmax,
)
from stepcell.ir.qmodel import QMul, QOp, QTake
from stepcell.ir.qvalue import IntArray, QValue
from stepcell.quantize.context import Q4_11, Q15, Context, function_ops, quantize_array
from stepcell.quantize.lines import Line
from stepcell.quantize.regions import Region
from stepcell.quantize.requantize import MAX_MULTIPLIER, post_shift, single_multiplier
from stepcell.quantize.rescale import rescaled
from stepcell.quantize.tables import fit_table

LONGEST_ROW = 1 << 14
"""Elements of a row that is summed or normalized: 2^14 * 2^15 leaves room for what follows."""
MOST_TOKENS = 1 << 15
_OFFSET_LIMIT = (1 << 30) - 1
_WASTE = 4.0
"""An argument's range is used if it is no more than this many times what calibration saw."""


def result_format(context: Context, y: Value) -> QValue:
    """Q4.11 where a sigmoid or tanh reads the value, else as calibrated."""
    if y.name in context.table_arguments:
        return QValue(y.name, y.shape, 16, Q4_11)
    return context.calibrated(y)


def no_finer(y: QValue, unit: float) -> QValue:
    """y no finer than the largest multiplier reaches; what reads coarser units knows no more."""
    return replace(y, scale=max(y.scale, unit / MAX_MULTIPLIER))


def quantize_region(context: Context, region: Region, y: Value) -> list[QOp]:
    """A line, a norm or a table."""
    to = result_format(context, y)
    if region.squares:
        return _of_squares(context, region, to)
    x = context.values[region.root]
    if region.line is not None:
        return [_line(region.root, x.scale, to, region.line)]
    if region.single is not None and region.single.function == "abs":
        return (
            [QAbs(region.root, replace(to, scale=x.scale))]
            if to.scale != Q4_11
            else _table(context, region, to)
        )
    if region.single is not None and region.single.function == "leaky_relu":
        return [_leaky(region.root, x.scale, to, region.single)]
    if region.single is not None and region.single.function == "thresholded_relu":
        return _thresholded(context, region.root, to, region.single)
    return _table(context, region, to)


def _thresholded(context: Context, name: str, y: QValue, op: Activate) -> list[QOp]:
    """x times a step from 0 to 1, which is a half for the first integer above the threshold."""
    x = context.values[name]
    threshold = int(np.clip(np.floor((1.0 if op.alpha is None else op.alpha) / x.scale), -32768, 32767))
    step = QValue(f"{y.name}_step", y.shape, 16, Q15)
    (multiplier,), shift = single_multiplier(y.name, x.scale / y.scale)
    return [
        QLinear(name, step, MAX_MULTIPLIER, -threshold * MAX_MULTIPLIER, 0, 0, 32767),
        QMul(name, step.name, y, multiplier, shift),
    ]


def _table(context: Context, region: Region, y: QValue) -> list[QOp]:
    name, before = _well_scaled(context, region.root)
    x = context.values[name]
    fit = fit_table(name, x.scale, y, region.function, region.positive)
    context.choices[y.name] = fit.text
    return [*before, fit.op]


def _well_scaled(context: Context, name: str) -> tuple[str, list[QOp]]:
    """The value in a scale that calibration fills, so that a table's steps are small."""
    x = context.values[name]
    largest = context.ranges.peak.get(name, 0.0)
    wide = largest > 0.0 and x.scale * 32767 > _WASTE * largest
    return rescaled(context, name, largest / 32767) if wide or x.bits != 16 else (name, [])


def _line(x: str, x_scale: float, y: QValue, line: Line) -> QLinear:
    y = no_finer(y, abs(line.slope) * x_scale)
    (_,), shift = single_multiplier(y.name, line.slope * x_scale / y.scale)
    while abs(line.offset) / y.scale * 2.0**shift > _OFFSET_LIMIT and shift > 0:
        shift -= 1
    multiplier = int(
        np.clip(round(line.slope * x_scale / y.scale * 2.0**shift), -MAX_MULTIPLIER, MAX_MULTIPLIER)
    )
    offset = int(np.clip(round(line.offset / y.scale * 2.0**shift), -_OFFSET_LIMIT, _OFFSET_LIMIT))
    least, greatest = (_bound(bound, y.scale) for bound in (line.least, line.greatest))
    return QLinear(x, y, multiplier, offset, shift, least, greatest)


def _bound(bound: float, scale: float) -> int:
    return int(np.clip(np.floor(np.clip(bound / scale, -40000.0, 40000.0) + 0.5), -32768, 32767))


def _leaky(x: str, x_scale: float, y: QValue, op: Activate) -> QLeaky:
    alpha = 0.01 if op.alpha is None else op.alpha
    factor = x_scale / y.scale
    (positive, negative), shift = single_multiplier(y.name, factor, alpha * factor)
    return QLeaky(x, y, positive, negative, shift)


def _of_squares(context: Context, region: Region, y: QValue) -> list[QOp]:
    """The root of the sum of squares, and a table behind it unless the root is the result."""
    largest = math.sqrt(context.ranges.peak[region.total] * region.mean_of) or 1.0
    slope = _slope(region, largest, y.scale)
    if slope is not None:
        return _root(context, region, y, slope)
    root = QValue(region.root, y.shape, 16, largest / 32767)
    fit = fit_table(root.name, root.scale, y, region.function, positive=True)
    context.choices[y.name] = fit.text
    return [*_root(context, region, root, 1.0), fit.op]


def _slope(region: Region, largest: float, unit: float) -> float | None:
    """s where f(v) is s * v to a quarter of a unit, v = 0..largest."""
    v = np.linspace(0.0, largest, 4097)
    with np.errstate(all="ignore"):
        exact = region.function(v)
    slope = float(exact[-1] / v[-1])
    return slope if slope > 0.0 and bool((np.abs(exact - slope * v) <= unit / 4).all()) else None


def _root(context: Context, region: Region, y: QValue, slope: float) -> list[QOp]:
    """slope times the root of the sum of squares."""
    if len(region.squares) == 1:
        (x,) = region.squares
        n, scale = _row(context, x, y.name), context.values[x].scale
        before = max(0, (n - 1).bit_length() - 1)
        (multiplier,), shift = single_multiplier(y.name, slope * scale * 2.0 ** (before / 2) / y.scale)
        return [QReduce(x, y, "norm", before, multiplier, shift)]
    a, b = region.squares
    scale = max(context.values[a].scale, context.values[b].scale)
    first, ops = rescaled(context, a, scale)
    second, more = rescaled(context, b, scale)
    (multiplier,), shift = single_multiplier(y.name, slope * scale / y.scale)
    return [*ops, *more, QHypot(first, second, y, multiplier, shift)]


def _row(context: Context, x: str, what: str) -> int:
    n = context.values[x].shape[-1]
    if n > LONGEST_ROW:
        raise StepcellError(
            f"{what}: it runs over {n} elements; at most {LONGEST_ROW} are allowed.", "split the axis."
        )
    return n


def quantize_reduce(context: Context, op: Reduce) -> list[QOp]:
    """Sums and means in a calibrated scale; extremes keep the scale of what they compare."""
    n, x = _row(context, op.x, op.y.name), context.values[op.x]
    if op.kind in ("max", "min"):
        y = QValue(op.y.name, op.y.shape, 16, x.scale)
        return [QReduce(op.x, y, "max" if op.kind == "max" else "min")]
    y = result_format(context, op.y)
    before = max(0, (n - 1).bit_length() - 9)
    factor = x.scale * 2.0**before / (n if op.kind == "mean" else 1) / y.scale
    (multiplier,), shift = single_multiplier(op.y.name, factor * 256)
    return [QReduce(op.x, y, "sum", before, multiplier, shift)]


def quantize_softmax(context: Context, op: Activate) -> QSoftmax:
    """From any int16 scale to Q0.15."""
    x, n = context.values[op.x], _row(context, op.x, op.y.name)
    (multiplier,), shift = single_multiplier(op.y.name, x.scale * math.log2(math.e) * 4096)
    fraction = min(24, 31 - (n - 1).bit_length())
    return QSoftmax(op.x, QValue(op.y.name, op.y.shape, 16, Q15), multiplier, shift, fraction)


def quantize_argmax(context: Context, op: ArgMax) -> list[QOp]:
    """A token."""
    _row(context, op.x, op.y.name)
    return [QArgMax(op.x, QValue(op.y.name, op.y.shape, 16, 1.0, "token"))]


def quantize_normalize(context: Context, op: Normalize) -> list[QOp]:
    """The row in any int16 scale, the result in a calibrated one."""
    x, y = context.values[op.x], result_format(context, op.y)
    weights = context.model.weights
    numbers = normalize_numbers(
        op.y.name,
        _row(context, op.x, op.y.name),
        x.scale,
        op.epsilon,
        weights[op.gain],
        weights[op.bias],
        y.scale,
    )
    return [QNormalize(op.x, y, *numbers)]


def normalize_numbers(
    layer: str, n: int, scale: float, epsilon: float, gain: FloatArray, bias: FloatArray, y_scale: float
) -> tuple[IntArray, IntArray, int, int, int, int, int]:
    """(gain, bias, shift, square_shift, least_shift, epsilon, epsilon_exponent) of a QNormalize."""
    square_shift = (n - 1).bit_length()
    unit = 2.0 ** ((square_shift + 1) // 2 - 15) * math.sqrt(n / 2.0**square_shift)
    factors = np.asarray(gain, np.float64) * unit / y_scale
    offsets = np.asarray(bias, np.float64) / y_scale
    shift = post_shift(layer, np.abs(factors))
    while shift > 0 and np.abs(offsets).max(initial=0.0) * 2.0**shift > _OFFSET_LIMIT:
        shift -= 1
    gains = np.clip(np.round(factors * 2.0**shift), -MAX_MULTIPLIER, MAX_MULTIPLIER).astype(np.int64)
    biases = np.clip(np.round(offsets * 2.0**shift), -_OFFSET_LIMIT, _OFFSET_LIMIT).astype(np.int64)
    mantissa, exponent = _mantissa(epsilon * n**3 / scale**2 / 2.0**square_shift)
    least = max(-15, -(-(exponent + 15 - 30) // 2)) if mantissa else -15
    return gains, biases, shift, square_shift, least, mantissa, exponent


def _mantissa(value: float) -> tuple[int, int]:
    """(m, e) with m * 2^e = value, 2^14 <= m < 2^15; 0 where it is below every sum."""
    if value < 2.0**-40:
        return 0, 0
    exponent = math.floor(math.log2(value)) - 14
    return min(32767, round(value / 2.0**exponent)), exponent


def quantize_embed(context: Context, op: Embed) -> list[QOp]:
    """int8 rows where only matrices read them, else int16: one scale for the table."""
    table = context.model.weights[op.table]
    if len(table) > MOST_TOKENS:
        raise StepcellError(
            f"{op.y.name}: its table has {len(table)} rows; at most {MOST_TOKENS} are allowed.",
            "tokens are int16: use a smaller vocabulary.",
        )
    narrow = context.activations == "int8" and all_matrix_inputs(op.y.name, function_ops(context.function))
    largest = float(np.abs(table).max(initial=0.0)) or 1.0
    y = QValue(op.y.name, op.y.shape, 8 if narrow else 16, largest / (127 if narrow else 32767))
    return [QEmbed(op.token, y, quantize_array(table, y))]


def quantize_division(context: Context, op: Binary, a: str, b: str) -> list[QOp]:
    """a / b in a calibrated scale."""
    y = result_format(context, op.y)
    factor = context.values[a].scale / (context.values[b].scale * y.scale)
    if factor > 65535.0:
        raise StepcellError(
            f"{op.y.name}: its quotients are too small for what they divide.",
            "divide by a constant, or rescale.",
        )
    shift = min(30, math.floor(16 - math.log2(factor)))
    return [QDiv(a, b, y, min(65535, round(factor * 2.0**shift)), shift)]


def broadcast(context: Context, name: str, shape: tuple[int, ...]) -> tuple[str, list[QOp]]:
    """The value with its elements repeated to a shape, as in numpy: its name, and what makes it."""
    x = context.values[name]
    if x.shape == shape:
        return name, []
    y = QValue(f"{name}_repeated{len(context.values)}", shape, x.bits, x.scale, x.dtype)
    context.values[y.name] = y
    indices = np.broadcast_to(np.arange(x.size).reshape(x.shape), shape).ravel()
    inner = int(np.argmax(np.append(indices, -1) != indices[0]))
    outer = y.size // (x.size * inner)
    if x.bits == 16 and np.array_equal(indices, np.tile(np.repeat(np.arange(x.size), inner), outer)):
        return y.name, [QRepeat(name, y, outer, inner)]
    return y.name, [QTake(name, y, tuple(int(i) for i in indices))]
