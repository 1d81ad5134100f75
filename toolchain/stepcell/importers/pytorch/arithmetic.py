"""Element by element, matrix products, and reductions."""

import math
from typing import Any

from stepcell.errors import StepcellError
from stepcell.importers.builder import Builder, Translator
from stepcell.importers.pytorch.activations import plain

Args = list[Any]
Kwargs = dict[str, Any]


def _scaled(op: str) -> Translator:
    """add and sub, whose second operand may have a factor."""

    def make(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
        x, other, *alpha = args
        factor = kwargs.get("alpha", alpha[0] if alpha else 1)
        other = b.operand(other)
        if factor != 1:
            other = b.one("Mul", where, other, b.operand(factor))
        return b.one(op, where, b.operand(x), other)

    return make


def _rsub(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    """`1 - x`."""
    del kwargs
    x, other, *alpha = args
    if alpha and alpha[0] != 1:
        x = b.one("Mul", where, x, b.operand(alpha[0]))
    return b.one("Sub", where, b.operand(other), x)


def _rsqrt(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    return b.one("Reciprocal", where, b.one("Sqrt", where, args[0]))


def _power_of_number(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    """`2 ** x`."""
    del kwargs
    base, x = args
    return b.one("Exp", where, b.one("Mul", where, x, b.operand(math.log(base))))


def _linear(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    turned = b.one("Transpose", where, args[1], perm=[1, 0])
    product = b.one("MatMul", where, args[0], turned)
    return product if len(args) < 3 or args[2] is None else b.one("Add", where, product, args[2])


def _addmm(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    scales = {name: float(kwargs.get(name, 1.0)) for name in ("alpha", "beta")}
    return b.one("Gemm", where, args[1], args[2], args[0], **scales)


def reduced(op: str, b: Builder, where: str, x: str, axes: Any, keep: bool) -> str:
    """A reduction over some axes; over all where none is named."""
    axes = [] if axes is None else [axes] if isinstance(axes, int) else list(axes)
    return b.one(op, where, x, *([b.ints(*axes)] if axes else []), keepdims=int(keep))


def _reduce(op: str) -> Translator:
    def make(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
        del kwargs
        x, axes, keep = args + [None, False][len(args) - 1 :]
        return reduced(op, b, where, x, axes, keep)

    return make


def _extreme(op: str) -> Translator:
    """(values, indices) of max and min over one axis."""

    def make(b: Builder, where: str, args: Args, kwargs: Kwargs) -> list[str]:
        del kwargs
        x, axis, keep = args + [False][len(args) - 2 :]
        picked = "ArgMax" if op == "ReduceMax" else "ArgMin"
        indices = b.one(picked, where, x, axis=axis, keepdims=int(keep))
        return [reduced(op, b, where, x, axis, keep), indices]

    return make


def _argmax(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    x, axis, keep = args + [None, False][len(args) - 1 :]
    if axis is None:
        x, axis = b.one("Reshape", where, x, b.ints(-1)), 0
    return b.one("ArgMax", where, x, axis=axis, keepdims=int(keep))


def _lerp(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    """x + weight * (end - x)."""
    del kwargs
    x, end, weight = args
    way = b.one("Mul", where, b.one("Sub", where, end, x), b.operand(weight))
    return b.one("Add", where, x, way)


def _norm(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    """The 1- or 2-norm over some axes."""
    del kwargs
    x, order, axes, keep = args + [2, None, False][len(args) - 1 :]
    if order not in (1, 2):
        raise StepcellError(
            f"{b.file}: node '{where}' is a norm of order {order}; 1 and 2 are allowed.", "use one of these."
        )
    return reduced(f"ReduceL{int(order)}", b, where, x, axes, keep)


TRANSLATORS: dict[str, Translator] = {
    "aten.add.Tensor": _scaled("Add"),
    "aten.add.Scalar": _scaled("Add"),
    "aten.sub.Tensor": _scaled("Sub"),
    "aten.sub.Scalar": _scaled("Sub"),
    "aten.rsub.Scalar": _rsub,
    "aten.rsub.Tensor": _rsub,
    "aten.mul.Tensor": plain("Mul"),
    "aten.mul.Scalar": plain("Mul"),
    "aten.div.Tensor": plain("Div"),
    "aten.div.Scalar": plain("Div"),
    "aten.maximum.default": plain("Max"),
    "aten.max.other": plain("Max"),
    "aten.minimum.default": plain("Min"),
    "aten.min.other": plain("Min"),
    "aten.pow.Tensor_Scalar": plain("Pow"),
    "aten.pow.Scalar": _power_of_number,
    "aten.sqrt.default": plain("Sqrt"),
    "aten.rsqrt.default": _rsqrt,
    "aten.exp.default": plain("Exp"),
    "aten.log.default": plain("Log"),
    "aten.abs.default": plain("Abs"),
    "aten.neg.default": plain("Neg"),
    "aten.reciprocal.default": plain("Reciprocal"),
    "aten.linear.default": _linear,
    "aten.addmm.default": _addmm,
    "aten.mm.default": plain("MatMul"),
    "aten.bmm.default": plain("MatMul"),
    "aten.matmul.default": plain("MatMul"),
    "aten.mean.dim": _reduce("ReduceMean"),
    "aten.mean.default": _reduce("ReduceMean"),
    "aten.sum.dim_IntList": _reduce("ReduceSum"),
    "aten.sum.default": _reduce("ReduceSum"),
    "aten.amax.default": _reduce("ReduceMax"),
    "aten.amin.default": _reduce("ReduceMin"),
    "aten.max.default": _reduce("ReduceMax"),
    "aten.min.default": _reduce("ReduceMin"),
    "aten.max.dim": _extreme("ReduceMax"),
    "aten.min.dim": _extreme("ReduceMin"),
    "aten.argmax.default": _argmax,
    "aten.linalg_vector_norm.default": _norm,
    "aten.lerp.Scalar": _lerp,
    "aten.lerp.Tensor": _lerp,
    "aten.where.self": plain("Where"),
    "aten.where.ScalarOther": plain("Where"),
    "aten.where.ScalarSelf": plain("Where"),
    "aten.gt.Scalar": plain("Greater"),
    "aten.gt.Tensor": plain("Greater"),
    "aten.ge.Scalar": plain("GreaterOrEqual"),
    "aten.ge.Tensor": plain("GreaterOrEqual"),
    "aten.lt.Scalar": plain("Less"),
    "aten.lt.Tensor": plain("Less"),
    "aten.le.Scalar": plain("LessOrEqual"),
    "aten.le.Tensor": plain("LessOrEqual"),
    "aten.eq.Scalar": plain("Equal"),
    "aten.eq.Tensor": plain("Equal"),
    "aten.logical_not.default": plain("Not"),
    "aten.logical_and.default": plain("And"),
}
