"""Embedding, convolutions, normalisations and pooling: nodes with ONNX's attributes."""

from typing import Any

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.builder import Builder, Translator
from stepcell.importers.pytorch.arithmetic import reduced

Args = list[Any]
Kwargs = dict[str, Any]


def _embedding(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    return b.one("Gather", where, args[0], args[1], axis=0)


def _many(value: Any, axes: int) -> list[int]:
    """A setting for every spatial axis; one number stands for all."""
    values = [value] if isinstance(value, int) else list(value)
    return values * axes if len(values) == 1 else values


def _spatial(b: Builder, weights: str) -> int:
    return b.rank(weights) - 2


def _batched(b: Builder, where: str, op: str, x: str, spatial: int, rest: Args, **attributes: Any) -> str:
    """The operator on [batch, channels, ...]; an input without a batch axis gets one."""
    if b.rank(x) == spatial + 2:
        return b.one(op, where, x, *rest, **attributes)
    zero = b.ints(0)
    return b.one(
        "Squeeze", where, b.one(op, where, b.one("Unsqueeze", where, x, zero), *rest, **attributes), zero
    )


def _bias(bias: str | None) -> list[str]:
    return [] if bias is None else [bias]


def _convolution(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    """conv1d and conv2d: x, weight, bias, stride, padding, dilation, groups."""
    del kwargs
    x, weights, bias, stride, padding, dilation, groups = args + [None, 1, 0, 1, 1][len(args) - 2 :]
    axes = _spatial(b, weights)
    if padding == "valid":
        padding = 0
    attributes: dict[str, Any] = (
        {"auto_pad": "SAME_UPPER"} if padding == "same" else {"pads": _many(padding, axes) * 2}
    )
    attributes |= {"strides": _many(stride, axes), "dilations": _many(dilation, axes), "group": groups}
    return _batched(b, where, "Conv", x, axes, [weights, *_bias(bias)], **attributes)


def _same_convolution(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    """padding="same": what is odd goes behind, as in ONNX's SAME_UPPER."""
    x, weights, bias, stride, padding, dilation, groups = args + [None, 1, "valid", 1, 1][len(args) - 2 :]
    if padding == "same":
        axes = _spatial(b, weights)
        taps = b.shapes[weights][2:]
        total = [(n - 1) * d for n, d in zip(taps, _many(dilation, axes), strict=True)]
        before = [n // 2 for n in total]
        after = [n - m for n, m in zip(total, before, strict=True)]
        pads = {"pads": [*before, *after], "strides": [1] * axes, "dilations": _many(dilation, axes)}
        return _batched(b, where, "Conv", x, axes, [weights, *_bias(bias)], group=groups, **pads)
    return _convolution(b, where, [x, weights, bias, stride, 0, dilation, groups], kwargs)


def _transposed(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    """conv_transpose1d and 2d: x, weight, bias, stride, padding, output_padding, groups, dilation."""
    del kwargs
    x, weights, bias, stride, padding, extra, groups, dilation = args + [None, 1, 0, 0, 1, 1][len(args) - 2 :]
    axes = _spatial(b, weights)
    return _batched(
        b,
        where,
        "ConvTranspose",
        x,
        axes,
        [weights, *_bias(bias)],
        strides=_many(stride, axes),
        pads=_many(padding, axes) * 2,
        output_padding=_many(extra, axes),
        dilations=_many(dilation, axes),
        group=groups,
    )


def _any_convolution(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    """aten.convolution: as above, transposed or not."""
    x, weights, bias, stride, padding, dilation, transposed, extra, groups = args
    if transposed:
        return _transposed(b, where, [x, weights, bias, stride, padding, extra, groups, dilation], kwargs)
    return _convolution(b, where, [x, weights, bias, stride, padding, dilation, groups], kwargs)


def _nearest(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    """upsample_nearest1d and 2d: x, sizes or None, factors or None; sizes as factors of the traced ones."""
    del kwargs
    x, sizes, factors = args + [None] * (3 - len(args))
    shape = b.shapes[x][2:]
    if sizes is not None:
        if any(isinstance(size, str) for size in sizes):
            raise StepcellError(
                f"{b.file}: node '{where}' resizes to a computed size; a factor is allowed.",
                "use scale_factor=2.",
            )
        factors = [size / n for size, n in zip(sizes, shape, strict=True)]
    scales = b.constant(np.array([1.0, 1.0, *_many(factors, len(shape))], np.float32))
    return b.one(
        "Resize", where, x, "", scales, coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    )


def _batch_norm(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    """x, weight, bias, mean, variance, training, momentum, epsilon."""
    del kwargs
    x, gain, bias, mean, variance, training, _, epsilon = args[:8]
    if training or mean is None:
        raise StepcellError(
            f"{b.file}: node '{where}' normalises by the batch's own mean; stored statistics are allowed.",
            "leave track_running_stats on.",
        )
    channels = b.shapes[mean][0]
    gain = b.constant(np.ones(channels, np.float32)) if gain is None else gain
    bias = b.constant(np.zeros(channels, np.float32)) if bias is None else bias
    return b.one("BatchNormalization", where, x, gain, bias, mean, variance, epsilon=float(epsilon))


def _own_batch_norm(b: Builder, where: str, args: Args, kwargs: Kwargs) -> list[str]:
    """What PyTorch makes of batch_norm in evaluation mode: no `training`, three results."""
    return [_batch_norm(b, where, [*args[:5], False, *args[5:]], kwargs)]


def _training_norm(b: Builder, where: str, args: Args, kwargs: Kwargs) -> list[str]:
    """And of one that has no statistics."""
    return [_batch_norm(b, where, [*args[:3], None, None, True, *args[-2:]], kwargs)]


def _layer_norm(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    x, shape, gain, bias, epsilon = args[:5] + [None, None, 1e-5][len(args[:5]) - 2 :]
    gain = b.constant(np.ones(shape, np.float32)) if gain is None else gain
    return b.one("LayerNormalization", where, x, gain, *_bias(bias), axis=-len(shape), epsilon=float(epsilon))


def _pool(op: str, axes: int) -> Translator:
    """max_pool: x, kernel, stride, padding, dilation, ceil; avg_pool: ... padding, ceil, count pads."""

    def make(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
        del kwargs
        x, kernel, stride, padding, *more = args + [[], 0][len(args) - 2 :]
        window = _many(kernel, axes)
        attributes: dict[str, Any] = {"kernel_shape": window, "pads": _many(padding, axes) * 2}
        attributes["strides"] = _many(stride, axes) if stride not in ([], None) else window
        if op == "MaxPool":
            dilation, ceil = more + [1, False][len(more) :]
            attributes["dilations"] = _many(dilation, axes)
        else:
            ceil, included = more[:2] + [False, True][len(more) :]
            attributes["count_include_pad"] = int(included)
            if len(more) > 2 and more[2] is not None:
                raise StepcellError(
                    f"{b.file}: node '{where}' divides by {more[2]}; the size of its window is allowed.",
                    "leave divisor_override out.",
                )
        return _batched(b, where, op, x, axes, [], ceil_mode=int(ceil), **attributes)

    return make


def _adaptive(op: str, axes: int) -> Translator:
    """Adaptive pooling to one value."""

    def make(b: Builder, where: str, args: Args, kwargs: Kwargs) -> Any:
        del kwargs
        x, size = args
        if set(_many(size, axes)) != {1}:
            raise StepcellError(
                f"{b.file}: node '{where}' pools to {_many(size, axes)} values; one value is allowed.",
                "use nn.AvgPool or nn.MaxPool with a kernel size.",
            )
        return reduced(op, b, where, x, list(range(-axes, 0)), True)

    return make


def _adaptive_max(axes: int) -> Translator:
    def make(b: Builder, where: str, args: Args, kwargs: Kwargs) -> list[str]:
        return [_adaptive("ReduceMax", axes)(b, where, args, kwargs), f"{where}.indices"]

    return make


TRANSLATORS: dict[str, Translator] = {
    "aten.embedding.default": _embedding,
    "aten.conv1d.default": _convolution,
    "aten.conv2d.default": _convolution,
    "aten.conv1d.padding": _same_convolution,
    "aten.conv2d.padding": _same_convolution,
    "aten.conv_transpose1d.default": _transposed,
    "aten.conv_transpose2d.input": _transposed,
    "aten.convolution.default": _any_convolution,
    "aten.upsample_nearest1d.vec": _nearest,
    "aten.upsample_nearest2d.vec": _nearest,
    "aten.batch_norm.default": _batch_norm,
    "aten._native_batch_norm_legit_no_training.default": _own_batch_norm,
    "aten._native_batch_norm_legit.no_stats": _training_norm,
    "aten.layer_norm.default": _layer_norm,
    "aten.avg_pool1d.default": _pool("AveragePool", 1),
    "aten.avg_pool2d.default": _pool("AveragePool", 2),
    "aten.max_pool1d.default": _pool("MaxPool", 1),
    "aten.max_pool2d.default": _pool("MaxPool", 2),
    "aten.adaptive_avg_pool1d.default": _adaptive("ReduceMean", 1),
    "aten.adaptive_avg_pool2d.default": _adaptive("ReduceMean", 2),
    "aten.adaptive_max_pool1d.default": _adaptive_max(1),
    "aten.adaptive_max_pool2d.default": _adaptive_max(2),
}
