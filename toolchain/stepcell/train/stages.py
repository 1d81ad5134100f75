"""A stage over a ragged batch: step by step (scan), or one operation at a time over all steps (fused)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from stepcell.ir.factors import factors_of
from stepcell.ir.graph import factor_of, reads, writes
from stepcell.ir.model import Stage
from stepcell.ir.ops import (
    Append,
    Attend,
    Binary,
    Dense,
    Op,
    Recurrent,
)
from stepcell.train import fused, memories
from stepcell.train.cells import Weights
from stepcell.train.fusable import is_accumulator
from stepcell.train.operations import Values, evaluate, flat, fold, unfold
from stepcell.train.straight_through import pass_through

Apply = Callable[[Op, Weights, Values], None]


@dataclass(frozen=True, eq=False)
class Batch:
    """What a stage reads: sequences [N, T, ...] and states [N, ...] by name, lengths [N] (at least 1)."""

    streams: Values
    states: Values
    lengths: Tensor
    steps: int
    through: Values = field(default_factory=dict)
    """What values and states of a scan are [N, T, ...], whatever is computed, which only gives gradients."""


@dataclass(frozen=True, eq=False)
class StageRun:
    """The recorded values [N, T, ...] and the states [N, ...] after each sequence's last step."""

    streams: Values
    states: Values


def run_stage(
    stage: Stage,
    weights: Weights,
    batch: Batch,
    record: tuple[str, ...],
    fuse: bool,
    apply: Apply = evaluate,
) -> StageRun:
    """Run the stage in its direction; beyond a sequence's length the recorded values are not to be read.

    apply: what computes an operation at one step, where stages are not fused.
    """
    inputs = {value.name: batch.streams[value.name] for value in stage.inputs}
    changed = {v.name for op in stage.ops for v in writes(op)} | {state for state, _ in stage.updates}
    through = {name: x for name, x in batch.through.items() if name in changed}
    if stage.direction == "backward":
        inputs, through = ({n: _reverse(x, batch.lengths) for n, x in v.items()} for v in (inputs, through))
    within = Batch(inputs, batch.states, batch.lengths, batch.steps, through)
    run = _fused(stage, weights, within, record) if fuse else _scan(stage, weights, within, record, apply)
    if stage.direction == "backward":
        return StageRun({name: _reverse(x, batch.lengths) for name, x in run.streams.items()}, run.states)
    return run


def _reverse(x: Tensor, lengths: Tensor) -> Tensor:
    """x[n, t] = x[n, length - 1 - t]; padding repeats a valid frame."""
    steps = torch.arange(x.shape[1], device=x.device)
    at = (lengths[:, None] - 1 - steps).clamp(min=0)
    return x[torch.arange(len(x), device=x.device)[:, None], at]


def _scan(stage: Stage, weights: Weights, batch: Batch, record: tuple[str, ...], apply: Apply) -> StageRun:
    states = dict(batch.states)
    recorded: dict[str, list[Tensor]] = {name: [] for name in record}
    for t in range(batch.steps):
        values = states | {name: x[:, t] for name, x in batch.streams.items()}
        known = {name: x[:, t] for name, x in batch.through.items()}
        for op in stage.ops:
            apply(op, weights, values)
            pass_through((value.name for value in writes(op)), known, values)
        running = t < batch.lengths
        for state, value in stage.updates:
            states[state] = torch.where(_like(running, values[value]), values[value], states[state])
        pass_through((state for state, _ in stage.updates), known, states)
        for name, past in recorded.items():
            now = states[name] if name in states else values[name]
            past.append(now.expand(len(running), *now.shape[1:]))
    return StageRun({name: torch.stack(steps, dim=1) for name, steps in recorded.items()}, states)


def _like(flags: Tensor, x: Tensor) -> Tensor:
    return flags.reshape(-1, *[1] * (x.ndim - 1))


