"""Biases that take in what the rounding of weights does to a row's sum on average.

A row's integer weights err. Over calibration data, the mean of what that costs its sum is a constant, which
the bias can carry (Nagel et al. 2019; the means here are measured, not derived from a normalization). What
a row's inputs err is left alone: once the layer before is corrected, its mean error is gone, and a layer that
reads its own state would correct itself twice. On random networks with int4 weights, to correct both raised
the error of the outputs by a quarter; to correct this much lowers it by a fifth.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.graph import recurrent_operand
from stepcell.ir.model import FloatArray, Function, Model, Stage, all_ops
from stepcell.ir.ops import Dense, Gru, Lstm, Op, Rnn
from stepcell.ir.qmodel import IntArray, QMatrix, QModel, q_writes
from stepcell.ir.sequences import Sequences
from stepcell.quantize.stored import stored_matrices
from stepcell.reference.arithmetic import view8
from stepcell.reference.integer_data import quantize_sequences
from stepcell.reference.integer_model import run_integer

SEQUENCES = 256
"""Of the calibration data: enough for means."""


def correct_biases(model: Model, qmodel: QModel, data: Sequences) -> Model:
    """The model with biases that make up for the mean error of every row of `qmodel`'s weights.

    Corrected are recurrent layers and dense ones over a single vector, where the integer model runs them as
    they are; convolutions keep their biases, and so do the recurrent rows of the candidate of a GRU with
    linear_before_reset = 0, which read r * h.
    """
    part = data.take(np.linspace(0, len(data) - 1, min(SEQUENCES, len(data))).astype(np.int64))
    stored = stored_matrices(model, qmodel)
    means = _means(model, qmodel, stored, part)
    biases: dict[str, FloatArray] = {}
    for name, (matrix, rows) in _corrected(model).items():
        if matrix in means:
            held = stored[matrix].weights * stored[matrix].scales[:, None]
            error = (model.weights[matrix] - held) @ means[matrix]
            biases[name] = model.weights[name] + np.where(np.arange(len(error)) < rows, error, 0.0)
    return model.with_weights(biases)


def _corrected(model: Model) -> dict[str, tuple[str, int]]:
    """By a bias: the matrix whose sums it starts, and how many of its rows are corrected."""
    found: dict[str, tuple[str, int]] = {}
    for op in all_ops(model):
        rows = {matrix: len(model.weights[matrix]) for matrix in _read(op)}
        match op:
            case Dense() if rows:
                found[op.bias] = op.weights, rows[op.weights]
            case Lstm() | Gru() | Rnn():
                gated = isinstance(op, Gru) and not op.linear_before_reset
                found[op.input_bias] = op.input_weights, rows[op.input_weights]
                left = rows[op.recurrent_weights]
                found[op.recurrent_bias] = op.recurrent_weights, left * 2 // 3 if gated else left
            case _:
                pass
    return found


def _read(op: Op) -> dict[str, str]:
    """By a matrix: the value that it multiplies; nothing for what is not corrected."""
    match op:
        case Lstm() | Gru() | Rnn():
            return {op.input_weights: op.x, op.recurrent_weights: recurrent_operand(op)}
        case Dense() if len(op.y.shape) == 1:
            return {op.weights: op.x}
        case _:
            return {}


@dataclass(frozen=True, eq=False)
class _Run:
    """One function: values after every step [N, T, ...], at the end and at the start [N, ...], by name."""

    steps: Mapping[str, IntArray]
    ends: Mapping[str, IntArray]
    starts: Mapping[str, IntArray]
    lengths: NDArray[np.int64]


def _means(
    model: Model, qmodel: QModel, stored: Mapping[str, QMatrix], data: Sequences
) -> dict[str, FloatArray]:
    """The mean over all steps of what the `stored` matrices read, [cols] in real units, where it is known."""
    scales = _scales(qmodel)
    parts: dict[str, list[FloatArray]] = {}
    for name, run in _runs(model, qmodel, data).items():
        for matrix, value, x in _seen(model.function(name), run):
            if matrix in stored:
                rows = x.reshape(-1, model.weights[matrix].shape[1])
                seen = view8(rows) * 256 if stored[matrix].reads_view else rows
                parts.setdefault(matrix, []).append(np.asarray(seen * scales[value], np.float64))
    return {matrix: np.concatenate(seen).mean(axis=0) for matrix, seen in parts.items()}


def _runs(model: Model, qmodel: QModel, data: Sequences) -> dict[str, _Run]:
    """Every function of the integer model over the data, in order."""
    wanted = {value for op in all_ops(model) for value in _read(op).values()}
    runs, starts = {}, {s.value.name: s.initial[None] for s in qmodel.states}
    for name, feed in quantize_sequences(qmodel, data).items():
        made = {value.name for op in qmodel.function(name).all_ops for value in q_writes(op)}
        initial = {n: np.broadcast_to(x, (len(data), *x.shape[1:])) for n, x in starts.items()}
        keep = tuple(wanted & (made | starts.keys()))
        run = run_integer(qmodel, feed.inputs, feed.lengths, initial, name, keep)
        ends = {n: x[:, -1] for n, x in (run.kept | run.states).items()}
        runs[name] = _Run(feed.inputs | run.kept, ends, starts, feed.lengths)
        starts = {n: ends[n] for n in starts}
    return runs


def _scales(qmodel: QModel) -> dict[str, float]:
    values = [v for f in qmodel.functions for v in f.inputs] + [s.value for s in qmodel.states]
    return {v.name: v.scale for v in (*values, *(v for op in qmodel.all_ops for v in q_writes(op)))}


def _seen(function: Function, run: _Run) -> Iterator[tuple[str, str, IntArray]]:
    """(matrix, the name of what it reads, that at every valid step or at the end), where it was recorded."""
    for stage in function.stages:
        for op in stage.ops:
            for matrix, value in _read(op).items():
                if value in run.steps:
                    yield matrix, value, _at_valid_steps(run, stage, value)
    for op in function.finish.ops if function.finish is not None else ():
        for matrix, value in _read(op).items():
            if value in run.ends:
                yield matrix, value, run.ends[value]


def _at_valid_steps(run: _Run, stage: Stage, name: str) -> IntArray:
    """A value [steps in all, ...]; of a state what the step before left."""
    x = run.steps[name]
    at = np.arange(x.shape[1])
    if name in run.starts:
        step = 1 if stage.direction == "forward" else -1
        first = 0 if step == 1 else run.lengths[:, None] - 1
        is_first = (at == first) & np.ones((len(x), 1), np.bool_)
        start = np.broadcast_to(run.starts[name], (len(x), *x.shape[2:]))[:, None]
        before = x[:, np.clip(at - step, 0, len(at) - 1)]
        x = np.where(is_first.reshape(*is_first.shape, *[1] * (x.ndim - 2)), start, before)
    valid: IntArray = x[at < run.lengths[:, None]]
    return valid
