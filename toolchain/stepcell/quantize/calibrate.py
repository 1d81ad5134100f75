"""Ranges of the values that need a scale, from real data.

Data runs as it is, every sequence from its initial state. A model that is one step function also runs over
long streams that are never reset, because that is how firmware runs and where cell states grow largest.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from stepcell.errors import StepcellError
from stepcell.ir.graph import writes
from stepcell.ir.memory import check_memory, stage_ops
from stepcell.ir.model import FloatArray, Function, Model, all_ops, recurrent_ops
from stepcell.ir.ops import (
    RELU,
    Append,
    Conv,
    Dense,
    Embed,
    Lstm,
    Rnn,
    Value,
)
from stepcell.ir.sequences import Sequences, by_function, check_tokens, frame_values
from stepcell.quantize.calibrators import Calibrator, covered
from stepcell.reference.float_model import FloatRun, evaluate, run_float_functions

STREAM_LANES = 16
"""How many streams the calibration data is cut into: enough for numpy to be quick, few enough to be long."""
SAMPLED_STEPS = 64
RUNAWAY = 4.0
"""A relu RNN whose values grow this much beyond those of the sequences as they are given diverges without
resets. No scale holds what it becomes; its streams then say nothing, and the integers saturate there."""


@dataclass(frozen=True, eq=False)
class Ranges:
    """Largest |value| by name: `peak` is the true maximum, `typical` what an int16 scale is to cover."""

    peak: Mapping[str, float]
    typical: Mapping[str, float]
    samples: Mapping[str, FloatArray] = field(default_factory=dict)
    """[steps, ...] of what layers over windows read"""
    coarse: Mapping[str, float] = field(default_factory=dict)
    """What an int8 scale is to cover, of inputs."""


def calibrate(
    model: Model, data: Sequences, percentile: float = 100.0, calibrator: Calibrator = "minmax"
) -> dict[str, Ranges]:
    """Observe every value and state of the model over `data`; ranges by function, those of states in each.

    percentile: 100 takes the maximum; less clips rare peaks of |value| (cell states are never clipped).
    calibrator: what chooses how much is clipped (quantize/calibrators.py).
    Raises StepcellError for data of another shape than the inputs, and where it makes the model overflow.
    """
    _check_shape(model, data)
    as_given = _observe(model, data)
    streamed = _observe(model, _streams(model.main, data)) if _runs_unreset(model) else {}
    bounded = _bounded(model)
    seen = {
        function: {
            name: _magnitudes(array, streamed.get(function, {}).get(name), bounded is None or name in bounded)
            for name, array in values.items()
        }
        for function, values in as_given.items()
    }
    for name in (state.name for state in model.states):
        everywhere = np.concatenate([values[name] for values in seen.values()])
        seen = {function: {**values, name: everywhere} for function, values in seen.items()}
    chosen = partial(covered, calibrator=calibrator, percentile=percentile)
    ranges = {f: _ranges(model, model.function(f), values, chosen) for f, values in seen.items()}
    _check_inputs(model, ranges)
    return {f: replace(r, samples=_samples(model.function(f), as_given[f])) for f, r in ranges.items()}


def _samples(function: Function, seen: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Some steps of what layers over windows read."""
    ops = [op for stage in function.stages for op in stage.ops]
    read = {op.x for op in ops if isinstance(op, Conv | Dense) and len(op.y.shape) > 1}
    found = {name: seen[name] for name in read if name in seen}
    return {name: array[:: max(1, len(array) // SAMPLED_STEPS)] for name, array in found.items()}


def _ranges(
    model: Model, function: Function, magnitudes: Mapping[str, FloatArray], chosen: Callable[..., float]
) -> Ranges:
    peak: dict[str, float] = {}
    typical: dict[str, float] = {}
    for name, array in magnitudes.items():
        if not np.isfinite(array).all():
            raise StepcellError(
                f"{model.name}: '{name}' becomes NaN or infinite on the calibration data.",
                "check the data's scale; it must be what the model was trained on.",
            )
        peak[name] = float(array.max(initial=0.0))
        typical[name] = chosen(array, bits=16)
    coarse = {value.name: chosen(magnitudes[value.name], bits=8) for value in function.inputs}
    return Ranges(peak, typical, coarse=coarse)


def _check_inputs(model: Model, ranges: Mapping[str, Ranges]) -> None:
    for function in model.functions:
        for value in function.inputs:
            if value.dtype == "float" and ranges[function.name].peak[value.name] == 0.0:
                raise StepcellError(
                    f"{model.name}: the calibration data is nothing but zeros in '{value.name}'.",
                    "give real inputs: x [N, T, ...].",
                )


def _runs_unreset(model: Model) -> bool:
    """Whether firmware may step on for ever: one function of one forward stage, and no memory that fills."""
    bounded = any(isinstance(op, Append) for op in all_ops(model))
    return len(model.functions) == 1 and model.main.is_step and not bounded


def _bounded(model: Model) -> frozenset[str] | None:
    """The values that cannot diverge: None for all of them, without a relu RNN; else the cell states."""
    ops = recurrent_ops(model)
    if not any(isinstance(op, Rnn) and op.gate == RELU for op in ops):
        return None
    return frozenset(name for op in ops if isinstance(op, Lstm) for name in (op.c, op.c_next.name))


def _magnitudes(given: FloatArray, streamed: FloatArray | None, bounded: bool) -> FloatArray:
    """|value| of both runs, or only of the first where the second runs away."""
    given = np.abs(given).ravel()
    streamed = given[:0] if streamed is None else np.abs(streamed).ravel()
    limit = RUNAWAY * given.max(initial=0.0)
    runs_away = not bounded and limit > 0.0 and not streamed.max(initial=0.0) <= limit
    return given if runs_away else np.concatenate([given, streamed])


def _check_shape(model: Model, data: Sequences) -> None:
    for function, fed in zip(model.functions, by_function(model.functions, data).values(), strict=True):
        values = frame_values(function)
        streams = fed.feed([value.name for value in values])
        for value in values:
            _check_stream(model, value, streams.get(value.name), fed.lengths)
        check_memory(model.name, stage_ops(function), fed.lengths // function.frames_per_step)
        rows = {op.token: len(model.weights[op.table]) for op in all_ops(model) if isinstance(op, Embed)}
        check_tokens(model.name, streams, rows)


def _check_stream(model: Model, value: Value, x: np.ndarray | None, lengths: np.ndarray) -> None:
    expected = ", ".join(["N", "T", *map(str, value.shape)])
    if x is None or x.shape[2:] != value.shape or 0 in x.shape or not np.all(lengths >= 1):
        raise StepcellError(
            f"{model.name}: the calibration data is {'missing' if x is None else list(x.shape)}, "
            f"the input '{value.name}' is [{expected}].",
            "give at least one sequence of at least one step, in the shape that the model was trained on.",
        )


def _streams(function: Function, data: Sequences) -> Sequences:
    """The sequences joined end to end, cut into equal lanes: [lanes, T', ...]."""
    valid = np.arange(data.x.shape[1]) < data.lengths[:, None]
    lanes = min(STREAM_LANES, len(data.x))
    frames = int(valid.sum()) // lanes // function.frames_per_step * function.frames_per_step

    def stream(x: np.ndarray) -> np.ndarray:
        return x[valid][: lanes * frames].reshape(lanes, frames, *x.shape[2:])

    more = {name: stream(x) for name, x in data.more.items()}
    return Sequences(stream(data.x), np.full(lanes, frames), more=more)


def _observe(model: Model, data: Sequences) -> dict[str, dict[str, FloatArray]]:
    """By function: every value of the step graphs at every valid step, [steps in all, ...], and of finish."""
    names = tuple(value.name for op in all_ops(model) for value in writes(op))
    states = tuple(state.name for state in model.states)
    runs = run_float_functions(model, data, keep=(*names, *states))
    fed = by_function(model.functions, data)
    return {name: _seen(model, model.function(name), run, fed[name]) for name, run in runs.items()}


def _seen(model: Model, function: Function, run: FloatRun, data: Sequences) -> dict[str, FloatArray]:
    """The function's finish is observed as it would be read: after every step, or once a sequence."""
    steps = data.x.shape[1] // function.frames_per_step
    valid = np.arange(steps) < (data.lengths // function.frames_per_step)[:, None]
    seen = {name: array[valid] for name, array in run.steps.items()}
    finish = function.finish.ops if function.finish is not None else ()
    if not function.is_step:
        return seen | {value.name: run.ends[value.name] for op in finish for value in writes(op)}
    for op in finish:
        evaluate(model, op, seen)
    return seen
