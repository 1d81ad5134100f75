"""What the matrices of a model read over data: the operand of every operation, at every valid step."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.graph import matrices, recurrent_operand, writes
from stepcell.ir.model import FloatArray, Function, Model, Stage
from stepcell.ir.ops import (
    Conv,
    Dense,
    Gru,
    Lstm,
    Op,
    Rnn,
)
from stepcell.ir.sequences import Sequences, by_function, in_steps
from stepcell.reference.float_model import FloatRun, run_float_functions

Key = tuple[str, str, str]


@dataclass(frozen=True, eq=False)
class Site:
    """An operation with matrices and where it stands; `stage` is None in a finish graph."""

    function: Function
    stage: Stage | None
    op: Op

    @property
    def key(self) -> Key:
        """Function, stage (or nothing) and what the operation defines: no two sites share it."""
        return self.function.name, self.stage.name if self.stage else "", writes(self.op)[0].name


def matrix_sites(model: Model) -> tuple[Site, ...]:
    """Every operation with matrices, in order of execution."""
    found: list[Site] = []
    for function in model.functions:
        for stage in function.stages:
            found += [Site(function, stage, op) for op in stage.ops]
        finish = function.finish.ops if function.finish is not None else ()
        found += [Site(function, None, op) for op in finish]
    return tuple(site for site in found if matrices(site.op))


def operands(op: Op) -> dict[str, str]:
    """Matrix -> the value that it multiplies; of a GRU's recurrent rows it may be a gate times that."""
    match op:
        case Lstm() | Gru() | Rnn():
            return {op.input_weights: op.x, op.recurrent_weights: recurrent_operand(op)}
        case Dense() | Conv():
            return {op.weights: op.x}
        case _:
            return {}


@dataclass(frozen=True, eq=False)
class Recording:
    """A run of every function over data, from which `read` takes what operations read."""

    runs: Mapping[str, FloatRun]
    starts: Mapping[str, Mapping[str, FloatArray]]
    """The states [N, ...] or [1, ...] that each function starts from."""
    lengths: Mapping[str, NDArray[np.int64]]
    """Of the sequences of each function, in steps."""

    def read(self, site: Site, name: str) -> FloatArray:
        """A value as the operation reads it: [valid steps of all sequences, ...], or [N, ...] in a finish."""
        run, lengths = self.runs[site.function.name], self.lengths[site.function.name]
        if site.stage is None:
            return run.ends[name]
        starts = self.starts[site.function.name]
        is_state = name in starts
        recorded = _before(run, site, starts[name], name, lengths) if is_state else run.steps[name]
        valid: FloatArray = recorded[np.arange(recorded.shape[1]) < lengths[:, None]]
        return valid


def record(model: Model, data: Sequences, sites: Iterable[Site]) -> Recording:
    """Run the model over the data, and keep what the operations at `sites` read.

    Raises StepcellError for data that does not fit the model's inputs.
    """
    names = {name for site in sites for name in operands(site.op).values()}
    runs = run_float_functions(model, data, keep=tuple(names))
    starts: dict[str, Mapping[str, FloatArray]] = {}
    states = {state.name: state.initial[None] for state in model.states}
    lengths = {}
    for function in model.functions:
        own = by_function(model.functions, data)[function.name]
        _, lengths[function.name] = in_steps(function, {}, own.lengths)
        starts[function.name] = states
        states = {state.name: runs[function.name].ends[state.name] for state in model.states}
    return Recording(runs, starts, lengths)


def _before(
    run: FloatRun, site: Site, start: FloatArray, state: str, lengths: NDArray[np.int64]
) -> FloatArray:
    """A state [N, T, ...] before every step: of the own stage's updates the one before."""
    assert site.stage is not None
    after = run.steps[state]
    count, steps = after.shape[:2]
    first = np.broadcast_to(start, (count, *start.shape[1:]))[:, None]
    if state not in dict(site.stage.updates):
        return np.broadcast_to(run.ends[state][:, None] if _is_left(site, state) else first, after.shape)
    at = np.arange(steps)
    if site.stage.direction == "forward":
        return np.concatenate([first, after[:, :-1]], axis=1)
    later = after[:, np.minimum(at + 1, steps - 1)]
    is_last = (at == lengths[:, None] - 1).reshape(count, steps, *[1] * (after.ndim - 2))
    return np.where(is_last, first, later)


def _is_left(site: Site, state: str) -> bool:
    """Whether an earlier stage of the function has left the state to this one."""
    before = takewhile(lambda stage: stage is not site.stage, site.function.stages)
    return any(state in dict(stage.updates) for stage in before)
