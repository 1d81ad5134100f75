"""How much each weight matters: one function a criterion, Model and data -> scores of its matrices.

A criterion scores every matrix that pruning works on; higher means keep. Where a score compares a weight
with others, it does so gate by gate, since the gates of a cell live on scales of their own. Blocks are
judged by the mean of their scores (compress/budget.py). Criteria that need gradients: gradients.py.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from stepcell.compress.inputs import Operand, matrix_inputs
from stepcell.errors import StepcellError
from stepcell.ir.graph import matrices
from stepcell.ir.model import FloatArray, Model, all_ops
from stepcell.ir.ops import Conv, Gru, Lstm, Op
from stepcell.ir.sequences import Sequences

Scores = Mapping[str, FloatArray]
Criterion = Callable[[Model, Sequences | None], Scores]


def random(seed: int) -> Criterion:
    """The criterion that knows nothing: uniform numbers. Whatever does worse than it is misleading."""

    def scores(model: Model, data: Sequences | None = None) -> Scores:
        del data
        drawn = np.random.default_rng(seed)
        return {name: drawn.random(model.weights[name].shape) for name, _ in _named(model)}

    return scores


def magnitude(model: Model, data: Sequences | None = None) -> Scores:
    """|w| (Han et al. 2015, "Learning both weights and connections", arXiv 1506.02626)."""
    del data
    return {name: np.abs(model.weights[name]) for name, _ in _named(model)}


def average_magnitude(model: Model, data: Sequences | None = None) -> Scores:
    """|w| / mean |w| of its gate and matrix: removed is what lies below one multiple of every gate's mean."""
    return per_gate(magnitude)(model, data)


def activity(model: Model, data: Sequences | None = None) -> Scores:
    """|w| times the root mean square of what it multiplies, over calibration data.

    The Wanda score (Sun et al. 2023, "A simple and effective pruning approach for large language models",
    arXiv 2306.11695), its inputs those of every time step. Raises StepcellError without data.
    """
    moments = {name: np.zeros_like(model.weights[name]) for name, _ in _named(model)}
    samples = dict.fromkeys(moments, 0)
    for operand in matrix_inputs(model, needed(data, "activity")):
        moments[operand.matrix][operand.rows] += len(operand.x) * _mean_squares(model, operand)
        samples[operand.matrix] += len(operand.x) if operand.rows.start in (None, 0) else 0
    scale = {name: np.sqrt(m / max(samples[name], 1)) for name, m in moments.items()}
    return {name: np.abs(model.weights[name]) * scale[name] for name in moments}


def structural_cost(model: Model, data: Sequences | None = None) -> Scores:
    """|w| p: what a weight adds to the sum of w p, p a connection's importance probability.

    The structural cost, the sum of w p. p is here the share of its row's input that comes through the
    connection, |w| / sum |w| of the row (with data: of |w| times the input's root mean square), so that the
    probabilities of a row add up to one.
    """
    strength = magnitude(model) if data is None else activity(model, data)
    flat = {name: s.reshape(len(s), -1).sum(axis=1) for name, s in strength.items()}
    total = {name: np.maximum(f, np.finfo(float).tiny) for name, f in flat.items()}
    return {
        name: np.abs(model.weights[name]) * s / total[name].reshape(-1, *[1] * (s.ndim - 1))
        for name, s in strength.items()
    }


def weight_cost(model: Model, data: Sequences | None = None) -> Scores:
    """w^2: what a weight adds to the weight cost, the sum of w^2.

    One weight at a time that is the order of `magnitude`; of blocks, it favours those with one large weight.
    """
    return {name: s**2 for name, s in magnitude(model, data).items()}


def largest_first(model: Model, data: Sequences | None = None) -> Scores:
    """-|w|: the largest weights go first. A baseline that shows what that costs, not advice."""
    return {name: -s for name, s in magnitude(model, data).items()}


def per_gate(criterion: Criterion) -> Criterion:
    """The criterion, its scores divided by their mean magnitude over each gate of each matrix."""

    def scores(model: Model, data: Sequences | None = None) -> Scores:
        found, gates = criterion(model, data), dict(_named(model))
        return {name: _normalized(s, gates[name]) for name, s in found.items()}

    return scores


def needed(data: Sequences | None, criterion: str) -> Sequences:
    """The data, for a criterion that cannot do without it."""
    if data is None:
        raise StepcellError(
            f"pruning: the criterion '{criterion}' needs calibration data.", "pass data=, or use 'magnitude'."
        )
    return data


def gates_of(op: Op) -> tuple[str, ...]:
    """The gates whose rows a matrix of the operation holds one after the other, by ONNX's letters."""
    match op:
        case Lstm():
            return ("i", "o", "f", "c")
        case Gru():
            return ("z", "r", "n")
        case _:
            return ("all",)


def _named(model: Model) -> Iterator[tuple[str, int]]:
    """Each matrix, and how many gates its rows are."""
    seen = {name: len(gates_of(op)) for op in all_ops(model) for name in matrices(op)}
    yield from seen.items()


def _normalized(scores: FloatArray, gates: int) -> FloatArray:
    parts = scores.reshape(gates, -1)
    means = np.maximum(np.abs(parts).mean(axis=1, keepdims=True), np.finfo(float).tiny)
    return np.asarray((parts / means).reshape(scores.shape))


def _mean_squares(model: Model, operand: Operand) -> FloatArray:
    """Of the inputs of each weight: [1, cols], or of a convolution [1, *kernel, channels / groups]."""
    squares = (operand.x**2).reshape(-1, operand.x.shape[-1]).mean(axis=0)
    shape = model.weights[operand.matrix].shape
    if isinstance(operand.op, Conv):
        return np.broadcast_to(squares if operand.op.groups == 1 else squares.mean(), (1, *shape[1:]))
    return np.asarray((operand.x**2).reshape(-1, shape[1]).mean(axis=0)[None])
