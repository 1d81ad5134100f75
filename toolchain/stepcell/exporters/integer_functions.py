"""The operations of ir/qfunctions.py as ONNX nodes.

What leaves int32 on the way (unsigned sums, roots) is int64 here. A shift by a number that depends on the
data is a division by a power of two out of a table.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from stepcell.exporters.integer_arithmetic import floor_divide, rr, sat16, shift_right
from stepcell.exporters.integer_scope import Scope
from stepcell.exporters.integer_writer import Writer
from stepcell.ir.qfunctions import (
    QAbs,
    QArgMax,
    QDiv,
    QEmbed,
    QHypot,
    QLeaky,
    QLinear,
    QLookup,
    QMin,
    QNormalize,
    QOctaves,
    QReduce,
    QRepeat,
    QSoftmax,
)
from stepcell.reference.arithmetic import INT16_MAX
from stepcell.reference.integer_functions import OCTAVE_BITS, power_table

INT32, INT64, DOUBLE = 6, 7, 11
"""ONNX element types."""


def lookup(scope: Scope, op: QLookup) -> None:
    """Between two of the table's entries."""
    w = scope.step
    at = w.node("Add", scope.names[op.x], w.int32(32768))
    i = shift_right(w, at, op.shift)
    part = w.node("BitwiseAnd", at, w.int32((1 << op.shift) - 1))
    product = w.node("Mul", _gather(w, np.diff(op.table), i), part)
    scope.define(op.y, w.node("Add", _gather(w, op.table, i), rr(w, product, op.shift)))


def octaves(scope: Scope, op: QOctaves) -> None:
    """Between two of the table's entries, the segment found by the number of bits."""
    w, x = scope.step, scope.names[op.x]
    v = w.node("Max", x, w.int32(0)) if op.sign == "none" else w.node("Abs", x)
    v = w.node("Min", v, w.int32(INT16_MAX))
    k = bits_above(w, v, range(OCTAVE_BITS + 1, 15))
    power = _gather(w, 1 << np.arange(16), k)
    u = w.node("Div", v, power)
    i = w.node("Add", w.node("Mul", k, w.int32(1 << OCTAVE_BITS)), u)
    part = w.node("Sub", v, w.node("Mul", u, power))
    product = w.node("Mul", _gather(w, np.diff(op.table), i), part)
    half = w.node("Div", power, w.int32(2))
    rise = floor_divide(w, w.node("Add", product, half), power)
    y = w.node("Add", _gather(w, op.table, i), rise)
    if op.sign == "odd":
        negative = sat16(w, w.node("Neg", y))
        y = w.node("Where", w.node("Less", x, w.int32(0)), negative, y)
    scope.define(op.y, y)


def _gather(w: Writer, table: np.ndarray, i: str) -> str:
    return w.node("Gather", w.int32(table), i)


def bits_above(w: Writer, v: str, bits: range) -> str:
    """How many of the powers of two v reaches: int32 for int32, int64 for int64 v."""
    last = w.node("Unsqueeze", v, w.shape([-1]))
    powers = 1 << np.arange(bits.start, bits.stop)
    reached = w.node("GreaterOrEqual", w.node("Cast", last, to=INT64), w.constant(powers.astype(np.int64)))
    count = w.node("ReduceSum", w.node("Cast", reached, to=INT64), w.shape([-1]), keepdims=0)
    return w.node("Cast", count, to=INT32)


def linear(scope: Scope, op: QLinear) -> None:
    """A line between two bounds."""
    w = scope.step
    scaled = w.node("Mul", scope.names[op.x], w.int32(op.multiplier))
    y = rr(w, w.node("Add", scaled, w.int32(op.offset)), op.shift)
    scope.define(op.y, w.node("Clip", y, w.int32(op.least), w.int32(op.greatest)))


def leaky(scope: Scope, op: QLeaky) -> None:
    """A line for each sign."""
    w, x = scope.step, scope.names[op.x]
    below = w.node("Less", x, w.int32(0))
    multiplier = w.node("Where", below, w.int32(op.negative), w.int32(op.positive))
    scope.define(op.y, sat16(w, rr(w, w.node("Mul", x, multiplier), op.shift)))


def absolute(scope: Scope, op: QAbs) -> None:
    """min(32767, |x|)."""
    w = scope.step
    scope.define(op.y, w.node("Min", w.node("Abs", scope.names[op.x]), w.int32(INT16_MAX)))


def minimum(scope: Scope, op: QMin) -> None:
    """min(a, b)."""
    scope.define(op.y, scope.step.node("Min", scope.names[op.a], scope.names[op.b]))


