"""The check of every import: the Model's interpretation and the source must compute the same."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stepcell.errors import StepcellError
from stepcell.ir import Model, Source
from stepcell.ir.memory import most_steps
from stepcell.ir.model import FloatArray, all_ops
from stepcell.ir.ops import Embed, Value
from stepcell.ir.sequences import frame_values
from stepcell.reference.float_model import run_float
from stepcell.reference.source_layout import Streams, axis_size, is_every_step, is_ragged, runs_by_step

TOLERANCE = 1e-5
"""Largest difference, relative to the output where that is above one; float32 needs about 1e-6."""

_LENGTHS = (1, 2, 7, 16)
_SEQUENCES = 8


class RunSource(Protocol):
    """Runs the source over [N, T, ...] sequences from given states; outputs in order, padded with zeros."""

    def __call__(
        self, x: Streams, lengths: NDArray[np.int64], states: Mapping[str, FloatArray]
    ) -> Mapping[str, FloatArray]:
        """Outputs by the source's names: [N, T, ...] or [N, ...]."""


def check_against_source(
    model: Model, run: RunSource, calibration: FloatArray | None = None, tolerance: float = TOLERANCE
) -> Model:
    """The model, if it agrees with its source on random inputs, random states and calibration inputs.

    Raises StepcellError saying by how much they differ; also for outputs that are not finite, or that
    differ from one run to the next.
    """
    source = model.source
    assert source is not None
    random = np.random.default_rng(0)
    filled = _with_memories(model, source, random)
    lengths = _lengths(source, model.main.frames_per_step, most_steps(all_ops(model)))
    shape = (len(lengths), int(lengths.max()))
    x = {v.name: _random(model, v, (*shape, *v.shape), random) for v in frame_values(model.main)}
    started = _with_states(filled, source, random)
    _compare(started, run, x, lengths, "random inputs", tolerance)
    if calibration is not None and len(model.main.inputs) == 1:
        _compare(filled, run, *_calibration(model, source, calibration), "calibration inputs", tolerance)
    return model


def _random(model: Model, value: Value, shape: tuple[int, ...], random: np.random.Generator) -> FloatArray:
    """Normal numbers; integers that every table has a row for, where the input is tokens."""
    if value.dtype == "float":
        return random.standard_normal(shape)
    rows = [len(model.weights[op.table]) for op in all_ops(model) if isinstance(op, Embed)]
    return random.integers(0, min(rows, default=2), shape).astype(np.float64)


def _lengths(source: Source, frames_per_step: int, rows: int | None) -> NDArray[np.int64]:
    """Numbers of frames, of whole steps, that the source runs and memories of so many rows hold."""
    frozen = axis_size(source, "time")[1]
    if frozen is not None and is_ragged(source):
        return np.linspace(1, frozen, _SEQUENCES).round().astype(np.int64)[::-1]
    if frozen is not None and not runs_by_step(source):
        return np.full(_SEQUENCES // 2, frozen)
    longer = -(-(source.shortest - 1) // frames_per_step)
    steps = np.array(_LENGTHS * (_SEQUENCES // len(_LENGTHS))) + longer
    found: NDArray[np.int64] = np.minimum(steps, rows or steps.max()) * frames_per_step
    return found


def _with_states(model: Model, source: Source, random: np.random.Generator) -> Model:
    """The model started at other states than zero, where the source takes them."""
    taken = {state.state for state in source.states}
    states = tuple(
        replace(state, initial=random.uniform(-0.9, 0.9, state.initial.shape))
        if state.name in taken
        else state
        for state in model.states
    )
    return replace(model, states=states)


def _with_memories(model: Model, source: Source, random: np.random.Generator) -> Model:
    """The model with memories that hold as many steps of another function as the source's inputs do."""
    changed = {state.name: state for state in model.states}
    for memory in source.memories:
        rows, *inner = (entry[1] for entry in memory.index if isinstance(entry, tuple))
        count = f"{memory.state}_count"
        held = random.uniform(-0.9, 0.9, (rows, int(np.prod(inner, dtype=int))))
        changed[memory.state] = replace(changed[memory.state], initial=held)
        changed[count] = replace(changed[count], initial=np.array(float(rows)))
    return replace(model, states=tuple(changed.values()))


def _calibration(model: Model, source: Source, x: FloatArray) -> tuple[Streams, NDArray[np.int64]]:
    (value,) = frame_values(model.main)
    if x.ndim != 2 + len(value.shape) or x.shape[2:] != value.shape:
        allowed = ", ".join(["N", "T", *map(str, value.shape)])
        raise StepcellError(
            f"The calibration inputs have shape {list(x.shape)}; [{allowed}] is allowed.",
            "store x as [sequences, steps, features].",
        )
    frozen = None if runs_by_step(source) else axis_size(source, "time")[1]
    steps = x.shape[1] if frozen is None else frozen
    if x.shape[1] < steps:
        raise StepcellError(
            f"The calibration inputs have {x.shape[1]} steps; the file runs {frozen}.",
            "give sequences of that length.",
        )
    steps -= steps % model.main.frames_per_step
    x = np.asarray(x[:_SEQUENCES, :steps], np.float64)
    return {value.name: x}, np.full(len(x), steps)


def _compare(
    model: Model, run: RunSource, x: Streams, lengths: NDArray[np.int64], what: str, tolerance: float
) -> None:
    source = model.source
    assert source is not None
    given = (*source.states, *source.memories)
    states = {state.state: model.state(state.state).initial for state in given}
    expected = run(x, lengths, states)
    again = run(x, lengths, states)
    with np.errstate(all="ignore"):
        mine = run_float(model, x, lengths).outputs(model.main)
    for name, output in zip(expected, model.main.outputs, strict=True):
        _compare_output(source, name, expected[name], again[name], mine[output], lengths, what, tolerance)


def _compare_output(
    source: Source,
    name: str,
    wanted: FloatArray,
    again: FloatArray,
    mine: FloatArray,
    lengths: NDArray[np.int64],
    what: str,
    tolerance: float,
) -> None:
    if is_every_step(source, name):
        steps = lengths // source.frames_per_step
        wanted, again, mine = (_valid(array, steps) for array in (wanted, again, mine))
    if not np.isfinite(wanted).all():
        raise StepcellError(
            f"{source.file}: its output '{name}' is not finite for {what}.",
            "retrain the model; its numbers overflow.",
        )
    if not np.array_equal(wanted, again):
        raise StepcellError(
            f"{source.file}: its output '{name}' differs from run to run.",
            "export the model in evaluation mode.",
        )
    worst = difference(wanted, mine)
    if not worst <= tolerance:
        raise StepcellError(
            f"{source.file}: the import differs from its source by {worst:.3g} in '{name}' for {what}; "
            f"{tolerance:g} is allowed, so the importer does not trust the file.",
            "export it with another exporter, with free batch and time axes; else report the file.",
        )


def difference(wanted: FloatArray, mine: FloatArray) -> float:
    """The largest difference, relative where `wanted` is above one; infinite for different shapes."""
    if wanted.shape != mine.shape:
        return float("inf")
    with np.errstate(all="ignore"):
        return float(np.max(np.abs(wanted - mine) / np.maximum(1.0, np.abs(wanted)), initial=0.0))


def _valid(array: FloatArray, lengths: NDArray[np.int64]) -> FloatArray:
    if array.shape[:2] != (len(lengths), int(lengths.max())):
        return array
    return array[np.arange(array.shape[1]) < lengths[:, None]]
