"""Activation functions: what torch.nn.functional has, as the ONNX operators that compute the same."""

from typing import Any

from stepcell.errors import StepcellError
from stepcell.importers.builder import Builder, Translator

Args = list[Any]
Kwargs = dict[str, Any]


def plain(op: str) -> Translator:
    """Every operand goes to the ONNX operator as it is."""

    def make(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
        del kwargs
        return b.one(op, where, *(b.operand(arg) for arg in args))

    return make


def _with(op: str, *names: str, **defaults: float) -> Translator:
    """Numbers after the input are the operator's attributes `names`."""

    def make(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
        del kwargs
        given = {name: float(value) for name, value in zip(names, args[1:], strict=False)}
        return b.one(op, where, args[0], **{**defaults, **given})

    return make


def _dropout(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    if args[2] and args[1]:
        raise StepcellError(f"{b.file}: '{where}' drops values even in evaluation mode.", "use nn.Dropout.")
    return b.one("Identity", where, args[0])


def _native_dropout(b: Builder, where: str, args: Args, kwargs: Kwargs) -> list[str]:
    return [_dropout(b, where, args, kwargs)]


def _elu(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    x, alpha, scale, input_scale = args + [1.0, 1.0, 1.0][len(args) - 1 :]
    if input_scale != 1:
        x = b.one("Mul", where, x, b.operand(input_scale))
    y = b.one("Elu", where, x, alpha=float(alpha))
    return y if scale == 1 else b.one("Mul", where, y, b.operand(scale))


def _gelu(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    return b.one("Gelu", where, args[0], approximate=str(kwargs.get("approximate", "none")))


def clip(b: Builder, where: str, x: str, least: float | None, greatest: float | None) -> str:
    """Clip to a range, either end of which may be open."""
    bounds = ["" if bound is None else b.operand(bound) for bound in (least, greatest)]
    return b.one("Clip", where, x, *bounds)


def _clamp(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    x, least, greatest = args + [kwargs.get("min"), kwargs.get("max")][len(args) - 1 :]
    return clip(b, where, x, least, greatest)


def _hardtanh(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    x, least, greatest = args + [-1.0, 1.0][len(args) - 1 :]
    return clip(b, where, x, least, greatest)


def _clamp_max(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    return clip(b, where, args[0], None, args[1])


def _relu6(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    return clip(b, where, args[0], 0.0, 6.0)


def softplus(b: Builder, where: str, x: str, beta: float = 1.0) -> str:
    """log(1 + exp(beta x)) / beta; PyTorch's threshold changes less than 1e-8."""
    if beta == 1:
        return b.one("Softplus", where, x)
    y = b.one("Softplus", where, b.one("Mul", where, x, b.operand(beta)))
    return b.one("Mul", where, y, b.operand(1.0 / beta))


def _softplus(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    if len(args) > 2 and args[2] < 20:
        raise StepcellError(
            f"{b.file}: node '{where}' is a softplus with threshold {args[2]}; 20 or more is allowed.",
            "leave the threshold out.",
        )
    return softplus(b, where, args[0], args[1] if len(args) > 1 else 1.0)


def _log_sigmoid(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    return b.one("Neg", where, softplus(b, where, b.one("Neg", where, args[0])))


def _mish(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    return b.one("Mul", where, args[0], b.one("Tanh", where, softplus(b, where, args[0])))


def _silu(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    return b.one("Mul", where, args[0], b.one("Sigmoid", where, args[0]))


def _prelu(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    """A slope per channel; channels are axis 1."""
    del kwargs
    x, slope = args
    array = b.constants[slope]
    rows = (-1, *[1] * (b.rank(x) - 2)) if array.size > 1 else (1,)
    return b.one("PRelu", where, x, b.constant(array.reshape(rows)))


def _threshold(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    x, threshold, value = args
    if value != 0:
        raise StepcellError(
            f"{b.file}: node '{where}' is a threshold that gives {value}; 0 is allowed.", "use value 0."
        )
    return b.one("ThresholdedRelu", where, x, alpha=float(threshold))


def _softmax(op: str) -> Translator:
    def make(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
        del kwargs
        return b.one(op, where, args[0], axis=args[1])

    return make


TRANSLATORS: dict[str, Translator] = {
    "aten.relu.default": plain("Relu"),
    "aten.sigmoid.default": plain("Sigmoid"),
    "aten.tanh.default": plain("Tanh"),
    "aten.erf.default": plain("Erf"),
    "aten.leaky_relu.default": _with("LeakyRelu", "alpha", alpha=0.01),
    "aten.elu.default": _elu,
    "aten.selu.default": plain("Selu"),
    "aten.celu.default": _with("Celu", "alpha", alpha=1.0),
    "aten.gelu.default": _gelu,
    "aten.silu.default": _silu,
    "aten.mish.default": _mish,
    "aten.hardswish.default": plain("HardSwish"),
    "aten.hardsigmoid.default": _with("HardSigmoid", alpha=1 / 6, beta=0.5),
    "aten.hardtanh.default": _hardtanh,
    "aten.relu6.default": _relu6,
    "aten.clamp.default": _clamp,
    "aten.clamp_min.default": _clamp,
    "aten.clamp_max.default": _clamp_max,
    "aten.softplus.default": _softplus,
    "aten.log_sigmoid.default": _log_sigmoid,
    "aten.prelu.default": _prelu,
    "aten._prelu_kernel.default": plain("PRelu"),
    "aten.threshold.default": _threshold,
    "aten.softmax.int": _softmax("Softmax"),
    "aten._softmax.default": _softmax("Softmax"),
    "aten.log_softmax.int": _softmax("LogSoftmax"),
    "aten._log_softmax.default": _softmax("LogSoftmax"),
    "aten.dropout.default": _dropout,
    "aten.native_dropout.default": _native_dropout,
    "aten.feature_dropout.default": _dropout,
    "aten.alpha_dropout.default": _dropout,
}
