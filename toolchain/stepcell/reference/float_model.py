"""The float interpreter: runs a Model over a batch of ragged sequences in float64."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.graph import recurrent_operand, writes
from stepcell.ir.memory import check_memory
from stepcell.ir.model import FloatArray, Function, Model, Stage
from stepcell.ir.ops import (
    Activate,
    Append,
    ArgMax,
    Attend,
    Binary,
    Concat,
    Constant,
    Conv,
    Count,
    Dense,
    Embed,
    Gru,
    Lstm,
    Mean,
    Normalize,
    Op,
    Reduce,
    Rnn,
    Take,
)
from stepcell.ir.sequences import Sequences, by_function, in_steps
from stepcell.reference import float_ops

Values = dict[str, FloatArray]


@dataclass(frozen=True, eq=False)
class FloatRun:
    """What a function computed: `steps` [N, T, ...] for values of every step, `ends` [N, ...] after the last.

    `ends` holds every state, and what `finish` defined. Steps beyond a sequence's length are not to be read.
    """

    steps: dict[str, FloatArray]
    ends: dict[str, FloatArray]

    def outputs(self, function: Function) -> dict[str, FloatArray]:
        """The function's outputs by name: [N, T, ...] of a stage, [N, ...] of `finish`."""
        finished = function.finish.outputs if function.finish is not None else ()
        return {name: self.ends[name] if name in finished else self.steps[name] for name in function.outputs}


def run_float_functions(model: Model, data: Sequences, keep: tuple[str, ...] = ()) -> dict[str, FloatRun]:
    """Run every function of the model in order, by name, each from the states that the one before left."""
    runs: dict[str, FloatRun] = {}
    states: Values = {}
    for name, fed in by_function(model.functions, data).items():
        inputs = [value.name for value in model.function(name).inputs]
        runs[name] = run_float(model, fed.feed(inputs), fed.lengths, keep, name, states)
        states = {state.name: runs[name].ends[state.name] for state in model.states}
    return runs


def run_float(
    model: Model,
    x: NDArray[Any] | Mapping[str, NDArray[Any]],
    lengths: NDArray[np.int64] | None = None,
    keep: tuple[str, ...] = (),
    function: str | None = None,
    initial: Mapping[str, FloatArray] | None = None,
) -> FloatRun:
    """Run one function (by default the model's only one) over N sequences of T frames.

    x is [N, T, ...] (or one such array per input name), lengths [N] (default: all T). Sequences start from
    the model's initial states, or from those [N, ...] that `initial` names. `keep` names further values and
    states to record at every step. Raises StepcellError for frames that do not divide into steps, and for
    more steps than a memory has rows.
    """
    called = model.function(function)
    frames = dict(x) if isinstance(x, Mapping) else {called.inputs[0].name: x}
    count, total = next(iter(frames.values())).shape[:2]
    lengths = np.full(count, total) if lengths is None else np.asarray(lengths)
    streams, lengths = in_steps(called, {n: np.asarray(a, np.float64) for n, a in frames.items()}, lengths)
    states: Values = {s.name: np.repeat(s.initial[None], count, axis=0) for s in model.states}
    states |= initial or {}
    _check_memory(called, lengths, states)
    moving = {state for stage in called.stages for state, _ in stage.updates}
    streams |= {name: _still(states[name], streams) for name in keep if name in states.keys() - moving}
    for stage in called.stages:
        recorded, states = _run_stage(model, stage, streams, lengths, states, keep)
        streams |= recorded
    ends = dict(states)
    for op in called.finish.ops if called.finish is not None else ():
        evaluate(model, op, ends)
    return FloatRun(streams, ends)


def _check_memory(called: Function, lengths: NDArray[np.int64], states: Values) -> None:
    """StepcellError for sequences of more steps than memories have rows left."""
    ops = [op for stage in called.stages for op in stage.ops]
    filled = [states[op.count] for op in ops if isinstance(op, Append)]
    check_memory(called.name, ops, lengths + np.max(filled, axis=0).astype(np.int64) if filled else lengths)


