"""Lowering of a step graph or a finish graph: one call an operation, states updated in place."""

import numpy as np

from stepcell.ir.qfunctions import QFunctional, QMin
from stepcell.ir.qmodel import (
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
    QMul,
    QOp,
    QRescale,
    QRnn,
    QTake,
    QTotal,
    q_reads,
)
from stepcell.ir.qtflite import QTfliteDense, QTfliteLstm, QTfliteTable
from stepcell.lower import attention, delta, dense, moves, recurrent, tflite, windows
from stepcell.lower.functional import lower_functional
from stepcell.lower.parts import Table
from stepcell.lower.scope import Place, Scope


def lower_ops(scope: Scope, ops: tuple[QOp, ...], updates: tuple[tuple[str, str], ...]) -> None:
    """Append the calls of `ops`, then those that store the states which no operation updated in place.

    A recurrent layer overwrites its state where it lies. Where something later still reads what the
    state was, that is saved first. Where the state becomes something else, the layer runs on a copy of it.
    """
    states = dict(scope.places)
    done: set[str] = set()
    for i, op in enumerate(ops):
        saved: dict[str, Place] = {}
        for state, value in _updated_in_place(op, updates):
            done.add(state)
            if _read_later(state, ops[i + 1 :], updates):
                saved[state] = _save(scope, state)
            scope.places[value] = scope.places[state]
        for state, value in _computed_aside(op, updates):
            saved[state] = scope.places[state]
            scope.places[state] = scope.places[value] = _save(scope, state)
        lower_op(scope, op)
        scope.places.update(saved)
    _store_states(scope, states, [(s, v) for s, v in updates if s not in done and s != v])