def divide(scope: Scope, op: QDiv) -> None:
    """The quotient towards zero in int64, rounded by the shift."""
    w, a, b = scope.step, scope.names[op.a], scope.names[op.b]
    dividend = w.node("Mul", _long(w, w.node("Abs", a)), int64(w, op.multiplier))
    divisor = _long(w, w.node("Max", w.node("Abs", b), w.int32(1)))
    quotient = w.node("Div", dividend, divisor)
    rounded = w.node("Div", w.node("Add", quotient, int64(w, (1 << op.shift) >> 1)), int64(w, 1 << op.shift))
    y = w.node("Cast", w.node("Min", rounded, int64(w, INT16_MAX)), to=INT32)
    opposite = w.node("Xor", w.node("Less", a, w.int32(0)), w.node("Less", b, w.int32(0)))
    scope.define(op.y, w.node("Where", opposite, w.node("Neg", y), y))


def _long(w: Writer, x: str) -> str:
    return w.node("Cast", x, to=INT64)


def int64(w: Writer, value: int) -> str:
    """An int64 number."""
    return w.constant(np.asarray(value, np.int64))


def root(w: Writer, v: str) -> str:
    """The square root of int64 v to the nearest integer, int64: exact, as doubles hold 32 bits."""
    r = _long(w, w.node("Floor", w.node("Sqrt", w.node("Cast", v, to=DOUBLE))))
    rest = w.node("Sub", v, w.node("Mul", r, r))
    return w.node("Add", r, _long(w, w.node("Greater", rest, r)))


def hypot(scope: Scope, op: QHypot) -> None:
    """The root of a*a + b*b, rescaled."""
    w = scope.step
    a, b = _long(w, scope.names[op.a]), _long(w, scope.names[op.b])
    r = root(w, w.node("Add", w.node("Mul", a, a), w.node("Mul", b, b)))
    scope.define(op.y, _scaled(w, w.node("Cast", r, to=INT32), op.multiplier, op.shift))


def _scaled(w: Writer, x: str, multiplier: int, shift: int) -> str:
    return sat16(w, rr(w, w.node("Mul", x, w.int32(multiplier)), shift))


def reduce(scope: Scope, op: QReduce) -> None:
    """Over the last axis."""
    w, x = scope.step, scope.names[op.x]
    if op.kind in ("max", "min"):
        operator = "ReduceMax" if op.kind == "max" else "ReduceMin"
        scope.define(op.y, w.node(operator, x, w.shape([-1]), keepdims=0))
        return
    if op.kind == "sum":
        total = rr(w, w.node("ReduceSum", x, w.shape([-1]), keepdims=0), op.pre_shift)
        high = w.node("Mul", shift_right(w, total, 8), w.int32(op.multiplier))
        low = w.node("Mul", w.node("BitwiseAnd", total, w.int32(255)), w.int32(op.multiplier))
        product = w.node("Add", high, w.node("Div", low, w.int32(256)))
        scope.define(op.y, sat16(w, rr(w, product, op.shift)))
        return
    squares = rr(w, w.node("Mul", x, x), op.pre_shift)
    total = w.node("ReduceSum", _long(w, squares), w.shape([-1]), keepdims=0)
    part = w.node("Cast", root(w, total), to=INT32)
    scope.define(op.y, _scaled(w, part, op.multiplier, op.shift))


def softmax(scope: Scope, op: QSoftmax) -> None:
    """Powers of a half, their sum, one reciprocal a row."""
    w, x = scope.step, scope.names[op.x]
    below = w.node("Sub", w.node("ReduceMax", x, w.shape([-1])), x)
    t = rr(w, w.node("Mul", below, w.int32(op.multiplier)), op.shift)
    e = power_of_half(w, w.node("Min", t, w.int32((1 << 17) - 1)), op.fraction)
    total = w.node("ReduceSum", e, w.shape([-1]))
    power = power_of_two(w, bits_above(w, total, range(16, 32)))
    inverse = w.node("Div", int64(w, 1 << 31), w.node("Div", total, power))
    product = w.node("Mul", w.node("Div", e, power), inverse)
    y = w.node("Div", w.node("Add", product, int64(w, 1 << 15)), int64(w, 1 << 16))
    scope.define(op.y, w.node("Cast", w.node("Min", y, int64(w, INT16_MAX)), to=INT32))


def power_of_half(w: Writer, t: str, fraction: int) -> str:
    """2^(-t / 4096), int64."""
    table = power_table()
    i = w.node("BitwiseAnd", w.node("Div", t, w.int32(128)), w.int32(31))
    part = w.node("BitwiseAnd", t, w.int32(127))
    drop = rr(w, w.node("Mul", _gather(w, table[:-1] - table[1:], i), part), 7)
    value = _long(w, w.node("Sub", _gather(w, table, i), drop))
    lifted = w.node("Mul", value, int64(w, 1 << (fraction - 15)))
    return w.node("Div", lifted, power_of_two(w, w.node("Div", t, w.int32(4096))))


def power_of_two(w: Writer, k: str) -> str:
    """2^k for 0 <= k < 40, int64."""
    return w.node("Gather", w.constant((1 << np.arange(40)).astype(np.int64)), k)


