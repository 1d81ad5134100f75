"""The integer reference: runs a QModel over ragged sequences. Every other backend must equal it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.qmodel import (
    MAX_STEPS_OF_A_MEAN,
    IntArray,
    QActivate,
    QAdd,
    QAppend,
    QAttend,
    QConcat,
    QConstant,
    QConv,
    QCount,
    QDense,
    QGru,
    QHold,
    QLstm,
    QMax,
    QMean,
    QModel,
    QMul,
    QOp,
    QRecurrent,
    QRescale,
    QRnn,
    QStage,
    QTake,
    QTotal,
    q_recurrent_operand,
    q_writes,
)
from stepcell.ir.qtflite import QTfliteDense, QTfliteLstm, QTfliteTable
from stepcell.reference import (
    integer_attention,
    integer_functions,
    integer_ops,
    integer_windows,
    tflite_ops,
)
from stepcell.reference.arithmetic import divide_rounded, rr, sat16
from stepcell.reference.integer_data import Feed

Values = dict[str, IntArray]


@dataclass(frozen=True, eq=False)
class IntegerRun:
    """States and outputs by name, as the chip can be read.

    A step function is read after every step: everything is [N, T, ...]. A function over sequences is read
    once: its outputs of every step are [N, T, ...], its finished outputs and the states [N, 1, ...]. Beyond a
    sequence's length the last ones repeat. `saturations` counts the cell states that hit the int16 limits, by
    state name, over all valid steps. `kept` are the values and states that the caller asked for, after every
    step [N, T, ...]; what `finish` of a function over sequences defines is [N, 1, ...].
    """

    states: dict[str, IntArray]
    outputs: dict[str, IntArray]
    saturations: dict[str, int]
    kept: dict[str, IntArray] = field(default_factory=dict)

    @property
    def output(self) -> IntArray:
        """The only output."""
        (output,) = self.outputs.values()
        return output

    def last_outputs(self) -> IntArray:
        """[N, ...]: the only output after each sequence's last step."""
        return self.output[:, -1]

    def ends(self) -> dict[str, IntArray]:
        """The states [N, ...] after each sequence's last step."""
        return {name: array[:, -1] for name, array in self.states.items()}


def run_functions(
    qmodel: QModel, feeds: Mapping[str, Feed], initial: Mapping[str, IntArray] | None = None
) -> dict[str, IntegerRun]:
    """Run the model's functions in order, by name, each from the states that the one before left."""
    runs: dict[str, IntegerRun] = {}
    states = dict(initial or {})
    for function in qmodel.functions:
        name = function.name
        runs[name] = run_integer(qmodel, feeds[name].inputs, feeds[name].lengths, states, name)
        states = runs[name].ends()
    return runs


def run_integer(
    qmodel: QModel,
    x: IntArray | Mapping[str, IntArray],
    lengths: NDArray[np.int64] | None = None,
    initial: Mapping[str, IntArray] | None = None,
    function: str | None = None,
    keep: tuple[str, ...] = (),
) -> IntegerRun:
    """Run one function (by default the model's only one) over N sequences of T quantized steps.

    x: integers [N, T, ...] (or one such array per input name). lengths [N]: valid steps (default: all T).
    initial: states [N, ...] by name to continue from; those that it does not name, and all without it, start
    at the model's initial states. keep: further values and states to record.
    """
    called = qmodel.function(function)
    given = x if isinstance(x, Mapping) else {called.inputs[0].name: x}
    streams = {name: np.asarray(array, np.int64) for name, array in given.items()}
    count, steps = next(iter(streams.values())).shape[:2]
    lengths = np.full(count, steps) if lengths is None else np.asarray(lengths)
    states = {s.value.name: np.repeat(s.initial[None], count, axis=0) for s in qmodel.states}
    states |= {name: np.asarray(array, np.int64) for name, array in (initial or {}).items()}
    saturations = {op.c: 0 for op in called.all_ops if isinstance(op, QLstm)}
    if called.is_step:
        (stage,) = called.stages
        names = tuple(output.value.name for output in called.outputs)
        recorded, _ = _run_stage(
            stage, streams, lengths, states, saturations, called.finish, (*names, *states, *keep)
        )
        own, given = {n: recorded[n] for n in states}, {n: recorded[n] for n in names}
        return IntegerRun(own, given, saturations, {n: recorded[n] for n in keep})
    kept: Values = {}
    for stage in called.stages:
        leaving = tuple(value.name for value in stage.outputs)
        inside = _changed(stage) & set(keep)
        recorded, states = _run_stage(stage, streams, lengths, states, saturations, (), (*leaving, *inside))
        streams |= {n: recorded[n] for n in leaving}
        kept |= {n: recorded[n] for n in inside}
    ends = {n: v[:, None] for n, v in _evaluate_all(called.finish, dict(states)).items()}
    outputs = {o.value.name: (ends if o.finished else streams)[o.value.name] for o in called.outputs}
    kept = {n: ends[n] for n in keep if n in ends} | kept
    return IntegerRun({n: ends[n] for n in states}, outputs, saturations, kept)


def _changed(stage: QStage) -> set[str]:
    """The values that a stage computes, and the states that it changes."""
    return {v.name for op in stage.ops for v in q_writes(op)} | {state for state, _ in stage.updates}


