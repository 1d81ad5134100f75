"""The operations of the QModel without weights as ONNX nodes."""

from stepcell.exporters.integer_arithmetic import floor_divide, rr, sat16
from stepcell.exporters.integer_scope import Scope
from stepcell.ir.qmodel import (
    MAX_STEPS_OF_A_MEAN,
    QActivate,
    QAdd,
    QConcat,
    QConstant,
    QCount,
    QHold,
    QMax,
    QMean,
    QMul,
    QRescale,
    QTotal,
)


def activate(scope: Scope, op: QActivate) -> None:
    """relu, or a look-up."""
    x = scope.names[op.x]
    functions = {"relu": lambda v: scope.step.node("Max", v, scope.step.int32(0))}
    functions |= {"sigmoid": scope.sigmoid, "tanh": scope.tanh}
    scope.define(op.y, functions[op.function](x))


def add(scope: Scope, op: QAdd) -> None:
    """sat16(rr(a*Ma + b*Mb, shift))."""
    w = scope.step
    a = w.node("Mul", scope.names[op.a], w.int32(op.a_multiplier))
    b = w.node("Mul", scope.names[op.b], w.int32(op.b_multiplier))
    scope.define(op.y, sat16(w, rr(w, w.node("Add", a, b), op.shift)))


def mul(scope: Scope, op: QMul) -> None:
    """sat16(rr(rr(a*b, 15)*M, shift))."""
    w = scope.step
    product = rr(w, w.node("Mul", scope.names[op.a], scope.names[op.b]), 15)
    scope.define(op.y, sat16(w, rr(w, w.node("Mul", product, w.int32(op.multiplier)), op.shift)))


def maximum(scope: Scope, op: QMax) -> None:
    """max(a, b)."""
    scope.define(op.y, scope.step.node("Max", scope.names[op.a], scope.names[op.b]))


def rescale(scope: Scope, op: QRescale) -> None:
    """sat16(rr(x*M, shift))."""
    w = scope.step
    scaled = w.node("Mul", scope.names[op.x], w.int32(op.multiplier))
    scope.define(op.y, sat16(w, rr(w, scaled, op.shift)))


def constant(scope: Scope, op: QConstant) -> None:
    """The same array for every sequence, made once outside the loop."""
    scope.define(op.y, scope.repeated(op.values))


def concat(scope: Scope, op: QConcat) -> None:
    """The flat inputs one after the other."""
    flat = scope.step.node("Concat", *(scope.flat(x) for x in op.xs), axis=1)
    scope.define(op.y, _shaped(scope, flat, op.y.shape))


def total(scope: Scope, op: QTotal) -> None:
    """total + x while the count has not reached its end."""
    w = scope.step
    open_ = w.node("Less", scope.names[op.count], w.int32(MAX_STEPS_OF_A_MEAN))
    x = w.node("Where", _column(scope, open_, op.y.shape), scope.names[op.x], w.int32(0))
    scope.define(op.y, w.node("Add", scope.names[op.total], x))


def count(scope: Scope, op: QCount) -> None:
    """min(count + 1, MAX_STEPS_OF_A_MEAN)."""
    w = scope.step
    more = w.node("Add", scope.names[op.x], w.int32(1))
    scope.define(op.y, w.node("Min", more, w.int32(MAX_STEPS_OF_A_MEAN)))


def mean(scope: Scope, op: QMean) -> None:
    """floor((2*total + n) / (2*n)), n = max(count, 1)."""
    w = scope.step
    n = _column(scope, w.node("Max", scope.names[op.count], w.int32(1)), op.y.shape)
    doubled = w.node("Mul", scope.names[op.total], w.int32(2))
    y = floor_divide(w, w.node("Add", doubled, n), w.node("Mul", n, w.int32(2)))
    scope.define(op.y, y)


def _size(shape: tuple[int, ...]) -> int:
    product = 1
    for axis in shape:
        product *= axis
    return product


def _column(scope: Scope, x: str, shape: tuple[int, ...]) -> str:
    """x [batch], shaped to broadcast over [batch, *shape]."""
    return scope.step.node("Reshape", x, scope.step.shape([-1, *[1] * len(shape)]))


def _shaped(scope: Scope, flat: str, shape: tuple[int, ...]) -> str:
    """flat [batch, size] as [batch, *shape]."""
    return flat if len(shape) == 1 else scope.step.node("Reshape", flat, scope.step.shape([-1, *shape]))


def hold(scope: Scope, op: QHold) -> None:
    """where(|v - held| > threshold, v, held), v being x or its view."""
    w, held = scope.step, scope.names[op.held]
    v = scope.view(scope.names[op.x]) if op.reads_view else scope.names[op.x]
    changed = w.node("Greater", w.node("Abs", w.node("Sub", v, held)), w.int32(op.threshold))
    scope.define(op.y, w.node("Where", changed, v, held))
