"""The operations of an already quantized TensorFlow Lite file, over a batch of sequences at one time step."""

import numpy as np

from stepcell.ir.qmodel import IntArray
from stepcell.ir.qtflite import QFixed, QTfliteDense, QTfliteLstm, QTfliteTable
from stepcell.reference import tflite_arithmetic as arithmetic
from stepcell.reference.tflite_arithmetic import away, sat16


def lstm(op: QTfliteLstm, x: IntArray, h: IntArray, c: IntArray) -> tuple[IntArray, IntArray]:
    """From x [N, I] and h [N, H] in int8, c [N, H] in int16 -> (h', c')."""
    units = h.shape[1]
    ax = _product(op.input.weights, x) + op.input_bias
    ah = _product(op.recurrent.weights, h) + op.recurrent_bias
    p = sat16(_scaled(ax, op.input_factors, units))
    p = sat16(p + _scaled(ah, op.recurrent_factors, units))
    i, o, f, g = np.split(p, 4, axis=1)
    i, o, f = (arithmetic.sigmoid(gate) for gate in (i, o, f))
    g = arithmetic.tanh(g, 3)
    c_next = sat16(away(f * c, 15) + away(i * g, 30 - op.cell_bits))
    c_next = np.clip(c_next, -op.cell_limit, op.cell_limit)
    squashed = arithmetic.tanh(c_next, 15 - op.cell_bits)
    factor = op.hidden_factor
    h_next = arithmetic.multiply(o * squashed, factor.multipliers, factor.shifts) + op.hidden_zero_point
    return np.asarray(np.clip(h_next, -128, 127)), c_next


def dense(op: QTfliteDense, x: IntArray) -> IntArray:
    """From x [N, I] to y [N, O], rounded once, ties up."""
    acc = _product(op.matrix.weights, x) + op.bias
    right = 31 - op.factors.shifts
    scaled = (acc * op.factors.multipliers + (1 << (right - 1))) >> right
    return np.asarray(np.clip(scaled + op.zero_point, op.least, op.greatest))


def table(op: QTfliteTable, x: IntArray) -> IntArray:
    """Element by element."""
    return np.asarray(op.table[x + 128])


def _product(weights: IntArray, x: IntArray) -> IntArray:
    """W x, [N, cols] -> [N, rows]; exact in float64, as sums stay far below 2^53."""
    product = x.astype(np.float64) @ weights.T.astype(np.float64)
    return np.asarray(product.astype(np.int64))


def _scaled(acc: IntArray, factors: QFixed, units: int) -> IntArray:
    """Each gate's rows times its factor."""
    multipliers, shifts = (np.repeat(part, units) for part in (factors.multipliers, factors.shifts))
    return arithmetic.multiply(acc, multipliers, shifts)
