"""Ranges of the values that need a scale, from real data.

Data runs twice: as it is, every sequence from its initial state, and as long streams that are never
reset, because that is how firmware runs and where cell states grow largest.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stepcell.errors import StepcellError
from stepcell.ir.model import FloatArray, Model, recurrent_ops
from stepcell.ir.ops import RELU, Lstm, Rnn, writes
from stepcell.ir.sequences import Sequences
from stepcell.reference.float_model import evaluate, run_float

STREAM_LANES = 16
"""How many streams the calibration data is cut into: enough for numpy to be quick, few enough to be long."""
RUNAWAY = 4.0
"""A relu RNN whose values grow this much beyond those of the sequences as they are given diverges without
resets. No scale holds what it becomes; its streams then say nothing, and the integers saturate there."""


@dataclass(frozen=True, eq=False)
class Ranges:
    """Largest |value| by name. `peak` is the true maximum, `typical` the chosen percentile of it."""

    peak: Mapping[str, float]
    typical: Mapping[str, float]


def calibrate(model: Model, data: Sequences, percentile: float = 100.0) -> Ranges:
    """Observe every value and state of the model over `data`.

    percentile: 100 takes the maximum; less clips rare peaks of |value| (cell states are never clipped).
    Raises StepcellError for data of another shape than the input, and where it makes the model overflow.
    """
    _check_shape(model, data)
    peak: dict[str, float] = {}
    typical: dict[str, float] = {}
    as_given = _observe(model, data.x, data.lengths)
    streamed = _observe(model, *_streams(data))
    bounded = _bounded(model)
    for name, array in as_given.items():
        both = _magnitudes(array, streamed[name], bounded is None or name in bounded)
        if not np.isfinite(both).all():
            raise StepcellError(
                f"{model.name}: '{name}' becomes NaN or infinite on the calibration data.",
                "check the data's scale; it must be what the model was trained on.",
            )
        peak[name] = float(both.max(initial=0.0))
        typical[name] = peak[name] if percentile >= 100.0 else float(np.percentile(both, percentile))
    (value,) = model.main.inputs
    if peak[value.name] == 0.0:
        raise StepcellError(
            f"{model.name}: the calibration data is nothing but zeros.", "give real inputs: x [N, T, ...]."
        )
    return Ranges(peak, typical)


def _bounded(model: Model) -> frozenset[str] | None:
    """The values that cannot diverge: None for all of them, without a relu RNN; else the cell states."""
    ops = recurrent_ops(model)
    if not any(isinstance(op, Rnn) and op.gate == RELU for op in ops):
        return None
    return frozenset(name for op in ops if isinstance(op, Lstm) for name in (op.c, op.c_next.name))


def _magnitudes(given: FloatArray, streamed: FloatArray, bounded: bool) -> FloatArray:
    """|value| of both runs, or only of the first where the second runs away."""
    given, streamed = np.abs(given).ravel(), np.abs(streamed).ravel()
    limit = RUNAWAY * given.max(initial=0.0)
    runs_away = not bounded and limit > 0.0 and not streamed.max(initial=0.0) <= limit
    return given if runs_away else np.concatenate([given, streamed])


def _check_shape(model: Model, data: Sequences) -> None:
    (value,) = model.main.inputs
    expected = ", ".join(["N", "T", *map(str, value.shape)])
    if data.x.shape[2:] != value.shape or 0 in data.x.shape or not np.all(data.lengths >= 1):
        raise StepcellError(
            f"{model.name}: the calibration data is {list(data.x.shape)}, "
            f"the input '{value.name}' is [{expected}].",
            "give at least one sequence of at least one step, in the shape that the model was trained on.",
        )


def _streams(data: Sequences) -> tuple[FloatArray, np.ndarray]:
    """The sequences joined end to end, cut into equal lanes: [lanes, T', ...]."""
    joined = np.concatenate([x[:n] for x, n in zip(data.x, data.lengths, strict=True)])
    lanes = min(STREAM_LANES, len(data.x))
    steps = len(joined) // lanes
    return joined[: lanes * steps].reshape(lanes, steps, *joined.shape[1:]), np.full(lanes, steps)


def _observe(model: Model, x: FloatArray, lengths: np.ndarray) -> dict[str, FloatArray]:
    """Every value of the step graph and of finish, at every valid step: [steps in all, ...]."""
    function = model.main
    (stage,) = function.stages
    names = tuple(value.name for op in stage.ops for value in writes(op))
    states = tuple(state.name for state in model.states)
    run = run_float(model, x, lengths, keep=(*names, *states))
    valid = np.arange(x.shape[1]) < np.asarray(lengths)[:, None]
    seen = {name: _expand(run.steps[name], valid) for name in (*names, *states)}
    seen[function.inputs[0].name] = np.asarray(x, np.float64)[valid]
    if function.finish is not None:
        finished = dict(seen)
        for op in function.finish.ops:
            evaluate(model, op, finished)
            seen |= {value.name: finished[value.name] for value in writes(op)}
    return seen


def _expand(array: FloatArray, valid: np.ndarray) -> FloatArray:
    """[N or 1, T, ...] -> [valid steps, ...]; a constant has a batch of 1."""
    return np.asarray(np.broadcast_to(array, (valid.shape[0], *array.shape[1:]))[valid])
