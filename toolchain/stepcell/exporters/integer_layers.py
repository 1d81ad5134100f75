"""LSTM, GRU, RNN and Dense of the QModel as ONNX nodes, equation by equation as in docs/numerics.md."""

import numpy as np

from stepcell.exporters.integer_arithmetic import rr, sat16
from stepcell.exporters.integer_scope import Scope
from stepcell.ir.qmodel import (
    IntArray,
    JointRequant,
    QDense,
    QGru,
    QLstm,
    QRecurrent,
    QRnn,
    Requant,
    q_recurrent_operand,
)


def lstm(scope: Scope, op: QLstm) -> None:
    """c' = sat16(rr(f*c + rr(i*g, 15-cf), 15)), h' = rr(o*tanh(c'), 15)."""
    w = scope.step
    c = scope.names[op.c]
    (units,) = op.h_next.shape
    ax = _plus(scope, scope.matvec(op.input, scope.flat(op.x)), op.bias)
    p = _joint(scope, op.requant, ax, scope.matvec(op.recurrent, _before(scope, op)))
    gates, candidate = w.split(p, [3 * units, units])
    i, o, f = w.split(scope.sigmoid(gates), [units] * 3)
    new = rr(w, w.node("Mul", i, scope.tanh(candidate)), 15 - op.cell_bits)
    kept = w.node("Mul", f, c)
    c_next = sat16(w, rr(w, w.node("Add", kept, new), 15))
    squashed = scope.tanh(_cell_as_q4_11(scope, c_next, op.cell_bits))
    scope.define(op.c_next, c_next)
    scope.define(op.h_next, rr(w, w.node("Mul", o, squashed), 15))


def _cell_as_q4_11(scope: Scope, c: str, cell_bits: int) -> str:
    if cell_bits >= 11:
        return rr(scope.step, c, cell_bits - 11)
    return sat16(scope.step, scope.step.node("Mul", c, scope.step.int32(1 << (11 - cell_bits))))


def gru(scope: Scope, op: QGru) -> None:
    """h' = n + rr(z*(h - n), 15), with n by either kind of reset."""
    w, h = scope.step, scope.names[op.h]
    z, n = (
        _candidate_after_reset(scope, op)
        if op.linear_before_reset
        else _candidate_of_reset_state(scope, op, h)
    )
    difference = w.node("Sub", h, n)
    change = rr(w, w.node("Mul", z, difference), 15)
    scope.define(op.h_next, w.node("Add", n, change))


def _candidate_after_reset(scope: Scope, op: QGru) -> tuple[str, str]:
    """(z, n) with n = tanh(sat16(px + rr(r*sat16(ph), 15)))."""
    w, requant = scope.step, op.requant
    (units,) = op.h_next.shape
    ax = _plus(scope, scope.matvec(op.input, scope.flat(op.x)), op.input_bias)
    ah = _plus(scope, scope.matvec(op.recurrent, _before(scope, op)), op.recurrent_bias)
    x_gates, x_new = w.split(
        _scaled(scope, ax, requant.input_pre_shift, requant.input_multipliers), [2 * units, units]
    )
    h_gates, h_new = w.split(
        _scaled(scope, ah, requant.recurrent_pre_shift, requant.recurrent_multipliers), [2 * units, units]
    )
    gates = sat16(w, rr(w, w.node("Add", x_gates, h_gates), requant.post_shift))
    z, r = w.split(scope.sigmoid(gates), [units, units])
    px = rr(w, x_new, op.candidate_input_shift)
    ph = sat16(w, rr(w, h_new, op.candidate_recurrent_shift))
    gated = rr(w, w.node("Mul", r, ph), 15)
    return z, scope.tanh(sat16(w, w.node("Add", px, gated)))


def _candidate_of_reset_state(scope: Scope, op: QGru, h: str) -> tuple[str, str]:
    """(z, n) with n = tanh(W x + U view(rr(r*h, 15)))."""
    w = scope.step
    (units,) = op.h_next.shape
    rows, new = slice(0, 2 * units), slice(2 * units, 3 * units)
    weights = op.recurrent.weights
    ax = _plus(scope, scope.matvec(op.input, scope.flat(op.x)), op.input_bias)
    x_gates, x_new = w.split(ax, [2 * units, units])
    ah = w.node("MatMul", scope.seen(op.recurrent, h), scope.weights(weights[rows]))
    z, r = w.split(scope.sigmoid(_joint(scope, op.requant, x_gates, ah, rows)), [units, units])
    reset = rr(w, w.node("Mul", r, h), 15)
    an = w.node("MatMul", scope.seen(op.recurrent, reset), scope.weights(weights[new]))
    return z, scope.tanh(_joint(scope, op.requant, x_new, an, new))


def rnn(scope: Scope, op: QRnn) -> None:
    """h' = tanh(p) or relu(p)."""
    ax = _plus(scope, scope.matvec(op.input, scope.flat(op.x)), op.bias)
    p = _joint(scope, op.requant, ax, scope.matvec(op.recurrent, _before(scope, op)))
    h_next = scope.step.node("Max", p, scope.step.int32(0)) if op.relu else scope.tanh(p)
    scope.define(op.h_next, h_next)


def dense(scope: Scope, op: QDense) -> None:
    """y = sat16(rr(rr(W x + b, pre)*M, post)), at least 0 with a relu."""
    w = scope.step
    acc = _plus(scope, scope.matvec(op.matrix, scope.flat(op.x)), op.bias)
    y = requantized(scope, op.requant, acc)
    scope.define(op.y, w.node("Max", y, w.int32(0)) if op.relu else y)


def requantized(scope: Scope, requant: Requant, acc: str) -> str:
    """The accumulators of one matrix to int16."""
    w = scope.step
    shifted = rr(w, acc, requant.pre_shift)
    shifted = sat16(w, shifted) if requant.saturates else shifted
    return sat16(w, rr(w, w.node("Mul", shifted, w.int32(requant.multipliers)), requant.post_shift))


def _before(scope: Scope, op: QRecurrent) -> str:
    """What the recurrent matrix reads."""
    return scope.names[q_recurrent_operand(op)]


def _joint(scope: Scope, requant: JointRequant, ax: str, ah: str, rows: slice = slice(None)) -> str:
    """Two int32 accumulators to one int16 pre-activation."""
    x_part = _scaled(scope, ax, requant.input_pre_shift, requant.input_multipliers[rows])
    h_part = _scaled(scope, ah, requant.recurrent_pre_shift, requant.recurrent_multipliers[rows])
    total = scope.step.node("Add", x_part, h_part)
    return sat16(scope.step, rr(scope.step, total, requant.post_shift))


def _scaled(scope: Scope, acc: str, shift: int, multipliers: IntArray) -> str:
    return scope.step.node("Mul", rr(scope.step, acc, shift), scope.step.int32(multipliers))


def _plus(scope: Scope, acc: str, bias: IntArray) -> str:
    return scope.step.node("Add", acc, scope.step.int32(bias)) if np.any(bias) else acc