def _fused(stage: Stage, weights: Weights, batch: Batch, record: tuple[str, ...]) -> StageRun:
    """Values are [N * T, ...], so that an operation cannot tell steps from sequences."""
    count, steps = len(batch.lengths), batch.steps
    updates = dict(stage.updates)
    attended = {name for op in stage.ops if isinstance(op, Attend) for name in (op.keys, op.values, op.count)}
    read = {name for op in stage.ops if not isinstance(op, Attend) for name in reads(op)} | set(record)
    still = batch.states.keys() - updates.keys() - (attended - read)
    constant = {name: x for name, x in batch.states.items() if name in still}
    values = {name: x.repeat_interleave(steps, dim=0) for name, x in constant.items()}
    values |= {name: fold(x) for name, x in batch.streams.items()}
    factors = factors_of(stage)
    for op in stage.ops:
        if op not in factors.values():
            _evaluate_all_steps(op, stage, weights, batch, values)
    values |= _factored(factors, weights, batch, values, record)
    last = (torch.arange(count, device=batch.lengths.device), batch.lengths - 1)
    stored = {op.memory: op for op in stage.ops if isinstance(op, Append)}
    passing = {s: v for s, v in updates.items() if v in values and s not in stored}
    ends = {s: unfold(values[v], count, steps)[last] for s, v in passing.items()}
    ends |= {
        s: memories.filled(op, unfold(values[op.x], count, steps), batch.lengths) for s, op in stored.items()
    }
    streams = {name: unfold(values[updates.get(name, name)], count, steps) for name in record}
    return StageRun(streams, batch.states | ends)


def _evaluate_all_steps(op: Op, stage: Stage, weights: Weights, batch: Batch, values: Values) -> None:
    count, steps = len(batch.lengths), batch.steps
    if isinstance(op, Recurrent):
        x = unfold(flat(values[op.x]), count, steps)
        factor = factor_of(op, stage.ops)
        weights = weights if factor is None else fused.multiplied(op, factor, weights)
        values[op.h_next.name] = fold(fused.run(op, weights, x, batch.states))
    elif isinstance(op, Attend):
        query = unfold(values[op.query], count, steps)
        full = (batch.states[name] for name in (op.keys, op.values, op.count))
        values[op.y.name] = fold(memories.attended(op, query, *full))
    elif is_accumulator(op, stage) and not isinstance(op, Append):
        _accumulate(op, stage, batch, values)
    elif not isinstance(op, Append):
        evaluate(op, weights, values)


def _factored(
    factors: Mapping[str, Dense],
    weights: Weights,
    batch: Batch,
    values: Values,
    record: tuple[str, ...],
) -> Values:
    """What factors make of h before each step, where that is recorded; the layers themselves did without."""
    found: Values = {}
    for name, factor in factors.items():
        if factor.y.name in record:
            after = unfold(values[name], len(batch.lengths), batch.steps)
            before = torch.cat([batch.states[factor.x][:, None], after[:, :-1]], dim=1)
            read = {factor.x: fold(before)}
            evaluate(factor, weights, read)
            found[factor.y.name] = read[factor.y.name]
    return found


def _accumulate(op: Op, stage: Stage, batch: Batch, values: Values) -> None:
    """Running sum, maximum or count over the time axis, from the state's initial value."""
    shape = (len(batch.lengths), batch.steps, *writes(op)[0].shape)
    state = next(name for name in reads(op) if (name, writes(op)[0].name) in stage.updates)
    start = batch.states[state][:, None]
    if isinstance(op, Binary):
        x = _padded(values[op.b if op.a == state else op.a], shape)
        total = torch.maximum(x.cummax(1)[0], start) if op.operator == "max" else x.cumsum(1) + start
    else:
        total = start + torch.ones(shape, dtype=start.dtype, device=start.device).cumsum(1)
    values[writes(op)[0].name] = fold(total)


def _padded(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """[N * T, ...] -> [N, T, ...] with the per-step axes broadcast to those of `shape`."""
    count, steps, *inner = shape
    x = x.reshape(len(x), *[1] * (len(inner) - x.ndim + 1), *x.shape[1:])
    return unfold(x, count, steps).expand(shape)
