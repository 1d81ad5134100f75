"""The integer reference: runs a QModel over ragged sequences. Every other backend must equal it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.qmodel import (
    MAX_STEPS_OF_A_MEAN,
    IntArray,
    QActivate,
    QAdd,
    QConcat,
    QConstant,
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
    QTake,
    QTotal,
)
from stepcell.reference import integer_ops
from stepcell.reference.arithmetic import divide_rounded, rr, sat16

Values = dict[str, IntArray]


@dataclass(frozen=True, eq=False)
class IntegerRun:
    """States [N, T, ...] after every step and outputs [N, T, ...] as read at every step.

    Beyond a sequence's length they repeat its last ones. `saturations` counts the cell states that
    hit the int16 limits, by state name, over all valid steps.
    """

    states: dict[str, IntArray]
    outputs: IntArray
    saturations: dict[str, int]

    def last_outputs(self) -> IntArray:
        """[N, ...]: the outputs after each sequence's last step."""
        return self.outputs[:, -1]


def run_integer(
    qmodel: QModel,
    x: IntArray,
    lengths: NDArray[np.int64] | None = None,
    initial: Mapping[str, IntArray] | None = None,
) -> IntegerRun:
    """Run over N sequences of T quantized frames, x [N, T, ...] integers.

    lengths [N]: valid steps (default: all T). initial: states [N, ...] by name to continue from; those that
    it does not name, and all without it, start at the model's initial states.
    """
    count, steps = x.shape[:2]
    lengths = np.full(count, steps) if lengths is None else np.asarray(lengths)
    states = {s.value.name: np.repeat(s.initial[None], count, axis=0) for s in qmodel.states}
    states |= {name: np.asarray(array, np.int64) for name, array in (initial or {}).items()}
    recorded: dict[str, list[IntArray]] = {name: [] for name in states}
    saturations = {op.c: 0 for op in qmodel.ops if isinstance(op, QLstm)}
    outputs: list[IntArray] = []
    for t in range(steps):
        running = t < lengths
        values = _evaluate_all(qmodel.ops, states | {qmodel.input.name: x[:, t].astype(np.int64)})
        for state, value in qmodel.updates:
            mask = running.reshape(-1, *[1] * (values[value].ndim - 1))
            states[state] = np.where(mask, values[value], states[state])
        for name, at_limit in saturations.items():
            limit = (states[name] == 32767) | (states[name] == -32768)
            saturations[name] = at_limit + int(limit[running].sum())
        for name, array in states.items():
            recorded[name].append(array)
        outputs.append(_read(qmodel, states, values, running, outputs))
    stacked = {name: np.stack(arrays, axis=1) for name, arrays in recorded.items()}
    return IntegerRun(stacked, np.stack(outputs, axis=1), saturations)


def _read(
    qmodel: QModel, states: Values, values: Values, running: NDArray[np.bool_], before: list[IntArray]
) -> IntArray:
    if qmodel.output_is_finished:
        return _evaluate_all(qmodel.finish, dict(states))[qmodel.output.name]
    y = values[qmodel.output.name]
    return np.where(running.reshape(-1, *[1] * (y.ndim - 1)), y, before[-1]) if before else y


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
            h = integer_ops.gru(op, _flat(values[op.x]), values[op.h], _before(op, values))
            values[op.h_next.name] = h
        case QRnn():
            values[op.h_next.name] = integer_ops.rnn(op, _flat(values[op.x]), _before(op, values))
        case QDense():
            values[op.y.name] = integer_ops.dense(op, values[op.x])
        case QActivate():
            values[op.y.name] = integer_ops.activate(op, values[op.x])
        case QAdd():
            total = values[op.a] * op.a_multiplier + values[op.b] * op.b_multiplier
            values[op.y.name] = sat16(rr(total, op.shift))
        case QMul():
            product = rr(values[op.a] * values[op.b], 15) * op.multiplier
            values[op.y.name] = sat16(rr(product, op.shift))
        case QMax():
            values[op.y.name] = np.maximum(values[op.a], values[op.b])
        case QRescale():
            values[op.y.name] = sat16(rr(values[op.x] * op.multiplier, op.shift))
        case QConstant():
            values[op.y.name] = op.values[None]
        case QTake():
            values[op.y.name] = _flat(values[op.x])[:, list(op.indices)].reshape(-1, *op.y.shape)
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
        case QHold():
            values[op.y.name] = integer_ops.hold(op, values[op.x], values[op.held])


def _before(op: QRecurrent, values: Values) -> IntArray:
    """What the recurrent matrix reads."""
    return values[op.h if op.held is None else op.held]


def _flat(x: IntArray) -> IntArray:
    return x.reshape(x.shape[0], -1)


def _join(parts: list[IntArray]) -> IntArray:
    count = max(part.shape[0] for part in parts)
    return np.concatenate([np.repeat(_flat(p), count // p.shape[0], axis=0) for p in parts], axis=1)
