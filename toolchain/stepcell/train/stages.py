"""A stage over a ragged batch: step by step (scan), or one operation at a time over all steps (fused)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from stepcell.ir.model import Stage
from stepcell.ir.ops import Binary, Op, Recurrent, reads, writes
from stepcell.train import fused
from stepcell.train.cells import Weights
from stepcell.train.fusable import is_accumulator
from stepcell.train.operations import Values, evaluate, flat, fold, unfold


@dataclass(frozen=True, eq=False)
class Batch:
    """What a stage reads: sequences [N, T, ...] and states [N, ...] by name, lengths [N] (at least 1)."""

    streams: Values
    states: Values
    lengths: Tensor
    steps: int


@dataclass(frozen=True, eq=False)
class StageRun:
    """The recorded values [N, T, ...] and the states [N, ...] after each sequence's last step."""

    streams: Values
    states: Values


def run_stage(stage: Stage, weights: Weights, batch: Batch, record: tuple[str, ...], fuse: bool) -> StageRun:
    """Run the stage in its direction; beyond a sequence's length the recorded values are not to be read."""
    inputs = {value.name: batch.streams[value.name] for value in stage.inputs}
    if stage.direction == "backward":
        inputs = {name: _reverse(x, batch.lengths) for name, x in inputs.items()}
    within = Batch(inputs, batch.states, batch.lengths, batch.steps)
    run = (_fused if fuse else _scan)(stage, weights, within, record)
    if stage.direction == "backward":
        return StageRun({name: _reverse(x, batch.lengths) for name, x in run.streams.items()}, run.states)
    return run


def _reverse(x: Tensor, lengths: Tensor) -> Tensor:
    """x[n, t] = x[n, length - 1 - t]; padding repeats a valid frame."""
    steps = torch.arange(x.shape[1], device=x.device)
    at = (lengths[:, None] - 1 - steps).clamp(min=0)
    return x[torch.arange(len(x), device=x.device)[:, None], at]


def _scan(stage: Stage, weights: Weights, batch: Batch, record: tuple[str, ...]) -> StageRun:
    states = dict(batch.states)
    recorded: dict[str, list[Tensor]] = {name: [] for name in record}
    for t in range(batch.steps):
        values = states | {name: x[:, t] for name, x in batch.streams.items()}
        for op in stage.ops:
            evaluate(op, weights, values)
        running = t < batch.lengths
        for state, value in stage.updates:
            states[state] = torch.where(_like(running, values[value]), values[value], states[state])
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
    constant = {name: x for name, x in batch.states.items() if name not in updates}
    values = {name: x.repeat_interleave(steps, dim=0) for name, x in constant.items()}
    values |= {name: fold(x) for name, x in batch.streams.items()}
    for op in stage.ops:
        _evaluate_all_steps(op, stage, weights, batch, values)
    last = (torch.arange(count, device=batch.lengths.device), batch.lengths - 1)
    ends = {s: unfold(values[v], count, steps)[last] for s, v in updates.items() if v in values}
    streams = {name: unfold(values[updates.get(name, name)], count, steps) for name in record}
    return StageRun(streams, batch.states | ends)


def _evaluate_all_steps(op: Op, stage: Stage, weights: Weights, batch: Batch, values: Values) -> None:
    count, steps = len(batch.lengths), batch.steps
    if isinstance(op, Recurrent):
        x = unfold(flat(values[op.x]), count, steps)
        values[op.h_next.name] = fold(fused.run(op, weights, x, batch.states))
    elif is_accumulator(op, stage):
        _accumulate(op, stage, batch, values)
    else:
        evaluate(op, weights, values)


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