def _run_stage(
    model: Model,
    stage: Stage,
    streams: Values,
    lengths: NDArray[np.int64],
    states: Values,
    keep: tuple[str, ...],
) -> tuple[Values, Values]:
    """(what is recorded [N, T, ...], the states after it); other states stay as they are."""
    count, steps = next(iter(streams.values())).shape[:2]
    states = dict(states)
    made = {name for name, _ in stage.updates} | {v.name for op in stage.ops for v in writes(op)}
    names = list(dict.fromkeys((*stage.outputs, *(name for name in keep if name in made))))
    recorded: dict[str, list[FloatArray]] = {name: [] for name in names}
    for t in range(steps):
        at = np.full(count, t) if stage.direction == "forward" else np.maximum(lengths - 1 - t, 0)
        values = states | {v.name: streams[v.name][np.arange(count), at] for v in stage.inputs}
        for op in stage.ops:
            evaluate(model, op, values)
        running = t < lengths
        for state, value in stage.updates:
            states[state] = np.where(_like(running, values[value]), values[value], states[state])
        for name in names:
            found = states[name] if name in states else values[name]
            recorded[name].append(np.broadcast_to(found, (count, *found.shape[1:])))
    stacked = {name: np.stack(arrays, axis=1) for name, arrays in recorded.items()}
    if stage.direction == "backward":
        at = np.maximum(lengths[:, None] - 1 - np.arange(steps), 0)
        stacked = {name: array[np.arange(count)[:, None], at] for name, array in stacked.items()}
    return stacked, states


def _still(state: FloatArray, streams: Values) -> FloatArray:
    """A state that no stage changes, at every step."""
    steps = next(iter(streams.values())).shape[1]
    return np.repeat(state[:, None], steps, axis=1)


def _like(flags: NDArray[np.bool_], array: FloatArray) -> NDArray[np.bool_]:
    return flags.reshape(-1, *[1] * (array.ndim - 1))


def evaluate(  # noqa: C901, PLR0912  # one short case an operation
    model: Model, op: Op, values: Values
) -> None:
    """Add what `op` defines to `values`; every array has the batch axis first."""
    weights = model.weights
    match op:
        case Lstm():
            read = values[recurrent_operand(op)]
            h, c = float_ops.lstm(op, weights, _flat(values[op.x]), read, values[op.c])
            values[op.h_next.name], values[op.c_next.name] = h, c
        case Gru():
            read = values[recurrent_operand(op)]
            values[op.h_next.name] = float_ops.gru(op, weights, _flat(values[op.x]), values[op.h], read)
        case Rnn():
            read = values[recurrent_operand(op)]
            values[op.h_next.name] = float_ops.rnn(op, weights, _flat(values[op.x]), read)
        case Dense():
            values[op.y.name] = values[op.x] @ weights[op.weights].T + weights[op.bias]
        case Conv():
            values[op.y.name] = float_ops.conv(op, weights, values[op.x])
        case Activate():
            values[op.y.name] = float_ops.activate(op, values[op.x])
        case Reduce():
            values[op.y.name] = float_ops.reduce(op, values[op.x])
        case Normalize():
            values[op.y.name] = float_ops.normalize(op, weights, values[op.x])
        case ArgMax():
            values[op.y.name] = values[op.x].argmax(axis=-1)
        case Append():
            values[op.y.name] = float_ops.append(values[op.memory], values[op.count], values[op.x])
        case Attend():
            operands = (values[name] for name in (op.query, op.keys, op.values, op.count))
            values[op.y.name] = float_ops.attend(op, *operands)
        case Binary():
            values[op.y.name] = _broadcast(op, values[op.a], values[op.b])
        case Constant():
            values[op.y.name] = weights[op.weights][None]
        case Take():
            taken = float_ops.picked(_flat(values[op.x]), np.asarray(op.indices, np.int64))
            values[op.y.name] = taken.reshape(-1, *op.y.shape)
        case Concat():
            values[op.y.name] = _join([values[x] for x in op.xs]).reshape(-1, *op.y.shape)
        case Embed():
            values[op.y.name] = weights[op.table][values[op.token].astype(np.int64)]
        case Count():
            values[op.y.name] = values[op.x] + 1
        case Mean():
            count = np.maximum(values[op.count], 1)
            values[op.y.name] = values[op.total] / count.reshape(-1, *[1] * len(op.y.shape))


def _flat(x: FloatArray) -> FloatArray:
    return x.reshape(x.shape[0], -1)


def _join(parts: list[FloatArray]) -> FloatArray:
    count = max(part.shape[0] for part in parts)
    return np.concatenate([np.repeat(_flat(p), count // p.shape[0], axis=0) for p in parts], axis=1)


def _broadcast(op: Binary, a: FloatArray, b: FloatArray) -> FloatArray:
    """Per-step shapes broadcast from the right, so pad the one of lower rank behind its batch axis."""
    rank = max(a.ndim, b.ndim)
    a, b = (v.reshape(v.shape[0], *[1] * (rank - v.ndim), *v.shape[1:]) for v in (a, b))
    return float_ops.arithmetic(op.operator, a, b)
