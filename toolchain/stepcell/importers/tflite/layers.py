"""Fully connected layers, convolutions and pooling. TensorFlow has channels last, ONNX second."""

from typing import Any

import numpy as np

from stepcell.importers.tflite.schema import Operator
from stepcell.importers.tflite.translation import Translation, Translator

_FIRST, _LAST = [0, 3, 1, 2], [0, 2, 3, 1]
"""Channels last to second, and back."""


def _fully_connected(t: Translation, op: Operator) -> None:
    """x W^T + b over the last axis; without `keep_axes` all others become one."""
    if op.options["format"]:
        raise t.refuse(op, "has shuffled weights; plain ones are allowed", "convert the model again.")
    x, shape = t.x(op, 0), t.shape(op, 0)
    weights = t.constant(op, 1)
    if weights.ndim != 2 or not shape:
        raise t.refuse(op, "has weights that are no matrix", "convert the model again.")
    flat = len(shape) > 2 and not op.options["keep_axes"]
    if flat or shape[-1] != weights.shape[1]:
        x = t.one(op, "Reshape", x, t.builder.ints(-1, weights.shape[1]))
    made = t.one(op, "MatMul", x, t.builder.constant(weights.T))
    bias = t.optional(op, 2)
    t.activated(op, made if bias is None else t.one(op, "Add", made, t.builder.constant(bias)))


def _conv(t: Translation, op: Operator) -> None:
    """Weights [O, H, W, I]."""
    _convolve(t, op, t.constant(op, 1).transpose(0, 3, 1, 2), 1)


def _depthwise(t: Translation, op: Operator) -> None:
    """Weights [1, H, W, I * multiplier]: output channel o belongs to input channel o // multiplier."""
    weights, channels = t.constant(op, 1), t.shape(op, 0)[-1]
    if weights.shape[0] != 1 or weights.shape[-1] % channels:
        raise t.refuse(op, "has weights that do not fit its input", "convert the model again.")
    _convolve(t, op, weights.transpose(3, 0, 1, 2), channels)


def _convolve(t: Translation, op: Operator, weights: np.ndarray, groups: int) -> None:
    shape, o = t.shape(op, 0), op.options
    strides, dilations = (o["stride_h"], o["stride_w"]), (o["dilation_h"], o["dilation_w"])
    if len(shape) != 4 or weights.shape[1] * groups != shape[3] or min(*strides, *dilations) < 1:
        raise t.refuse(op, "has weights that do not fit its input", "convert the model again.")
    pads = _pads(shape[1:3], weights.shape[2:], strides, dilations, o["padding"])
    bias = t.optional(op, 2)
    tensors = [t.builder.constant(array) for array in (weights, bias) if array is not None]
    attributes: dict[str, Any] = {"strides": strides, "dilations": dilations, "pads": pads, "group": groups}
    _channels_second(t, op, "Conv", tensors, attributes, weights.shape[2])


def _pool(kind: str) -> Translator:
    def translate(t: Translation, op: Operator) -> None:
        shape, o = t.shape(op, 0), op.options
        strides, kernel = (o["stride_h"], o["stride_w"]), (o["height"], o["width"])
        if len(shape) != 4 or min(*strides, *kernel) < 1:
            raise t.refuse(op, "has a window that does not fit its input", "convert the model again.")
        pads = _pads(shape[1:3], kernel, strides, (1, 1), o["padding"])
        attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "pads": pads}
        _channels_second(t, op, kind, [], attributes, o["height"])

    return translate


def _channels_second(
    t: Translation, op: Operator, kind: str, tensors: list[str], attributes: dict[str, Any], height: int
) -> None:
    """The node between transposes; over one axis where the other has size one, as Keras writes Conv1D."""
    shape = t.shape(op, 0)
    if shape[1] == 1 and height == 1 and all(attributes["pads"][i] == 0 for i in (0, 2)):
        axis, keep = 1, slice(1, 2)
    elif shape[2] == 1 and _width(t, tensors, attributes) == 1 and _no_pads(attributes, 1):
        axis, keep = 2, slice(0, 1)
    else:
        x = t.one(op, "Transpose", t.x(op), perm=_FIRST)
        made = t.one(op, kind, x, *tensors, **_listed(attributes))
        t.activated(op, t.one(op, "Transpose", made, perm=_LAST))
        return
    x = t.one(op, "Transpose", t.squeeze(op, t.x(op), axis), perm=[0, 2, 1])
    if tensors:
        squeezed = t.builder.constants[tensors[0]].squeeze(1 + axis)
        tensors = [t.builder.constant(squeezed), *tensors[1:]]
    made = t.one(op, kind, x, *tensors, **_listed(attributes, keep))
    turned = t.one(op, "Transpose", made, perm=[0, 2, 1])
    active = t.activation(op, turned, int(op.options["activation"]))
    t.result(op, t.unsqueeze(op, active, axis))


def _width(t: Translation, tensors: list[str], attributes: dict[str, Any]) -> int:
    if tensors:
        return int(t.builder.constants[tensors[0]].shape[3])
    return int(attributes["kernel_shape"][1])


def _no_pads(attributes: dict[str, Any], axis: int) -> bool:
    pads = list(attributes["pads"])
    return bool(pads[axis] == 0 and pads[axis + 2] == 0)


def _listed(attributes: dict[str, Any], keep: slice = slice(0, 2)) -> dict[str, Any]:
    """Attributes of two axes, or of one."""
    found: dict[str, Any] = {}
    for key, value in attributes.items():
        if not isinstance(value, tuple):
            found[key] = value
        elif key == "pads":
            found[key] = [*value[:2][keep], *value[2:][keep]]
        else:
            found[key] = list(value[keep])
    return found


def _pads(
    sizes: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    padding: int,
) -> tuple[int, ...]:
    """ONNX pads: befores, then afters. SAME (0) gives ceil(size / stride) outputs, the odd zero after."""
    totals = [0, 0]
    if padding == 0:
        for i, (n, k, s, d) in enumerate(zip(sizes, kernel, strides, dilations, strict=True)):
            totals[i] = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
    befores = [total // 2 for total in totals]
    return (*befores, *(total - before for total, before in zip(totals, befores, strict=True)))


TRANSLATORS: dict[str, Translator] = {
    "FULLY_CONNECTED": _fully_connected,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "AVERAGE_POOL_2D": _pool("AveragePool"),
    "MAX_POOL_2D": _pool("MaxPool"),
}
