"""The fixed-point arithmetic of TensorFlow Lite's integer kernels, over int64 arrays that hold int32 numbers.

It rounds otherwise than the rest of stepcell (ties away from zero), multiplies by 32-bit multipliers and has
sigmoid and tanh of its own. docs/numerics.md, "Already quantized sources", states every rule.
"""

from functools import cache

import numpy as np

from stepcell.ir.qmodel import IntArray

INT16_MIN, INT16_MAX = -32768, 32767
_EXPONENTS = (-2, -1, 0, 1, 2, 3, 4)
_EIGHTH, _ONE_THIRD = 1 << 12, 10923
"""1/8 and 1/3 in Q0.15."""
_EXP_OF_EIGHTH = round(np.exp(-0.125) * 2**15)
"""exp(-1/8) in Q0.15."""
_48_17, _NEG_32_17 = round(48 / 17 * 2**13), round(-32 / 17 * 2**13)
"""In Q2.13: the start of Newton's division."""


def away(v: IntArray, shift: int) -> IntArray:
    """Divide by 2^shift, to nearest, ties away from zero."""
    if shift == 0:
        return v
    half = 1 << (shift - 1)
    return np.asarray(np.where(v < 0, -((-v + half) >> shift), (v + half) >> shift))


def high(a: IntArray, b: IntArray | int, bits: int = 32) -> IntArray:
    """The high half of 2ab, to nearest, ties towards +infinity; saturated."""
    product = np.asarray(a * b)
    return np.asarray(np.minimum((product + (1 << (bits - 2))) >> (bits - 1), (1 << (bits - 1)) - 1))


def multiply(v: IntArray, multiplier: IntArray | int, shift: IntArray | int) -> IntArray:
    """v times multiplier * 2^(shift - 31), rounded twice; multiplier in 2^30 .. 2^31-1, or 0."""
    shift = np.broadcast_to(shift, np.shape(v))
    product = high(v << np.maximum(shift, 0), multiplier)
    right = np.maximum(-shift, 0)
    half = (1 << right) >> 1
    return np.asarray(np.where(product < 0, -((-product + half) >> right), (product + half) >> right))


def sat16(v: IntArray) -> IntArray:
    """Clamp to int16."""
    return np.asarray(np.clip(v, INT16_MIN, INT16_MAX))


def sigmoid(p: IntArray) -> IntArray:
    """int16 with 3 integer bits (Q3.12) -> Q0.15."""
    return np.asarray(sigmoid_table()[p + 32768])


def tanh(p: IntArray, integer_bits: int) -> IntArray:
    """int16 with 0..6 integer bits -> Q0.15."""
    return np.asarray(tanh_table(integer_bits)[p + 32768])


@cache
def sigmoid_table() -> IntArray:
    """sigmoid of every int16, from -32768 on."""
    p = np.arange(INT16_MIN, INT16_MAX + 1)
    above = _one_over_one_plus(_exp_of_negative(-np.abs(p), 3))
    table = np.where(p > 0, above, INT16_MAX - above)
    table[p == 0] = 1 << 14
    table.flags.writeable = False
    return np.asarray(table)


@cache
def tanh_table(integer_bits: int) -> IntArray:
    """tanh of every int16, from -32768 on."""
    p = np.arange(INT16_MIN, INT16_MAX + 1)
    # Doubling is a change of format: one integer bit more.
    positive = _one_minus_over_one_plus(_exp_of_negative(-np.abs(p), integer_bits + 1))
    table = np.where(p < 0, -positive, positive)
    table[p == 0] = 0
    table.flags.writeable = False
    return np.asarray(table)


def _product(a: IntArray, b: IntArray | int) -> IntArray:
    return high(a, b, 16)


def _exp_of_negative(a: IntArray, integer_bits: int) -> IntArray:
    """exp(a) in Q0.15 for a <= 0 with `integer_bits` integer bits.

    The part below a quarter by a polynomial, each bit above by a constant factor.
    """
    fraction = 15 - integer_bits
    quarter = 1 << (fraction - 2)
    below = (a & (quarter - 1)) - quarter
    result = _exp_of_quarter(below << integer_bits)
    rest = below - a
    for exponent in _EXPONENTS:
        if exponent < integer_bits:
            factor = int(away(np.asarray(round(np.exp(-(2.0**exponent)) * 2**31)), 16))
            result = np.where(rest & (1 << (fraction + exponent)), _product(result, factor), result)
    if integer_bits > 5:
        result = np.where(a < -(32 << fraction), 0, result)
    return np.asarray(np.where(a == 0, INT16_MAX, result))


def _exp_of_quarter(a: IntArray) -> IntArray:
    """exp(a) for a in [-1/4, 0), Q0.15: the Taylor polynomial of degree 4 around -1/8."""
    x = a + _EIGHTH
    x2 = _product(x, x)
    x3, x4 = _product(x2, x), _product(x2, x2)
    tail = away(_product(away(x4, 2) + x3, _ONE_THIRD) + x2, 1)
    return sat16(_EXP_OF_EIGHTH + _product(x + tail, _EXP_OF_EIGHTH))


def _reciprocal(a: IntArray) -> IntArray:
    """2/(1 + a) in Q2.13 for a in Q0.15, by three of Newton's steps."""
    total = a + INT16_MAX
    half = np.where(total >= 0, (total + 1) // 2, -((1 - total) // 2))
    x = sat16(_48_17 + _product(half, _NEG_32_17))
    for _ in range(3):
        rest = (1 << 13) - _product(half, x)
        x = sat16(x + np.clip(_product(x, rest) << 2, INT16_MIN, INT16_MAX))
    return x


def _one_over_one_plus(a: IntArray) -> IntArray:
    """1/(1 + a) in Q0.15."""
    return np.asarray(np.clip(_reciprocal(a) << 1, INT16_MIN, INT16_MAX))


def _one_minus_over_one_plus(a: IntArray) -> IntArray:
    """(1 - a)/(1 + a) in Q0.15."""
    return np.asarray(np.clip((_reciprocal(a) - (1 << 13)) << 2, INT16_MIN, INT16_MAX))
