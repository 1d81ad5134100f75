"""What each aten operation is in nodes with ONNX meaning. Nothing here needs torch."""

from typing import Any

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.pytorch.builder import Builder, Translator
from stepcell.importers.pytorch.recurrent import gru, lstm, rnn_relu, rnn_tanh

Args = list[Any]
Kwargs = dict[str, Any]
_END = 2**63 - 1


def _same(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    return b.one("Identity", where, args[0])


def _dropout(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    if args[2] and args[1]:
        raise StepcellError(f"{b.file}: '{where}' drops values even in evaluation mode.", "use nn.Dropout.")
    return _same(b, where, args, kwargs)


def _filled(value: float) -> Translator:
    def make(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
        del where, kwargs
        return b.constant(np.full(args[0], value, np.float32))

    return make


def _full(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del where, kwargs
    return b.constant(np.full(args[0], args[1], np.float32))


def _linear(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    turned = b.one("Transpose", where, args[1], perm=[1, 0])
    product = b.one("MatMul", where, args[0], turned)
    return product if len(args) < 3 or args[2] is None else b.one("Add", where, product, args[2])


def _addmm(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    scales = {onnx: float(kwargs.get(name, 1.0)) for name, onnx in (("alpha", "alpha"), ("beta", "beta"))}
    return b.one("Gemm", where, args[1], args[2], args[0], **scales)


def _plain(op: str) -> Translator:
    def make(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
        del kwargs
        return b.one(op, where, *(b.operand(arg) for arg in args))

    return make


def _scaled(op: str) -> Translator:
    """add and sub, whose second operand may have a factor."""

    def make(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
        x, other = (b.operand(arg) for arg in args[:2])
        if kwargs.get("alpha", 1) != 1:
            other = b.one("Mul", where, other, b.operand(kwargs["alpha"]))
        return b.one(op, where, x, other)

    return make


def _rsub(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    """`1 - x`."""
    del kwargs
    x, other, *alpha = args
    if alpha and alpha[0] != 1:
        x = b.one("Mul", where, x, b.operand(alpha[0]))
    return b.one("Sub", where, b.operand(other), x)


def _softmax(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    return b.one("Softmax", where, args[0], axis=args[1])


def _select(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    return b.one("Gather", where, args[0], b.constant(np.int64(args[2])), axis=args[1])


def _slice(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    x, dim, start, end, step = args + [0, None, None, 1][len(args) - 1 :]
    ends = b.ints(_END if end is None else end)
    return b.one("Slice", where, x, b.ints(start or 0), ends, b.ints(dim), b.ints(step))


def _transpose(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    x, first, second = args
    return b.one("SwapAxes", where, x, axes=[first, second])


def _permute(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    rank = len(args[1])
    return b.one("Transpose", where, args[0], perm=[axis % rank for axis in args[1]])


def _t(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    return b.one("SwapAxes", where, args[0], axes=[-1, -2])


def _reshape(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    return b.one("Reshape", where, args[0], b.ints(*args[1]), allowzero=1)


def _with_axes(op: str) -> Translator:
    def make(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
        del kwargs
        axes = [] if len(args) < 2 else [args[1]] if isinstance(args[1], int) else list(args[1])
        return b.one(op, where, args[0], *([b.ints(*axes)] if axes else []))

    return make


def _cat(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    return b.one("Concat", where, *args[0], axis=args[1] if len(args) > 1 else 0)


def _reduce(op: str) -> Translator:
    def make(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
        del kwargs
        keep = bool(args[2]) if len(args) > 2 else False
        axes = args[1] if len(args) > 1 and args[1] is not None else []
        axes = [axes] if isinstance(axes, int) else list(axes)
        return b.one(op, where, args[0], *([b.ints(*axes)] if axes else []), keepdims=int(keep))

    return make


def _max_dim(b: Builder, where: str, args: Args, kwargs: Kwargs) -> list[str]:
    """Values only: reading the indices is refused, because nothing defines them."""
    return [_reduce("ReduceMax")(b, where, args, kwargs), f"{where}.indices"]


def _flatten(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    x, start, end = args + [0, -1][len(args) - 1 :]
    return b.one("FlattenAxes", where, x, start=start, end=end)


TRANSLATORS: dict[str, Translator] = {
    "aten.lstm.input": lstm,
    "aten.gru.input": gru,
    "aten.rnn_tanh.input": rnn_tanh,
    "aten.rnn_relu.input": rnn_relu,
    "aten.linear.default": _linear,
    "aten.addmm.default": _addmm,
    "aten.mm.default": _plain("MatMul"),
    "aten.matmul.default": _plain("MatMul"),
    "aten.relu.default": _plain("Relu"),
    "aten.relu_.default": _plain("Relu"),
    "aten.sigmoid.default": _plain("Sigmoid"),
    "aten.tanh.default": _plain("Tanh"),
    "aten.softmax.int": _softmax,
    "aten._softmax.default": _softmax,
    "aten.add.Tensor": _scaled("Add"),
    "aten.sub.Tensor": _scaled("Sub"),
    "aten.rsub.Scalar": _rsub,
    "aten.mul.Tensor": _plain("Mul"),
    "aten.div.Tensor": _plain("Div"),
    "aten.maximum.default": _plain("Max"),
    "aten.select.int": _select,
    "aten.slice.Tensor": _slice,
    "aten.transpose.int": _transpose,
    "aten.permute.default": _permute,
    "aten.t.default": _t,
    "aten.numpy_T.default": _t,
    "aten.view.default": _reshape,
    "aten.reshape.default": _reshape,
    "aten._unsafe_view.default": _reshape,
    "aten.flatten.using_ints": _flatten,
    "aten.squeeze.default": _with_axes("Squeeze"),
    "aten.squeeze.dim": _with_axes("Squeeze"),
    "aten.squeeze.dims": _with_axes("Squeeze"),
    "aten.unsqueeze.default": _with_axes("Unsqueeze"),
    "aten.cat.default": _cat,
    "aten.mean.dim": _reduce("ReduceMean"),
    "aten.amax.default": _reduce("ReduceMax"),
    "aten.max.dim": _max_dim,
    "aten.dropout.default": _dropout,
    "aten.zeros.default": _filled(0.0),
    "aten.ones.default": _filled(1.0),
    "aten.full.default": _full,
    "aten.clone.default": _same,
    "aten.contiguous.default": _same,
    "aten.detach.default": _same,
    "aten.detach_.default": _same,
    "aten.alias.default": _same,
    "aten.lift_fresh_copy.default": _same,
}
