"""Memories and attention (ir/qattention.py) as ONNX nodes, for a batch of sequences of different lengths."""

from collections.abc import Callable
from typing import Any

import numpy as np

from stepcell.exporters.integer_arithmetic import rr, sat16
from stepcell.exporters.integer_functions import (
    INT32,
    bits_above,
    int64,
    power_of_half,
    rounded,
)
from stepcell.exporters.integer_scope import Scope
from stepcell.ir.qattention import QAppend, QAttend
from stepcell.reference.integer_attention import MOST_STEPS_DOWN


def append(scope: Scope, op: QAppend) -> None:
    """Where a row's number is the count: x; everywhere else the memory."""
    w, (rows, *shape) = scope.step, op.y.shape
    x = scope.view(scope.names[op.x]) if op.y.bits == 8 else scope.names[op.x]
    number = w.int32(np.arange(rows).reshape(rows, *[1] * len(shape)))
    count = w.node("Reshape", scope.names[op.count], w.shape([-1, *[1] * len(op.y.shape)]))
    row = w.node("Reshape", x, w.shape([-1, 1, *shape]))
    scope.define(op.y, w.node("Where", w.node("Equal", number, count), row, scope.names[op.memory]))


def attend(scope: Scope, op: QAttend) -> None:
    """Scores, weights of the rows there are, their mean."""
    w, rows = scope.step, scope.shapes[op.keys][0]
    weights = _weights(scope, op, _scores(scope, op, rows), rows)
    total = w.node("ReduceSum", weights, w.shape([-1]))
    values = w.node("Reshape", scope.names[op.values], w.shape([-1, rows, op.y.size]))
    sums = w.node("MatMul", w.node("Unsqueeze", w.node("Cast", weights, to=INT32), w.shape([1])), values)
    m = rr(w, w.node("Squeeze", sums, w.shape([1])), op.value_shift)
    dividend = w.node("Add", int64(w, op.mean_multiplier << 16), w.node("Div", total, int64(w, 2)))
    factor = w.node("Cast", w.node("Div", dividend, total), to=INT32)
    y = sat16(w, rr(w, w.node("Mul", m, factor), op.mean_shift))
    scope.define(op.y, w.node("Reshape", y, w.shape([-1, *op.y.shape])))


def _scores(scope: Scope, op: QAttend, rows: int) -> str:
    """[batch, rows] int32."""
    w, query = scope.step, scope.names[op.query]
    keys = w.node("Reshape", scope.names[op.keys], w.shape([0, rows, -1]))
    if op.reads_view:
        column = w.node("Reshape", scope.view(query), w.shape([0, -1, 1]))
        return w.node("Squeeze", w.node("MatMul", keys, column), w.shape([2]))
    products = w.node("Mul", keys, w.node("Reshape", query, w.shape([0, 1, -1])))
    return w.node("ReduceSum", rr(w, products, op.product_shift), w.shape([2]), keepdims=0)


def _weights(scope: Scope, op: QAttend, scores: str, rows: int) -> str:
    """[batch, rows] int64, 0 where there is no row yet."""
    w = scope.step
    count = w.node("Reshape", w.node("Max", scope.names[op.count], w.int32(1)), w.shape([-1, 1]))
    seen = w.node("Less", w.int32(np.arange(rows)), count)
    most = w.node("ReduceMax", w.node("Where", seen, scores, w.int32(-(1 << 31))), w.shape([-1]))
    below = w.node("Where", seen, w.node("Sub", most, scores), w.int32(0))
    short = w.node("Min", rr(w, below, op.pre_shift), w.int32(65535))
    t = rr(w, w.node("Mul", short, w.int32(op.multiplier)), op.shift)
    e = power_of_half(w, w.node("Min", t, w.int32(MOST_STEPS_DOWN)), op.fraction)
    e = w.node("Where", seen, e, int64(w, 0))
    by = bits_above(w, w.node("ReduceSum", e, w.shape([-1])), range(15, 32))
    return rounded(w, e, by)


WRITE: dict[type, Callable[[Scope, Any], None]] = {QAppend: append, QAttend: attend}
"""Which function writes which operation."""
