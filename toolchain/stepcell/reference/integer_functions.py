"""The equations of the operations of ir/qfunctions.py, over a batch of sequences at one time step.

The contract is docs/numerics.md. A shift by a number that depends on the data is a shift by an array.
"""

from collections.abc import Mapping
from functools import cache

import numpy as np

from stepcell.ir.qfunctions import (
    QAbs,
    QArgMax,
    QDiv,
    QEmbed,
    QFunctional,
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
from stepcell.ir.qvalue import IntArray
from stepcell.reference.arithmetic import INT16_MAX, rr, sat16

OCTAVE_BITS = 5
"""A table of octaves has 2^5 segments in each."""


def lookup(op: QLookup, x: IntArray) -> IntArray:
    """Between two of the table's entries, which lie 2^shift apart."""
    at = x + 32768
    i = at >> op.shift
    rise = op.table[i + 1] - op.table[i]
    return np.asarray(op.table[i] + rr(rise * (at & ((1 << op.shift) - 1)), op.shift))


def octaves(op: QOctaves, x: IntArray) -> IntArray:
    """Between two of the table's entries, which lie 1/32 of an octave apart."""
    v = np.maximum(x, 0) if op.sign == "none" else np.abs(x)
    v = np.minimum(v, INT16_MAX)
    k = np.maximum(bit_length(v) - (OCTAVE_BITS + 1), 0)
    i = (k << OCTAVE_BITS) + (v >> k)
    part = (op.table[i + 1] - op.table[i]) * (v & ((1 << k) - 1))
    y = op.table[i] + ((part + ((1 << k) >> 1)) >> k)
    return np.asarray(np.where(x < 0, sat16(-y), y) if op.sign == "odd" else y)


def octave_nodes() -> IntArray:
    """The values v that the 353 entries of a table of octaves belong to."""
    i = np.arange(353)
    k = np.maximum((i >> OCTAVE_BITS) - 1, 0)
    return np.asarray((i - (k << OCTAVE_BITS)) << k)


def bit_length(v: IntArray) -> IntArray:
    """How many bits v >= 0 has; 0 for 0."""
    return np.asarray(np.frexp(v.astype(np.float64))[1], np.int64)


def linear(op: QLinear, x: IntArray) -> IntArray:
    """A line between two bounds."""
    return np.asarray(np.clip(rr(x * op.multiplier + op.offset, op.shift), op.least, op.greatest))


def leaky(op: QLeaky, x: IntArray) -> IntArray:
    """A line for each sign."""
    return sat16(rr(x * np.where(x < 0, op.negative, op.positive), op.shift))


def absolute(x: IntArray) -> IntArray:
    """|x|, within int16."""
    return np.asarray(np.minimum(np.abs(x), INT16_MAX))


def divide(op: QDiv, a: IntArray, b: IntArray) -> IntArray:
    """The quotient towards zero, then rounded by the shift."""
    quotient = np.abs(a) * op.multiplier // np.maximum(np.abs(b), 1)
    y = np.minimum(rr(quotient, op.shift), INT16_MAX)
    return np.where((a < 0) != (b < 0), -y, y)


def root(v: IntArray) -> IntArray:
    """The square root of 0 <= v < 2^32, to the nearest integer."""
    r = np.floor(np.sqrt(v.astype(np.float64))).astype(np.int64)
    return np.asarray(r + (v - r * r > r))


def hypot(op: QHypot, a: IntArray, b: IntArray) -> IntArray:
    """a*a + b*b <= 2^31."""
    return sat16(rr(root(a * a + b * b) * op.multiplier, op.shift))


def reduce(op: QReduce, x: IntArray) -> IntArray:
    """Over the last axis."""
    if op.kind == "max":
        return np.asarray(x.max(axis=-1))
    if op.kind == "min":
        return np.asarray(x.min(axis=-1))
    if op.kind == "sum":
        total = rr(x.sum(axis=-1), op.pre_shift)
        product = (total >> 8) * op.multiplier + ((total & 255) * op.multiplier >> 8)
    else:
        product = root(rr(x * x, op.pre_shift).sum(axis=-1)) * op.multiplier
    return sat16(rr(product, op.shift))


@cache
def power_table() -> IntArray:
    """2^(15 - j / 32), j = 0..32."""
    return np.round(32768 * 2.0 ** (-np.arange(33) / 32)).astype(np.int64)


def power_of_half(t: IntArray, fraction: int) -> IntArray:
    """2^(-t / 4096) with so many fraction bits (15..24), 0 <= t < 2^17."""
    table = power_table()
    i = (t >> 7) & 31
    drop = rr((table[i] - table[i + 1]) * (t & 127), 7)
    return np.asarray(((table[i] - drop) << (fraction - 15)) >> (t >> 12))


def softmax(op: QSoftmax, x: IntArray) -> IntArray:
    """Over the last axis: e / sum of e, Q0.15."""
    e = _powers(op, x)
    total = e.sum(axis=-1, keepdims=True)
    k = np.maximum(bit_length(total) - 16, 0)
    inverse = (1 << 31) // (total >> k)
    return np.asarray(np.minimum((((e >> k) * inverse) + (1 << 15)) >> 16, INT16_MAX))


def _powers(op: QSoftmax, x: IntArray) -> IntArray:
    below = x.max(axis=-1, keepdims=True) - x
    t = np.minimum(rr(below * op.multiplier, op.shift), (1 << 17) - 1)
    return power_of_half(t, op.fraction)


def argmax(x: IntArray) -> IntArray:
    """The index of the largest, the lowest of equal ones."""
    return np.asarray(x.argmax(axis=-1), np.int64)


def normalize(op: QNormalize, x: IntArray) -> IntArray:
    """Over the last axis."""
    n = x.shape[-1]
    c = n * x - x.sum(axis=-1, keepdims=True)
    largest = np.bitwise_or.reduce(c ^ (c >> 63), axis=-1)[..., None]
    k = np.maximum(bit_length(largest) - 15, op.least_shift)
    up, down = np.maximum(-k, 0), np.maximum(k, 0)
    d = (c * (1 << up) + ((1 << down) >> 1)) >> down
    squares = rr(d * d, op.square_shift).sum(axis=-1, keepdims=True)
    by = op.epsilon_exponent - 2 * k
    epsilon = (op.epsilon << np.maximum(by, 0)) >> np.minimum(np.maximum(-by, 0), 31)
    w = np.maximum(squares + epsilon, 1)
    j = (32 - bit_length(w)) >> 1
    r = np.minimum(root(w << (2 * j)), 65535)
    inverse = ((1 << 30) + (r >> 1)) // r
    by = 15 - j + (op.square_shift + 1) // 2
    z = sat16((d * inverse + ((1 << by) >> 1)) >> by)
    return sat16(rr(z * op.gain + op.bias, op.shift))


def embed(op: QEmbed, token: IntArray) -> IntArray:
    """Rows of the table; tokens outside of it take the nearest."""
    return np.asarray(op.table[np.clip(token, 0, len(op.table) - 1)])


def repeat(op: QRepeat, x: IntArray) -> IntArray:
    """x [N, ...] -> [N, *y.shape]."""
    flat = np.repeat(x.reshape(x.shape[0], -1), op.inner, axis=1)
    return np.tile(flat, (1, op.outer)).reshape(-1, *op.y.shape)


def functional(op: QFunctional, values: Mapping[str, IntArray]) -> IntArray:  # noqa: C901, PLR0912
    """What an operation gives; one case each."""
    match op:
        case QLookup():
            return lookup(op, values[op.x])
        case QOctaves():
            return octaves(op, values[op.x])
        case QLinear():
            return linear(op, values[op.x])
        case QLeaky():
            return leaky(op, values[op.x])
        case QAbs():
            return absolute(values[op.x])
        case QMin():
            return np.minimum(values[op.a], values[op.b])
        case QDiv():
            return divide(op, values[op.a], values[op.b])
        case QHypot():
            return hypot(op, values[op.a], values[op.b])
        case QReduce():
            return reduce(op, values[op.x])
        case QSoftmax():
            return softmax(op, values[op.x])
        case QArgMax():
            return argmax(values[op.x])
        case QNormalize():
            return normalize(op, values[op.x])
        case QEmbed():
            return embed(op, values[op.token])
        case QRepeat():
            return repeat(op, values[op.x])
