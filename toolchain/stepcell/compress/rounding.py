"""`round_to_data`: weights rounded so that the sums which calibration data makes stay right.

Rounding to nearest makes every weight's own error smallest. What matters is the error of a row's sum over the
inputs that it meets, whose features move together: after a column is rounded, the columns that are still to
come take up what it left, in the way that the data's second moments say. The rows' scales stay, so the
quantizer then finds every weight on its grid.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.model import BoolArray, FloatArray, Function, Model, Stage
from stepcell.ir.ops import Dense, Gru, Lstm, Op, Recurrent, Rnn
from stepcell.ir.sequences import Sequences, by_function, in_steps
from stepcell.ir.verify import verify
from stepcell.quantize.context import Weights
from stepcell.quantize.matrices import SMALLEST_SCALE, WEIGHT_LIMITS
from stepcell.reference.float_model import FloatRun, run_float_functions

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
    ops = [op for f in model.functions for op in _all(f)]
    names = {value for op in ops for value in _operands(op).values()}
    states = {state.name: state.initial[None] for state in model.states}
    runs = run_float_functions(model, data, keep=tuple(names))
    fed = by_function(model.functions, data)
    found: dict[str, tuple[FloatArray, bool]] = {}
    for function in model.functions:
        own = fed[function.name]
        _, lengths = in_steps(function, {}, own.lengths)
        run = runs[function.name]
        for stage in function.stages:
            for op in stage.ops:
                for matrix, value in _operands(op).items():
                    x = _read(run, stage, states, value, lengths)
                    _add(model, found, matrix, x, isinstance(op, Recurrent))
        for op in function.finish.ops if function.finish is not None else ():
            for matrix, value in _operands(op).items():
                _add(model, found, matrix, run.ends[value], False)
        states = {state.name: run.ends[state.name] for state in model.states}
    return found


def _all(function: Function) -> Iterator[Op]:
    for stage in function.stages:
        yield from stage.ops
    yield from function.finish.ops if function.finish is not None else ()


def _operands(op: Op) -> dict[str, str]:
    """Matrix -> the value that it multiplies."""
    match op:
        case Lstm() | Gru() | Rnn():
            plain = {op.input_weights: op.x, op.recurrent_weights: op.h}
            return {} if isinstance(op, Lstm) and op.projection else plain
        case Dense():
            return {op.weights: op.x}
        case _:
            return {}


def _read(
    run: FloatRun, stage: Stage, starts: Mapping[str, FloatArray], name: str, lengths: NDArray[np.int64]
) -> FloatArray:
    """What the stage's operations read of a value at every valid step: [steps in all, ...]."""
    recorded = run.steps[name]
    count, steps = recorded.shape[:2]
    if name in starts:
        first = np.broadcast_to(starts[name], (count, *starts[name].shape[1:]))[:, None]
        at = np.arange(steps)
        if stage.direction == "forward":
            recorded = np.concatenate([first, recorded[:, :-1]], axis=1)
        else:
            after = recorded[:, np.minimum(at + 1, steps - 1)]
            is_last = (at == lengths[:, None] - 1).reshape(count, steps, *[1] * (recorded.ndim - 2))
            recorded = np.where(is_last, first, after)
    valid: FloatArray = recorded[np.arange(steps) < lengths[:, None]]
    return valid


def _add(
    model: Model, found: dict[str, tuple[FloatArray, bool]], matrix: str, x: FloatArray, recurrent: bool
) -> None:
    rows = x.reshape(-1, model.weights[matrix].shape[1])
    moments = rows.T @ rows / max(len(rows), 1)
    before = found.get(matrix)
    found[matrix] = (moments if before is None else before[0] + moments, recurrent)