def argmax(scope: Scope, op: QArgMax) -> None:
    """The lowest index of the largest."""
    w = scope.step
    found = w.node("ArgMax", scope.names[op.x], axis=-1, keepdims=0)
    scope.define(op.y, w.node("Cast", found, to=INT32))


def normalize(scope: Scope, op: QNormalize) -> None:
    """Exactly centred, shifted to 16 bits, divided by the root of the mean square."""
    w, x = scope.step, scope.names[op.x]
    n = op.y.shape[-1]
    c = _long(w, w.node("Sub", w.node("Mul", x, w.int32(n)), w.node("ReduceSum", x, w.shape([-1]))))
    k = w.node("Max", w.node("Sub", _row_bits(w, c), w.int32(15)), w.int32(op.least_shift))
    up = power_of_two(w, w.node("Max", w.node("Neg", k), w.int32(0)))
    d = rounded(w, w.node("Mul", c, up), w.node("Max", k, w.int32(0)))
    squares = _fixed(w, w.node("Mul", d, d), op.square_shift)
    total = w.node("ReduceSum", squares, w.shape([-1]))
    sum_ = w.node("Max", w.node("Add", total, _epsilon(w, op, k)), int64(w, 1))
    j = w.node("Div", w.node("Sub", w.int32(32), bits_above(w, sum_, range(32))), w.int32(2))
    lifted = w.node("Mul", sum_, power_of_two(w, w.node("Mul", j, w.int32(2))))
    r = w.node("Min", root(w, lifted), int64(w, 65535))
    half = w.node("Div", r, int64(w, 2))
    inverse = w.node("Div", w.node("Add", int64(w, 1 << 30), half), r)
    by = w.node("Sub", w.int32(15 + (op.square_shift + 1) // 2), j)
    z = w.node("Cast", rounded(w, w.node("Mul", d, inverse), by), to=INT32)
    scaled = w.node("Mul", sat16(w, z), w.int32(op.gain))
    scope.define(op.y, sat16(w, rr(w, w.node("Add", scaled, w.int32(op.bias)), op.shift)))


def _row_bits(w: Writer, c: str) -> str:
    """The bits of the largest |c| of a row (that of a negative number is -1 - c)."""
    below = w.node("Sub", w.node("Neg", c), int64(w, 1))
    magnitude = w.node("ReduceMax", w.node("Max", c, below), w.shape([-1]))
    return bits_above(w, magnitude, range(32))


def rounded(w: Writer, v: str, k: str) -> str:
    """rr(v, k), int64, k an int32 tensor."""
    power = power_of_two(w, k)
    half = w.node("Div", power, int64(w, 2))
    return floor_divide(w, w.node("Add", v, half), power)


def _fixed(w: Writer, v: str, shift: int) -> str:
    """rr(v, shift) of int64 v >= 0."""
    half = int64(w, (1 << shift) >> 1)
    return w.node("Div", w.node("Add", v, half), int64(w, 1 << shift))


def _epsilon(w: Writer, op: QNormalize, k: str) -> str:
    by = w.node("Sub", w.int32(op.epsilon_exponent), w.node("Mul", k, w.int32(2)))
    up = power_of_two(w, w.node("Max", by, w.int32(0)))
    down = power_of_two(w, w.node("Clip", w.node("Neg", by), w.int32(0), w.int32(31)))
    return w.node("Div", w.node("Mul", int64(w, op.epsilon), up), down)


def embed(scope: Scope, op: QEmbed) -> None:
    """Rows of the table; tokens outside of it take the nearest."""
    w = scope.step
    row = w.node("Clip", scope.names[op.token], w.int32(0), w.int32(len(op.table) - 1))
    table = scope.outer.cast(scope.outer.constant(op.table.astype(f"int{op.y.bits}")), 32)
    scope.define(op.y, w.node("Gather", table, row))


def repeat(scope: Scope, op: QRepeat) -> None:
    """Outer copies of every element, inner times."""
    w = scope.step
    size = op.y.size // (op.outer * op.inner)
    middle = w.node("Reshape", scope.flat(op.x), w.shape([-1, 1, size, 1]))
    wide = w.node("Expand", middle, w.shape([1, op.outer, size, op.inner]))
    scope.define(op.y, w.node("Reshape", wide, w.shape([-1, *op.y.shape])))


WRITE: dict[type, Callable[[Scope, Any], None]] = {
    QLookup: lookup,
    QOctaves: octaves,
    QLinear: linear,
    QLeaky: leaky,
    QAbs: absolute,
    QMin: minimum,
    QDiv: divide,
    QHypot: hypot,
    QReduce: reduce,
    QSoftmax: softmax,
    QArgMax: argmax,
    QNormalize: normalize,
    QEmbed: embed,
    QRepeat: repeat,
}
"""Which function writes which operation."""
