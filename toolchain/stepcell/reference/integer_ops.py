"""The equations of the integer operations, over a batch of sequences at one time step (docs/numerics.md)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.qmodel import (
    MAX_STEPS_OF_A_MEAN,
    IntArray,
    JointRequant,
    QActivate,
    QAdd,
    QDense,
    QGru,
    QHold,
    QLstm,
    QMatrix,
    QMul,
    QRnn,
    Requant,
)
from stepcell.reference.arithmetic import INT16_MAX, rr, sat16, sigmoid, tanh, view8


def matvec(matrix: QMatrix, x: IntArray) -> IntArray:
    """W x, [N, cols] -> [N, rows]; exact, as sums stay far below 2^53, so that float64 BLAS may do it."""
    seen = view8(x) if matrix.reads_view else x
    product = seen.astype(np.float64) @ matrix.weights.T.astype(np.float64)
    return np.asarray(product.astype(np.int64))


def joint(requant: JointRequant, ax: IntArray, ah: IntArray, rows: slice = slice(None)) -> IntArray:
    """Two int32 accumulators to one int16 pre-activation."""
    x_part = rr(ax, requant.input_pre_shift) * requant.input_multipliers[rows]
    h_part = rr(ah, requant.recurrent_pre_shift) * requant.recurrent_multipliers[rows]
    return sat16(rr(x_part + h_part, requant.post_shift))


def lstm(op: QLstm, x: IntArray, before: IntArray, c: IntArray) -> tuple[IntArray, IntArray]:
    """From x [N, I], h [N, H] Q0.15 or its held view, c [N, H] with `cell_bits` fraction bits -> (h', c')."""
    p = joint(op.requant, matvec(op.input, x) + op.bias, matvec(op.recurrent, before))
    i, o, f, g = np.split(p, 4, axis=1)
    i, o, f, g = sigmoid(i), sigmoid(o), sigmoid(f), tanh(g)
    c_next = sat16(rr(f * c + rr(i * g, 15 - op.cell_bits), 15))
    return rr(o * tanh(cell_as_q4_11(c_next, op.cell_bits)), 15), c_next


def cell_as_q4_11(c: IntArray, cell_bits: int) -> IntArray:
    """The cell state as a table argument."""
    return rr(c, cell_bits - 11) if cell_bits >= 11 else sat16(c * (1 << (11 - cell_bits)))


def gru(op: QGru, x: IntArray, h: IntArray, before: IntArray) -> IntArray:
    """From x [N, I], h [N, H] Q0.15 -> h'; `before` is h, or its held view."""
    units = h.shape[1]
    gates, n_rows = slice(0, 2 * units), slice(2 * units, 3 * units)
    ax = matvec(op.input, x) + op.input_bias
    ah = matvec(op.recurrent, before) + op.recurrent_bias
    z, r = np.split(sigmoid(joint(op.requant, ax[:, gates], ah[:, gates], gates)), 2, axis=1)
    if op.linear_before_reset:
        p = _candidate(op, ax[:, n_rows], ah[:, n_rows], r, n_rows)
    else:
        gated = matvec(op.recurrent, rr(r * h, 15))[:, n_rows]
        p = joint(op.requant, ax[:, n_rows], gated, n_rows)
    n = tanh(p)
    return n + rr(z * (h - n), 15)


def _candidate(op: QGru, ax: IntArray, ah: IntArray, r: IntArray, rows: slice) -> IntArray:
    """sat16(px + r*ph), the two parts requantized apart; px may exceed int16, |px| < 2^30."""
    requant = op.requant
    px = rr(rr(ax, requant.input_pre_shift) * requant.input_multipliers[rows], op.candidate_input_shift)
    ph = rr(
        rr(ah, requant.recurrent_pre_shift) * requant.recurrent_multipliers[rows],
        op.candidate_recurrent_shift,
    )
    return sat16(px + rr(r * sat16(ph), 15))


def rnn(op: QRnn, x: IntArray, before: IntArray) -> IntArray:
    """From x [N, I], h [N, H] or its held view -> h'."""
    p = joint(op.requant, matvec(op.input, x) + op.bias, matvec(op.recurrent, before))
    return np.maximum(p, 0) if op.relu else tanh(p)


def hold(op: QHold, x: IntArray, held: IntArray) -> IntArray:
    """What changed by more than the threshold, and for the rest what was held."""
    v = view8(x) if op.reads_view else x
    return np.where(np.abs(v - held) > op.threshold, v, held)


def dense(op: QDense, x: IntArray) -> IntArray:
    """From x [N, I] to y [N, O]."""
    acc = matvec(op.matrix, x) + op.bias
    y = requantized(op.requant, acc)
    return np.maximum(y, 0) if op.relu else y


def requantized(requant: Requant, acc: IntArray) -> IntArray:
    """Accumulators [..., rows] of one matrix to int16."""
    shifted = rr(acc, requant.pre_shift)
    shifted = sat16(shifted) if requant.saturates else shifted
    return sat16(rr(shifted * requant.multipliers, requant.post_shift))


def activate(op: QActivate, x: IntArray) -> IntArray:
    """Element by element."""
    functions = {"relu": lambda v: np.maximum(v, 0), "sigmoid": sigmoid, "tanh": tanh}
    return np.asarray(functions[op.function](x))


def add(op: QAdd, a: IntArray, b: IntArray) -> IntArray:
    """a + b, each on its own scale."""
    return sat16(rr(a * op.a_multiplier + b * op.b_multiplier, op.shift))


def mul(op: QMul, a: IntArray, b: IntArray) -> IntArray:
    """a * b, the product of scales brought to that of y."""
    return sat16(rr(rr(a * b, 15) * op.multiplier, op.shift))


def count(x: IntArray) -> IntArray:
    """One more step, up to the last that a mean takes in."""
    return np.asarray(np.minimum(x + 1, MAX_STEPS_OF_A_MEAN))


def quantize_input(x: NDArray[Any], scale: float, bits: int, zero_point: int = 0) -> IntArray:
    """clamp(floor(x / scale + 0.5)) to ±127 or ±32767, NaN to 0, in float32 as the C helper computes it.

    With a zero point, which is added and stands for NaN, to the whole range of int8.
    """
    if zero_point:
        return _quantize_around(x, scale, zero_point)
    limit = 127 if bits == 8 else INT16_MAX
    with np.errstate(over="ignore"):  # what exceeds float32 exceeds the limit
        steps = np.floor(np.asarray(x, np.float32) * np.float32(1.0 / scale) + np.float32(0.5))
    return np.asarray(np.nan_to_num(np.clip(steps, -limit, limit)), np.int64)


def _quantize_around(x: NDArray[Any], scale: float, zero_point: int) -> IntArray:
    with np.errstate(over="ignore"):
        steps = np.floor(np.asarray(x, np.float32) * np.float32(1.0 / scale) + np.float32(0.5))
    clipped = np.clip(steps, -128 - zero_point, 127 - zero_point)
    return np.asarray(np.nan_to_num(clipped), np.int64) + zero_point