def _run_stage(
    stage: QStage,
    streams: Values,
    lengths: NDArray[np.int64],
    states: Values,
    saturations: dict[str, int],
    finish: tuple[QOp, ...],
    names: tuple[str, ...],
) -> tuple[Values, Values]:
    """(the values `names` [N, T, ...], `finish`'s as read after every step; the states after the last).

    Cell states at their limits are added to `saturations`.
    """
    count, steps = next(iter(streams.values())).shape[:2]
    states, backward = dict(states), stage.direction == "backward"
    cells = [op.c for op in stage.ops if isinstance(op, QLstm)]
    recorded: dict[str, list[IntArray]] = {name: [] for name in names}
    for t in range(steps):
        running = t < lengths
        at = np.maximum(lengths - 1 - t, 0) if backward else np.full(count, t)
        frames = {value.name: streams[value.name][np.arange(count), at] for value in stage.inputs}
        values = _evaluate_all(stage.ops, states | frames)
        for state, value in stage.updates:
            states[state] = _where(running, values[value], states[state])
        for name in cells:
            limit = (states[name] == 32767) | (states[name] == -32768)
            saturations[name] += int(limit[running].sum())
        values |= _evaluate_all(finish, dict(states)) | states
        for name, arrays in recorded.items():
            arrays.append(_where(running, values[name], arrays[-1] if arrays else np.int64(0)))
    stacked = {name: np.stack(arrays, axis=1) for name, arrays in recorded.items()}
    if backward:
        at = np.maximum(lengths[:, None] - 1 - np.arange(steps), 0)
        stacked = {name: array[np.arange(count)[:, None], at] for name, array in stacked.items()}
    return stacked, states


def _where(running: NDArray[np.bool_], new: IntArray, old: IntArray | np.int64) -> IntArray:
    """[N, ...]: the new value of the sequences that still run."""
    return np.where(running.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _evaluate_all(ops: tuple[QOp, ...], values: Values) -> Values:
    for op in ops:
        evaluate(op, values)
    return values


def evaluate(op: QOp, values: Values) -> None:  # noqa: C901, PLR0912  # one short case an operation
    """Add what `op` defines to `values`; every array has the batch axis first."""
    match op:
        case QLstm():
            h, c = integer_ops.lstm(op, _flat(values[op.x]), _before(op, values), values[op.c])
            values[op.h_next.name], values[op.c_next.name] = h, c
        case QGru():
            values[op.h_next.name] = integer_ops.gru(
                op, _flat(values[op.x]), values[op.h], _before(op, values)
            )
        case QRnn():
            values[op.h_next.name] = integer_ops.rnn(op, _flat(values[op.x]), _before(op, values))
        case QDense():
            values[op.y.name] = integer_ops.dense(op, values[op.x])
        case QConv():
            values[op.y.name] = integer_windows.conv(op, values[op.x])
        case QActivate():
            values[op.y.name] = integer_ops.activate(op, values[op.x])
        case QAdd():
            values[op.y.name] = integer_ops.add(op, values[op.a], values[op.b])
        case QMul():
            values[op.y.name] = integer_ops.mul(op, values[op.a], values[op.b])
        case QMax():
            values[op.y.name] = np.maximum(values[op.a], values[op.b])
        case QRescale():
            values[op.y.name] = sat16(rr(values[op.x] * op.multiplier, op.shift))
        case QConstant():
            values[op.y.name] = op.values[None]
        case QTake():
            values[op.y.name] = integer_windows.take(op, values[op.x])
        case QConcat():
            values[op.y.name] = _join([values[x] for x in op.xs]).reshape(-1, *op.y.shape)
        case QTotal():
            open_ = values[op.count].reshape(-1, *[1] * len(op.y.shape)) < MAX_STEPS_OF_A_MEAN
            values[op.y.name] = values[op.total] + np.where(open_, values[op.x], 0)
        case QCount():
            values[op.y.name] = integer_ops.count(values[op.x])
        case QMean():
            n = np.maximum(values[op.count], 1).reshape(-1, *[1] * len(op.y.shape))
            values[op.y.name] = divide_rounded(values[op.total], n)
        case QAppend() | QAttend():
            values[op.y.name] = integer_attention.evaluate(op, values)
        case QHold():
            values[op.y.name] = integer_ops.hold(op, values[op.x], values[op.held])
        case QTfliteLstm():
            h, c = tflite_ops.lstm(op, _flat(values[op.x]), values[op.h], values[op.c])
            values[op.h_next.name], values[op.c_next.name] = h, c
        case QTfliteDense():
            values[op.y.name] = tflite_ops.dense(op, _flat(values[op.x]))
        case QTfliteTable():
            values[op.y.name] = tflite_ops.table(op, values[op.x])
        case _:
            values[op.y.name] = integer_functions.functional(op, values)


def _before(op: QRecurrent, values: Values) -> IntArray:
    """What the recurrent matrix reads."""
    return values[q_recurrent_operand(op)]


def _flat(x: IntArray) -> IntArray:
    return x.reshape(x.shape[0], -1)


def _join(parts: list[IntArray]) -> IntArray:
    count = max(part.shape[0] for part in parts)
    return np.concatenate([np.repeat(_flat(p), count // p.shape[0], axis=0) for p in parts], axis=1)
