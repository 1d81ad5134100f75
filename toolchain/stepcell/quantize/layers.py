"""Quantization of the layers with weights: LSTM, GRU, RNN, Dense."""

import math

import numpy as np

from stepcell.errors import StepcellError
from stepcell.ir.graph import recurrent_operand
from stepcell.ir.model import FloatArray
from stepcell.ir.ops import RELU, Dense, Gru, Lstm, Recurrent, Rnn, Take
from stepcell.ir.qmodel import JointRequant, QDense, QGru, QLstm, QMatrix, QRnn, QValue
from stepcell.quantize.context import Q4_11, Q15, Context, function_ops
from stepcell.quantize.matrices import WEIGHT_LIMITS, quantize_matrix
from stepcell.quantize.requantize import joint_requant, prove_accumulators_fit, requant

_Matrices = tuple[QMatrix, QMatrix, np.ndarray, np.ndarray, JointRequant, int, int]


def quantize_lstm(context: Context, op: Lstm) -> QLstm:
    """The cell state's format is in its scale, 2^-cell_bits."""
    h_next = QValue(op.h_next.name, op.h_next.shape, 16, Q15)
    c_next = QValue(op.c_next.name, op.c_next.shape, 16, context.values[op.c].scale)
    cell_bits = -round(math.log2(c_next.scale))
    w, r, bias, _, joint, _, _ = _quantize_matrices(context, op, Q4_11)
    factor = op.recurrent_input
    return QLstm(op.x, op.h, op.c, h_next, c_next, w, r, bias, joint, cell_bits, factor)


def quantize_gru(context: Context, op: Gru) -> QGru:
    """The candidate's two parts are requantized apart under linear_before_reset."""
    h_next = QValue(op.h_next.name, op.h_next.shape, 16, Q15)
    w, r, bx, bh, joint, nx, nh = _quantize_matrices(context, op, Q4_11)
    reset = op.linear_before_reset
    return QGru(op.x, op.h, h_next, w, r, bx, bh, joint, nx, nh, reset, op.recurrent_input)


def quantize_rnn(context: Context, op: Rnn) -> QRnn:
    """A relu state is unbounded: its scale is what calibration asks for, and its matrix reads all 16 bits.

    (On FSDD that leaves a third of the error and of the flipped labels: docs/numerics-measured.md.)
    """
    relu = op.gate == RELU
    scale = context.values[op.h].scale if relu else Q15
    h_next = QValue(op.h_next.name, op.h_next.shape, 16, scale)
    w, r, bias, _, joint, _, _ = _quantize_matrices(context, op, scale if relu else Q4_11)
    return QRnn(op.x, op.h, h_next, w, r, bias, joint, relu, op.recurrent_input)


def _quantize_matrices(context: Context, op: Recurrent, out_scale: float) -> _Matrices:
    weights, masks = context.model.weights, context.model.masks
    layer = op.h_next.name
    x = context.values[op.x]
    input_bias, recurrent_bias, joint_rows = _split_bias(context, op)
    exact = op.h_next.name in context.formats.exact
    w, bx, sx = quantize_matrix(
        weights[op.input_weights],
        input_bias,
        masks.get(op.input_weights),
        x,
        exact=exact or context.activations != "int8" or _is_wide(context, op.x),
        weight_limit=_weight_limit(context, op.input_weights),
    )
    r, bh, sh = quantize_matrix(
        weights[op.recurrent_weights],
        recurrent_bias,
        masks.get(op.recurrent_weights),
        context.values[recurrent_operand(op)],
        exact=exact or context.activations == "int16-states" or (isinstance(op, Rnn) and op.gate == RELU),
        weight_limit=_weight_limit(context, op.recurrent_weights),
    )
    bound_x = prove_accumulators_fit(f"{layer} (input)", w, bx)
    bound_h = prove_accumulators_fit(f"{layer} (recurrent)", r, bh)
    joint, nx, nh = joint_requant(layer, bound_x, sx, bound_h, sh, out_scale, joint_rows)
    return w, r, bx, bh, joint, nx, nh


def _weight_limit(context: Context, matrix: str) -> int:
    return WEIGHT_LIMITS["int8" if matrix in context.formats.fine else context.weights]


def _is_wide(context: Context, name: str) -> bool:
    """Whether a value is (part of) an input that was found to need 16 bits."""
    if name in context.formats.wide:
        return True
    made = (op for op in function_ops(context.function) if isinstance(op, Take) and op.y.name == name)
    return any(_is_wide(context, op.x) for op in made)


def _split_bias(context: Context, op: Recurrent) -> tuple[FloatArray, FloatArray, int]:
    """(input bias, recurrent bias, joint rows): one sum, except for the candidate that r scales apart."""
    bx, bh = context.model.weights[op.input_bias], context.model.weights[op.recurrent_bias]
    rows = len(bx)
    joint_rows = rows * 2 // 3 if isinstance(op, Gru) and op.linear_before_reset else rows
    apart = np.arange(rows) >= joint_rows
    return bx + np.where(apart, 0.0, bh), np.where(apart, bh, 0.0), joint_rows


def quantize_dense(context: Context, op: Dense) -> QDense:
    """Reads int16 as it is; only where that could overflow int32 does it read the view."""
    weights, bias = context.model.weights[op.weights], context.model.weights[op.bias]
    x, mask = context.values[op.x], context.model.masks.get(op.weights)
    matrix, q_bias, scales = quantize_matrix(weights, bias, mask, x, exact=True)
    try:
        bound = prove_accumulators_fit(op.y.name, matrix, q_bias)
    except StepcellError as overflow:
        context.choices[op.y.name] = f"reads the int8 view: {overflow.message}"
        matrix, q_bias, scales = quantize_matrix(weights, bias, mask, x, exact=False)
        bound = prove_accumulators_fit(op.y.name, matrix, q_bias)
    y = context.calibrated(op.y)
    if op.y.name in context.table_arguments:
        y = QValue(op.y.name, op.y.shape, 16, Q4_11)
    return QDense(op.x, y, matrix, q_bias, requant(op.y.name, bound, scales, y.scale), relu=False)
