"""The integer arithmetic of docs/numerics.md, element by element over int64 arrays.

int64 only holds the numbers here: every intermediate result fits int32, as the C code needs.
"""

import numpy as np

from stepcell.ir.qmodel import IntArray

INT16_MIN, INT16_MAX = -32768, 32767


def rr(v: IntArray, shift: int) -> IntArray:
    """Divide by 2^shift, rounding to nearest with ties towards +infinity."""
    return v if shift == 0 else (v + (1 << (shift - 1))) >> shift


def sat16(v: IntArray) -> IntArray:
    """Clamp to int16."""
    return np.asarray(np.clip(v, INT16_MIN, INT16_MAX))


def view8(v: IntArray) -> IntArray:
    """The int8 view of an int16 value, 256 times coarser: min(127, (v + 128) >> 8)."""
    return np.asarray(np.minimum(127, (v + 128) >> 8))


def sigmoid_table() -> IntArray:
    """257 values of the logistic function over [-16, 16] in steps of 1/8, in Q0.15, at most 32767."""
    k = np.arange(257)
    return np.minimum(INT16_MAX, np.round(32768 / (1 + np.exp(-(k - 128) / 8.0)))).astype(np.int64)


_SIGMOID = sigmoid_table()
_SIGMOID_RISE = np.diff(_SIGMOID)


def sigmoid(p: IntArray) -> IntArray:
    """int16 Q4.11 -> Q0.15 in [0, 32767], interpolated between table entries 256 apart."""
    i = (p >> 8) + 128
    return np.asarray(_SIGMOID[i] + rr(_SIGMOID_RISE[i] * (p & 255), 8))


def tanh(p: IntArray) -> IntArray:
    """int16 Q4.11 -> Q0.15 in [-32768, 32766]: 2*sigmoid(2p) - 1 from the same table."""
    return 2 * sigmoid(sat16(2 * p)) - 32768


def divide_rounded(total: IntArray, count: IntArray) -> IntArray:
    """floor((2*total + count) / (2*count)): the quotient, rounded half up; count >= 1."""
    return np.asarray((2 * total + count) // (2 * count))
