"""The equations of memories and attention (ir/qattention.py), over a batch of sequences at one time step."""

from collections.abc import Mapping

import numpy as np

from stepcell.ir.qattention import QAppend, QAttend
from stepcell.ir.qvalue import IntArray
from stepcell.reference.arithmetic import rr, sat16, view8
from stepcell.reference.integer_functions import bit_length, power_of_half

MOST_STEPS_DOWN = (1 << 17) - 1
"""The largest exponent t, in 2^-12 of an octave: e is 0 there."""


def evaluate(op: QAppend | QAttend, values: Mapping[str, IntArray]) -> IntArray:
    """What an operation gives."""
    if isinstance(op, QAppend):
        return append(op, values[op.memory], values[op.count], values[op.x])
    return attend(op, values[op.query], values[op.keys], values[op.values], values[op.count])


def append(op: QAppend, memory: IntArray, count: IntArray, x: IntArray) -> IntArray:
    """memory [N, S, ...] with row count [N] replaced by x [N, ...] or its view, unless it is full."""
    row = view8(x) if op.y.bits == 8 else x
    at = np.arange(memory.shape[1]) == count.reshape(-1, 1)
    return np.where(at.reshape(*at.shape, *[1] * (memory.ndim - 2)), row[:, None], memory)


def attend(op: QAttend, query: IntArray, keys: IntArray, values: IntArray, count: IntArray) -> IntArray:
    """query [N, ...], keys and values [N, S, ...], count [N] -> [N, *y.shape]."""
    w = weights(op, _scores(op, query, keys), count)
    total = w.sum(axis=-1)
    m = rr((w[:, None] @ values.reshape(*values.shape[:2], -1))[:, 0], op.value_shift)
    factor = ((op.mean_multiplier << 16) + (total >> 1)) // total
    return np.asarray(sat16(rr(m * factor[:, None], op.mean_shift)).reshape(-1, *op.y.shape))


def _scores(op: QAttend, query: IntArray, keys: IntArray) -> IntArray:
    """[N, S]: a."""
    q = (view8(query) if op.reads_view else query).reshape(len(query), 1, -1)
    return np.asarray(rr(q * keys.reshape(*keys.shape[:2], -1), op.product_shift).sum(axis=-1))


def weights(op: QAttend, scores: IntArray, count: IntArray) -> IntArray:
    """[N, S]: w, 0 beyond the first n rows; a row sums to 2^13 .. 2^15 + 2^13."""
    seen = np.arange(scores.shape[1]) < np.maximum(count.reshape(-1, 1), 1)
    most = np.where(seen, scores, np.iinfo(np.int64).min).max(axis=-1, keepdims=True)
    below = np.minimum(rr(np.where(seen, most - scores, 0), op.pre_shift), 65535)
    t = np.minimum(rr(below * op.multiplier, op.shift), MOST_STEPS_DOWN)
    e = np.where(seen, power_of_half(t, op.fraction), 0)
    by = bit_length(e.sum(axis=-1, keepdims=True)) - 15
    return np.asarray((e + ((1 << by) >> 1)) >> by)
