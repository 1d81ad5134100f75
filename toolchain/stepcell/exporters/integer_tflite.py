"""The operations of an already quantized TensorFlow Lite file as ONNX nodes (docs/numerics.md).

Products with 31-bit multipliers are int64; everything else is int32. Sigmoid and tanh are look-ups in the
whole function of an int16, which the file holds.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto

from stepcell.exporters.integer_arithmetic import sat16, shift_right
from stepcell.exporters.integer_scope import Scope
from stepcell.exporters.integer_writer import Writer
from stepcell.ir.qmodel import IntArray
from stepcell.ir.qtflite import QFixed, QTfliteDense, QTfliteLstm, QTfliteTable
from stepcell.reference.tflite_arithmetic import sigmoid_table, tanh_table


def lstm(scope: Scope, op: QTfliteLstm) -> None:
    """The gates by their own factors, saturated after each matrix; then c' and h'."""
    w, c = scope.step, scope.names[op.c]
    (units,) = op.h_next.shape
    ax = w.node("Add", scope.matvec(op.input, scope.flat(op.x)), w.int32(op.input_bias))
    ah = w.node("Add", scope.matvec(op.recurrent, scope.names[op.h]), w.int32(op.recurrent_bias))
    p = sat16(w, _scaled(w, ax, op.input_factors, units))
    p = sat16(w, w.node("Add", p, _scaled(w, ah, op.recurrent_factors, units)))
    gates, candidate = w.split(p, [3 * units, units])
    sigmoid = _table(scope, sigmoid_table())
    i, o, f = w.split(w.node("Gather", sigmoid, gates), [units] * 3)
    g = w.node("Gather", _table(scope, tanh_table(3)), candidate)
    kept, new = _away(w, w.node("Mul", f, c), 15), _away(w, w.node("Mul", i, g), 30 - op.cell_bits)
    c_next = sat16(w, w.node("Add", kept, new))
    c_next = w.node("Clip", c_next, w.int32(-op.cell_limit), w.int32(op.cell_limit))
    squashed = w.node("Gather", _table(scope, tanh_table(15 - op.cell_bits)), c_next)
    h = w.node(
        "Add", _scaled(w, w.node("Mul", o, squashed), op.hidden_factor, 1), w.int32(op.hidden_zero_point)
    )
    scope.define(op.c_next, c_next)
    scope.define(op.h_next, w.node("Clip", h, w.int32(-128), w.int32(127)))


def dense(scope: Scope, op: QTfliteDense) -> None:
    """Rounded once, ties up."""
    w = scope.step
    acc = w.node("Add", scope.matvec(op.matrix, scope.flat(op.x)), w.int32(op.bias))
    right = 31 - op.factors.shifts
    product = w.node("Mul", _int64(w, acc), w.shape(op.factors.multipliers.tolist()))
    half = w.shape((1 << (right - 1)).tolist())
    scaled = _int32(w, _shifted(w, w.node("Add", product, half), right))
    y = w.node("Add", scaled, w.int32(op.zero_point))
    y = w.node("Clip", y, w.int32(op.least), w.int32(op.greatest))
    shaped = y if len(op.y.shape) == 1 else w.node("Reshape", y, w.shape([-1, *op.y.shape]))
    scope.define(op.y, shaped)


def table(scope: Scope, op: QTfliteTable) -> None:
    """A look-up from x = 0 on; negative indices count from the end."""
    values = scope.outer.int32(np.roll(op.table, -128))
    scope.define(op.y, scope.step.node("Gather", values, scope.names[op.x]))


def _table(scope: Scope, values: IntArray) -> str:
    stored = scope.outer.constant(np.roll(values, -32768).astype(np.int16))
    return scope.outer.cast(stored, 32)


def _scaled(w: Writer, acc: str, factors: QFixed, units: int) -> str:
    """acc * multiplier * 2^(shift - 31): high half, ties up; then the rest, ties away from zero."""
    multipliers, shifts = (np.repeat(part, units) for part in (factors.multipliers, factors.shifts))
    left, right = np.maximum(shifts, 0), np.maximum(-shifts, 0)
    wide = w.node("Mul", _int64(w, acc), w.shape((multipliers << left).tolist()))
    high = _shifted(w, w.node("Add", wide, w.shape([1 << 30])), np.array([31]))
    return _int32(w, _away_by(w, high, right)) if right.any() else _int32(w, high)


def _away_by(w: Writer, v: str, right: IntArray) -> str:
    """Divide int64 by 2^right, ties away from zero."""
    below = w.node("Cast", w.node("Less", v, w.shape([0])), to=TensorProto.INT64)
    half = w.shape(((1 << right) >> 1).tolist())
    at_least_one = w.shape((right > 0).astype(np.int64).tolist())
    nudged = w.node("Sub", w.node("Add", v, half), w.node("Mul", below, at_least_one))
    return _shifted(w, nudged, right)


def _away(w: Writer, v: str, shift: int) -> str:
    """Divide int32 by 2^shift, ties away from zero; |v| + 2^(shift-1) fits."""
    if shift == 0:
        return v
    below = w.node("Cast", w.node("Less", v, w.int32(0)), to=TensorProto.INT32)
    nudged = w.node("Sub", w.node("Add", v, w.int32(1 << (shift - 1))), below)
    return shift_right(w, nudged, shift)


def _shifted(w: Writer, v: str, right: IntArray) -> str:
    """int64 v >> right, arithmetic: to a multiple of 2^right below, then a division without remainder."""
    masked = w.node("BitwiseAnd", v, w.shape((-(1 << right)).tolist()))
    return w.node("Div", masked, w.shape((1 << right).tolist()))


def _int64(w: Writer, v: str) -> str:
    return w.node("Cast", v, to=TensorProto.INT64)


def _int32(w: Writer, v: str) -> str:
    return w.node("Cast", v, to=TensorProto.INT32)


WRITE: dict[type, Callable[[Scope, Any], None]] = {
    QTfliteLstm: lstm,
    QTfliteDense: dense,
    QTfliteTable: table,
}
