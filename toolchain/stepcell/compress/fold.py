"""What removed units were worth, given to those that stay: a least-squares fit over calibration data."""

import numpy as np

from stepcell.compress.inputs import Operand, matrix_inputs
from stepcell.compress.unit_graph import Numbers, Units
from stepcell.ir.model import BoolArray, FloatArray, Model
from stepcell.ir.ops import Conv, Dense, Op, Recurrent
from stepcell.ir.sequences import Sequences

DAMPING = 1e-4
"""Of the mean variance, added to each: kept units that hardly move are not relied on."""


def fold(model: Model, units: Units, leaving: Numbers, data: Sequences) -> Model:
    """The model whose matrices, and biases, also do what their columns of the leaving units did.

    Each removed input r of a matrix is predicted from the kept ones k, r ~ A k + b, by least squares over
    every step; then W_k += W_r A and bias += W_r b. Columns of convolutions are left as they are. Pruned
    weights stay zero. Raises StepcellError for data that does not fit the model's inputs.
    """
    weights = dict(model.weights)
    for (matrix, _), (rows, x, biases) in _by_rows(model, data).items():
        columns = units.parameters[matrix][-1]
        gone = np.isin([] if columns is None else columns, leaving)
        if not gone.any() or gone.all():
            continue
        slopes, offsets = _prediction(x, gone)
        removed, mask = model.weights[matrix][rows][:, gone], model.masks.get(matrix)
        added = np.zeros_like(weights[matrix])
        added[rows, ~gone] = removed @ slopes
        weights[matrix] = weights[matrix] + (added if mask is None else added * mask.keep)
        for bias in biases:
            weights[bias] = weights[bias].copy()
            weights[bias][rows] += removed @ offsets
    return model.with_weights(weights)


def _by_rows(
    model: Model, data: Sequences
) -> dict[tuple[str, int | None], tuple[slice, FloatArray, frozenset[str]]]:
    """Rows of a matrix: what they multiply [samples, columns] in all operations, and the biases of those."""
    found: dict[tuple[str, int | None], tuple[slice, FloatArray, frozenset[str]]] = {}
    for operand in matrix_inputs(model, data):
        if isinstance(operand.op, Conv):
            continue
        key = (operand.matrix, operand.rows.start)
        x, biases = operand.x.reshape(-1, model.weights[operand.matrix].shape[1]), frozenset({_bias(operand)})
        if key in found:
            x, biases = np.concatenate([found[key][1], x]), found[key][2] | biases
        found[key] = (operand.rows, x, biases)
    return found


def _bias(operand: Operand) -> str:
    op: Op = operand.op
    if isinstance(op, Recurrent):
        return op.input_bias if operand.matrix == op.input_weights else op.recurrent_bias
    assert isinstance(op, Dense)
    return op.bias


def _prediction(x: FloatArray, gone: BoolArray) -> tuple[FloatArray, FloatArray]:
    """(A [removed, kept], b [removed]) of x [samples, columns]."""
    mean = x.mean(axis=0)
    kept, removed = (x - mean)[:, ~gone], (x - mean)[:, gone]
    moments = kept.T @ kept
    moments += np.eye(len(moments)) * (DAMPING * np.trace(moments) / len(moments) + 1e-12)
    slopes = np.linalg.solve(moments, kept.T @ removed).T
    return slopes, mean[gone] - slopes @ mean[~gone]
