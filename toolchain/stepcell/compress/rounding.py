"""`round_to_data`: weights rounded so that the sums which calibration data makes stay right.

Rounding to nearest makes every weight's own error smallest. What matters is the error of a row's sum over the
inputs that it meets, whose features move together: after a column is rounded, the columns that are still to
come take up what it left, in the way that the data's second moments say. The rows' scales stay, so the
quantizer then finds every weight on its grid.
"""

import numpy as np

from stepcell.compress.operands import matrix_sites, operands, record
from stepcell.ir.model import BoolArray, FloatArray, Model
from stepcell.ir.ops import Conv, Lstm, Op, Recurrent
from stepcell.ir.sequences import Sequences
from stepcell.ir.verify import verify
from stepcell.quantize.context import Weights
from stepcell.quantize.matrices import SMALLEST_SCALE, WEIGHT_LIMITS

DAMPING = 0.01
"""Of the mean second moment, added to each: features that never occur must not take up any error."""


def round_to_data(model: Model, data: Sequences, weights: Weights = "int8") -> Model:
    """The model with the matrices of its recurrent layers and Dense layers on the quantizer's grid.

    weights: what recurrent layers' matrices will hold; the others hold int8. Pruned weights stay zero.
    Raises StepcellError for data that does not fit the model's inputs.
    """
    rounded = dict(model.weights)
    for name, (moments, recurrent) in _moments(model, data).items():
        mask = model.masks.get(name)
        keep = np.ones(rounded[name].shape, np.bool_) if mask is None else mask.keep
        limit = WEIGHT_LIMITS[weights if recurrent else "int8"]
        rounded[name] = _rounded(rounded[name], moments, keep, limit)
    return verify(model.with_weights(rounded))


def _rounded(w: FloatArray, moments: FloatArray, keep: BoolArray, limit: int) -> FloatArray:
    """A matrix [rows, cols] rounded column by column, those with the largest inputs first."""
    scales = np.abs(w).max(axis=1) / limit
    scales = np.maximum(scales, scales.max(initial=0.0) / SMALLEST_SCALE)
    if not scales.max(initial=0.0) > 0.0 or not np.trace(moments) > 0.0:
        return w
    largest = np.abs(w).argmax(axis=1)  # stays at the limit: it is the row's scale
    damped = moments + np.eye(len(moments)) * DAMPING * np.trace(moments) / len(moments)
    order = np.argsort(-np.diag(damped), kind="stable")
    factor = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(order, order)])).T
    left, result = w[:, order].copy(), np.zeros_like(w)
    for j, column in enumerate(order):
        nearest = np.clip(np.round(left[:, j] / scales), -limit, limit) * scales
        nearest = np.where(largest == column, w[:, column], nearest) * keep[:, column]
        result[:, column] = nearest
        left[:, j + 1 :] -= np.outer((left[:, j] - nearest) / factor[j, j], factor[j, j + 1 :])
    return result


def _moments(model: Model, data: Sequences) -> dict[str, tuple[FloatArray, bool]]:
    """Mean of x x' over all steps for every matrix, and whether it is a recurrent layer's."""
    sites = [site for site in matrix_sites(model) if _is_rounded(site.op)]
    recording = record(model, data, sites)
    found: dict[str, tuple[FloatArray, bool]] = {}
    for site in sites:
        for matrix, value in operands(site.op).items():
            rows = recording.read(site, value).reshape(-1, model.weights[matrix].shape[1])
            moments = rows.T @ rows / max(len(rows), 1)
            before = found.get(matrix)
            found[matrix] = (
                moments if before is None else before[0] + moments,
                isinstance(site.op, Recurrent),
            )
    return found


def _is_rounded(op: Op) -> bool:
    return not isinstance(op, Conv) and not (isinstance(op, Lstm) and op.projection)