def _updated_in_place(op: QOp, updates: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """(state, new value) pairs that `op` computes on the state itself."""
    match op:
        case QMax() | QMin():
            pairs = [(op.a if (op.a, op.y.name) in updates else op.b, op.y.name)]  # y lies in one state only
        case QTotal():
            pairs = [(op.total, op.y.name)]
        case QCount():
            pairs = [(op.x, op.y.name)]
        case QHold():
            pairs = [(op.held, op.y.name)]
        case QAppend():
            pairs = [(op.memory, op.y.name)]
        case _:
            pairs = _next_states(op)
    return [pair for pair in pairs if pair in updates]


def _computed_aside(op: QOp, updates: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """(state, new value) pairs of a recurrent layer whose state does not become that value."""
    return [pair for pair in _next_states(op) if pair not in updates]


def _next_states(op: QOp) -> list[tuple[str, str]]:
    """(state, new value) pairs of a recurrent layer; of anything else none."""
    match op:
        case QLstm() | QTfliteLstm():
            return [(op.h, op.h_next.name), (op.c, op.c_next.name)]
        case QGru() | QRnn():
            return [(op.h, op.h_next.name)]
        case _:
            return []


def _read_later(state: str, later: tuple[QOp, ...], updates: tuple[tuple[str, str], ...]) -> bool:
    becomes_another = any(value == state and other != state for other, value in updates)
    return becomes_another or any(state in q_reads(op) for op in later)


def _save(scope: Scope, state: str) -> Place:
    saved = scope.local(scope.places[state].value, f"{state}_before")
    scope.copy(saved.expression, saved, scope.places[state].expression)
    return saved


def _store_states(scope: Scope, states: dict[str, Place], updates: list[tuple[str, str]]) -> None:
    """Copy new values into their states; old states that become others are read before any is written."""
    sources = {state: scope.place(value) for state, value in updates}
    for state, value in updates:
        if value in states and sources[state] is states[value]:
            sources[state] = scope.local(states[value].value, f"{value}_to_{state}")
            scope.copy(state, sources[state], states[value].expression)
    for state, _ in updates:
        size = states[state].value.size * states[state].value.bits // 8
        scope.padded_vector(state, "sc_copy", size, size, states[state].expression, sources[state].expression)


def lower_op(scope: Scope, op: QOp) -> None:  # noqa: C901 - one case an operation
    """Append the calls of one operation."""
    match op:
        case QLstm():
            recurrent.lower_lstm(scope, op)
        case QGru():
            recurrent.lower_gru(scope, op)
        case QRnn():
            recurrent.lower_rnn(scope, op)
        case QDense():
            dense.lower_dense(scope, op)
        case QConv():
            windows.lower_conv(scope, op)
        case QHold():
            delta.lower_hold(scope, op)
        case QAppend():
            attention.lower_append(scope, op)
        case QAttend():
            attention.lower_attend(scope, op)
        case QTfliteLstm():
            tflite.lower_lstm(scope, op)
        case QTfliteDense():
            tflite.lower_dense(scope, op)
        case QTfliteTable():
            tflite.lower_table(scope, op)
        case _:
            _lower_vector(scope, op)


def _lower_vector(scope: Scope, op: QOp) -> None:  # noqa: C901, PLR0912 - one case an operation
    place = scope.place
    match op:
        case QActivate():
            _vector(scope, op.function, op, place(op.x).expression, op.y.size)
        case QAdd():
            a, b = place(op.a).expression, place(op.b).expression
            _vector(
                scope,
                "add",
                op,
                a,
                b,
                op.y.size,
                op.a_multiplier,
                op.b_multiplier,
                scope.shared.shift(op.shift),
            )
        case QMul():
            a, b = place(op.a).expression, place(op.b).expression
            _vector(scope, "mul", op, a, b, op.y.size, op.multiplier, scope.shared.shift(op.shift))
        case QMax():
            _vector(scope, "max", op, place(op.a).expression, place(op.b).expression, op.y.size)
        case QRescale():
            _vector(
                scope,
                "rescale",
                op,
                place(op.x).expression,
                op.y.size,
                op.multiplier,
                scope.shared.shift(op.shift),
            )
        case QConstant():
            _vector(scope, "constant", op, _table(scope, op.y.name, op.values.reshape(-1)), op.y.size)
        case QTake():
            moves.lower_take(scope, op)
        case QConcat():
            _concat(scope, op)
        case QTotal():
            scope.vector(
                op.total,
                "sc_total",
                op.y.size,
                place(op.total).expression,
                place(op.x).expression,
                op.y.size,
                place(op.count).expression,
                comment=f"{op.total}: the sum of a mean over time",
            )
        case QCount():
            scope.vector(op.x, "sc_count", 1, place(op.x).expression, comment=f"{op.x}: how many steps")
        case QMean():
            _vector(scope, "mean", op, place(op.total).expression, op.y.size, place(op.count).expression)
        case _ if isinstance(op, QFunctional):
            lower_functional(scope, op)
        case _:
            raise TypeError(f"no lowering for {type(op).__name__}")


def _vector(scope: Scope, kind: str, op: QOp, *arguments: str | int) -> None:
    """One call y = sc_<kind>(y, ...), into a new local unless y lies in a state already."""
    y = op.y  # type: ignore[union-attr]
    layer = scope.shared.layer_name(kind)
    if y.name not in scope.places:
        scope.places[y.name] = scope.local(y)
    scope.vector(
        layer, f"sc_{kind}", y.size, scope.places[y.name].expression, *arguments, comment=f"{layer}: {y.name}"
    )


def _table(scope: Scope, name: str, values: np.ndarray) -> str:
    name = scope.shared.table_name(name)
    scope.shared.tables.append(Table(name, "uint16_t", values.astype(np.int64) & 0xFFFF, "constant operand"))
    return scope.shared.symbol(name)


def _concat(scope: Scope, op: QConcat) -> None:
    layer = scope.shared.layer_name("concat")
    scope.places[op.y.name] = to = scope.local(op.y)
    at, unit = 0, op.y.bits // 8
    for i, x in enumerate(op.xs):
        part = scope.place(x)
        padded = to.readable - at if i == len(op.xs) - 1 else part.value.size
        target = to.expression if at == 0 else f"{to.expression} + {at}"
        comment = f"{layer}: {op.y.name}" if at == 0 else ""
        size = part.value.size * unit
        scope.padded_vector(layer, "sc_copy", size, padded * unit, target, part.expression, comment=comment)
        at += part.value.size
