"""The float interpreter: runs a Model over a batch of ragged sequences in float64."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.model import FloatArray, Function, Model, Stage
from stepcell.ir.ops import (
    Activate,
    Binary,
    Concat,
    Constant,
    Count,
    Dense,
    Embed,
    Gru,
    Lstm,
    Mean,
    Op,
    Rnn,
    Take,
)
from stepcell.reference import float_ops

Values = dict[str, FloatArray]


@dataclass(frozen=True, eq=False)
class FloatRun:
    """What a function computed: `steps` [N, T, ...] for values of every step, `ends` [N, ...] after the last.

    Steps beyond a sequence's length repeat its last state, and are not to be read.
    """

    steps: dict[str, FloatArray]
    ends: dict[str, FloatArray]

    def outputs(self, function: Function) -> dict[str, FloatArray]:
        """The function's outputs by name: [N, T, ...] of a stage, [N, ...] of `finish`."""
        return {name: self.ends.get(name, self.steps.get(name)) for name in function.outputs}  # type: ignore[misc]


def run_float(
    model: Model,
    x: FloatArray | dict[str, FloatArray],
    lengths: NDArray[np.int64] | None = None,
    keep: tuple[str, ...] = (),
) -> FloatRun:
    """Run the model's only function over N sequences of T steps.

    x is [N, T, ...] (or one such array per input name), lengths [N] (default: all T). Every sequence
    starts from the initial states. `keep` names further values or states to record at every step.
    """
    function = model.main
    if not isinstance(x, dict):
        x = {function.inputs[0].name: x}
    first = next(iter(x.values()))
    lengths = np.full(first.shape[0], first.shape[1]) if lengths is None else np.asarray(lengths)
    streams: Values = {name: np.asarray(array, np.float64) for name, array in x.items()}
    ends: Values = {}
    for stage in function.stages:
        recorded, states = _run_stage(model, stage, streams, lengths, keep)
        streams |= recorded
        ends |= states
    if function.finish is not None:
        for op in function.finish.ops:
            evaluate(model, op, ends)
    finished = function.finish.outputs if function.finish is not None else ()
    return FloatRun(streams, {name: ends[name] for name in (*finished, *(s.name for s in model.states))})


def _run_stage(
    model: Model, stage: Stage, streams: Values, lengths: NDArray[np.int64], keep: tuple[str, ...]
) -> tuple[Values, Values]:
    count, steps = streams[stage.inputs[0].name].shape[:2]
    states = {s.name: np.repeat(s.initial[None], count, axis=0) for s in model.states}
    names = list(dict.fromkeys((*stage.outputs, *keep)))
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
            recorded[name].append(states[name] if name in states else values[name])
    stacked = {name: np.stack(arrays, axis=1) for name, arrays in recorded.items()}
    if stage.direction == "backward":
        at = np.maximum(lengths[:, None] - 1 - np.arange(steps), 0)
        stacked = {name: array[np.arange(count)[:, None], at] for name, array in stacked.items()}
    return stacked, {state: states[state] for state, _ in stage.updates}


def _like(flags: NDArray[np.bool_], array: FloatArray) -> NDArray[np.bool_]:
    return flags.reshape(-1, *[1] * (array.ndim - 1))


def evaluate(model: Model, op: Op, values: Values) -> None:  # noqa: C901 - one case an operation
    """Add what `op` defines to `values`; every array has the batch axis first."""
    weights = model.weights
    match op:
        case Lstm():
            h, c = float_ops.lstm(op, weights, _flat(values[op.x]), values[op.h], values[op.c])
            values[op.h_next.name], values[op.c_next.name] = h, c
        case Gru():
            values[op.h_next.name] = float_ops.gru(op, weights, _flat(values[op.x]), values[op.h])
        case Rnn():
            values[op.h_next.name] = float_ops.rnn(op, weights, _flat(values[op.x]), values[op.h])
        case Dense():
            values[op.y.name] = values[op.x] @ weights[op.weights].T + weights[op.bias]
        case Activate():
            values[op.y.name] = float_ops.activate(op, values[op.x])
        case Binary():
            values[op.y.name] = _broadcast(op, values[op.a], values[op.b])
        case Constant():
            values[op.y.name] = weights[op.weights][None]
        case Take():
            taken = _flat(values[op.x])[:, list(op.indices)]
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
    return float_ops.binary(op, a, b)
