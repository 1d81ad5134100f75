"""Layers over windows of frames: convolutions, pooling and padding."""

from typing import Any

from stepcell.importers.keras.activations import activated
from stepcell.importers.keras.layer import Layer, Tensor, Translator, features_of, over_steps


def conv1d(layer: Layer, inputs: list[Tensor]) -> Tensor:
    """Weights [K, I/groups, O]."""
    x, filters = over_steps(layer, inputs), int(layer.option("filters"))
    (kernel,), groups = layer.option("kernel_size"), int(layer.option("groups", 1))
    features = features_of(layer, x)
    shapes: list[tuple[int, ...]] = [(kernel, features // groups, filters)]
    shapes += [(filters,)] if layer.option("use_bias", True) else []
    weights, *bias = layer.weights(*shapes)
    return _convolved(layer, x, weights.transpose(2, 1, 0), bias, groups)


def depthwise_conv1d(layer: Layer, inputs: list[Tensor]) -> Tensor:
    """Weights [K, I, multiplier]: output channel i * multiplier + m."""
    x, times = over_steps(layer, inputs), int(layer.option("depth_multiplier", 1))
    (kernel,), features = layer.option("kernel_size"), features_of(layer, x)
    shapes: list[tuple[int, ...]] = [(kernel, features, times)]
    shapes += [(features * times,)] if layer.option("use_bias", True) else []
    weights, *bias = layer.weights(*shapes)
    rows = weights.transpose(1, 2, 0).reshape(features * times, 1, kernel)
    return _convolved(layer, x, rows, bias, features)


def _convolved(layer: Layer, x: Tensor, weights: Any, bias: list[Any], groups: int) -> Tensor:
    if layer.option("data_format", "channels_last") != "channels_last":
        raise layer.refuse("has its channels first", "use data_format='channels_last'.")
    (stride,) = layer.option("strides", [1])
    (dilation,) = layer.option("dilation_rate", [1])
    span = (weights.shape[2] - 1) * dilation
    pads = _pads(layer, x.shape[0], span + 1, stride)
    turned = layer.one("Transpose", x.name, perm=[0, 2, 1])
    tensors = (layer.constant(array) for array in (weights, *bias))
    y = layer.one("Conv", turned, *tensors, strides=[stride], dilations=[dilation], pads=pads, group=groups)
    y = layer.one("Transpose", y, perm=[0, 2, 1])
    steps = _positions(x.shape[0], span + 1, stride, pads)
    return Tensor(activated(layer, y, layer.option("activation")), (steps, weights.shape[0]))


def _pads(layer: Layer, steps: int | None, span: int, stride: int) -> list[int]:
    """[before, after] in time of a window that spans so many frames."""
    padding = layer.option("padding", "valid")
    if padding == "valid":
        return [0, 0]
    if padding == "causal":
        return [span - 1, 0]
    if padding != "same":
        raise layer.refuse(f"has the padding {padding}; valid, causal and same are allowed", "use causal.")
    if stride != 1 and steps is None:
        raise layer.refuse("has padding same and a stride over a free time axis", "use padding='causal'.")
    total = span - 1 if steps is None else max((-(-steps // stride) - 1) * stride + span - steps, 0)
    return [total // 2, total - total // 2]


def _positions(steps: int | None, span: int, stride: int, pads: list[int]) -> int | None:
    return None if steps is None else (steps + sum(pads) - span) // stride + 1


def pool(op: str) -> Translator:
    """The largest or the mean of every window."""

    def translate(layer: Layer, inputs: list[Tensor]) -> Tensor:
        x = over_steps(layer, inputs)
        size = _number(layer.option("pool_size", 2))
        stride = _number(layer.option("strides") or size)
        pads = _pads(layer, x.shape[0], size, stride)
        turned = layer.one("Transpose", x.name, perm=[0, 2, 1])
        y = layer.one(op, turned, kernel_shape=[size], strides=[stride], pads=pads)
        steps = _positions(x.shape[0], size, stride, pads)
        return Tensor(layer.one("Transpose", y, perm=[0, 2, 1]), (steps, x.shape[1]))

    return translate


def _number(value: Any) -> int:
    return int(value[0] if isinstance(value, list | tuple) else value)


def zero_padding(layer: Layer, inputs: list[Tensor]) -> Tensor:
    """Frames of zeros before and after."""
    x = over_steps(layer, inputs)
    before, after = _pair(layer.option("padding", 1))
    y = layer.one("Pad", x.name, layer.ints(0, before, 0, 0, after, 0), mode="constant")
    return Tensor(y, (None if x.shape[0] is None else x.shape[0] + before + after, x.shape[1]))


def _pair(value: Any) -> tuple[int, int]:
    first, second = value if isinstance(value, list | tuple) else (value, value)
    return int(first), int(second)
