"""Every other layer, as nodes with ONNX meaning."""

import numpy as np

from stepcell.importers.keras import windows
from stepcell.importers.keras.activations import activated
from stepcell.importers.keras.layer import Layer, Shape, Tensor, Translator, features_of, only, over_steps

_FREE_OF_TIME = {
    "Dense",
    "Activation",
    "Dropout",
    "LayerNormalization",
    "BatchNormalization",
    "ReLU",
    "LeakyReLU",
    "ELU",
    "Softmax",
}
"""What TimeDistributed may wrap: they work along the last axis, whatever is before it."""


def _same(layer: Layer, inputs: list[Tensor]) -> Tensor:
    return only(layer, inputs)


def _dense(layer: Layer, inputs: list[Tensor]) -> Tensor:
    x, units = only(layer, inputs), int(layer.option("units"))
    shapes: list[tuple[int, ...]] = [(features_of(layer, x), units)]
    shapes += [(units,)] if layer.option("use_bias", True) else []
    weights, *bias = layer.weights(*shapes)
    y = layer.one("MatMul", x.name, layer.constant(weights))
    if bias:
        y = layer.one("Add", y, layer.constant(bias[0]))
    return Tensor(activated(layer, y, layer.option("activation")), (*x.shape[:-1], units))


def _embedding(layer: Layer, inputs: list[Tensor]) -> Tensor:
    x = only(layer, inputs)
    if layer.option("mask_zero", False):
        raise layer.refuse(
            "masks the token 0, and nothing is masked here",
            "train with mask_zero=False, on sequences of equal length or cut at their end.",
        )
    size, width = int(layer.option("input_dim")), int(layer.option("output_dim"))
    (table,) = layer.weights((size, width))
    return Tensor(layer.one("Gather", layer.constant(table), x.name, axis=0), (*x.shape, width))


def _activation(layer: Layer, inputs: list[Tensor]) -> Tensor:
    x = only(layer, inputs)
    return Tensor(activated(layer, x.name, layer.option("activation")), x.shape)


def _softmax(layer: Layer, inputs: list[Tensor]) -> Tensor:
    x = only(layer, inputs)
    if layer.option("axis", -1) not in (-1, [-1], x.rank - 1):
        raise layer.refuse("runs over another axis than the last", "use axis=-1.")
    return Tensor(layer.one("Softmax", x.name, axis=-1), x.shape)


def _relu(layer: Layer, inputs: list[Tensor]) -> Tensor:
    x = only(layer, inputs)
    slope = float(layer.option("negative_slope", 0.0) or 0.0)
    greatest = layer.option("max_value")
    if layer.option("threshold", 0.0):
        raise layer.refuse("has a threshold; none is allowed", "use threshold=0.")
    y = layer.one("LeakyRelu", x.name, alpha=slope) if slope else layer.one("Relu", x.name)
    if greatest is not None:
        y = layer.one("Min", y, layer.constant(np.float32(greatest)))
    return Tensor(y, x.shape)


def _leaky_relu(layer: Layer, inputs: list[Tensor]) -> Tensor:
    x = only(layer, inputs)
    slope = layer.option("negative_slope", layer.option("alpha", 0.3))
    return Tensor(layer.one("LeakyRelu", x.name, alpha=float(slope)), x.shape)


def _elu(layer: Layer, inputs: list[Tensor]) -> Tensor:
    x = only(layer, inputs)
    return Tensor(layer.one("Elu", x.name, alpha=float(layer.option("alpha", 1.0))), x.shape)


def _last_axis(layer: Layer, x: Tensor) -> int:
    """The size of the last axis, which the layer has to normalize over."""
    axis = layer.option("axis", -1)
    axes = list(axis) if isinstance(axis, list | tuple) else [axis]
    if axes not in ([-1], [x.rank - 1]):
        raise layer.refuse(f"normalizes over the axes {axes}; the last one is allowed", "use axis=-1.")
    return features_of(layer, x)


def _batch_normalization(layer: Layer, inputs: list[Tensor]) -> Tensor:
    x = only(layer, inputs)
    size = _last_axis(layer, x)
    scaled, centred = (bool(layer.option(key, True)) for key in ("scale", "center"))
    found = layer.weights(*[(size,)] * (2 + scaled + centred))
    gain = found.pop(0) if scaled else np.ones(size)
    shift = found.pop(0) if centred else np.zeros(size)
    tensors = [layer.constant(array) for array in (gain, shift, *found)]
    epsilon = float(layer.option("epsilon", 1e-3))
    if x.rank == 2:
        return Tensor(layer.one("BatchNormalization", x.name, *tensors, epsilon=epsilon), x.shape)
    order = [0, x.rank - 1, *range(1, x.rank - 1)]
    back = [0, *range(2, x.rank), 1]
    turned = layer.one("Transpose", x.name, perm=order)
    y = layer.one("BatchNormalization", turned, *tensors, epsilon=epsilon)
    return Tensor(layer.one("Transpose", y, perm=back), x.shape)


def _layer_normalization(layer: Layer, inputs: list[Tensor]) -> Tensor:
    x = only(layer, inputs)
    size = _last_axis(layer, x)
    if layer.option("rms_scaling", False):
        raise layer.refuse("has rms_scaling=True, which is not allowed", "use rms_scaling=False.")
    scaled, centred = (bool(layer.option(key, True)) for key in ("scale", "center"))
    found = layer.weights(*[(size,)] * (scaled + centred))
    gain = found.pop(0) if scaled else np.ones(size)
    shift = found.pop(0) if centred else np.zeros(size)
    tensors = (layer.constant(array) for array in (gain, shift))
    epsilon = float(layer.option("epsilon", 1e-3))
    return Tensor(layer.one("LayerNormalization", x.name, *tensors, axis=-1, epsilon=epsilon), x.shape)


def _global(op: str) -> Translator:
    def translate(layer: Layer, inputs: list[Tensor]) -> Tensor:
        x = over_steps(layer, inputs)
        keep = bool(layer.option("keepdims", False))
        y = layer.one(op, x.name, layer.ints(1), keepdims=int(keep))
        return Tensor(y, (1, x.shape[1]) if keep else (x.shape[1],))

    return translate


def _merge(op: str) -> Translator:
    def translate(layer: Layer, inputs: list[Tensor]) -> Tensor:
        y = inputs[0].name
        for other in inputs[1:]:
            y = layer.one(op, y, other.name)
        return Tensor(y, max((x.shape for x in inputs), key=len))

    return translate


def _average(layer: Layer, inputs: list[Tensor]) -> Tensor:
    total = _merge("Add")(layer, inputs)
    return Tensor(layer.one("Mul", total.name, layer.constant(np.float32(1 / len(inputs)))), total.shape)


def _concatenate(layer: Layer, inputs: list[Tensor]) -> Tensor:
    if layer.option("axis", -1) not in (-1, inputs[0].rank - 1):
        raise layer.refuse("joins another axis than the last", "use axis=-1.")
    joined = layer.one("Concat", *(x.name for x in inputs), axis=inputs[0].rank - 1)
    sizes = [features_of(layer, x) for x in inputs]
    return Tensor(joined, (*inputs[0].shape[:-1], sum(sizes)))


def _flatten(layer: Layer, inputs: list[Tensor]) -> Tensor:
    x = only(layer, inputs)
    return Tensor(layer.one("Flatten", x.name, axis=1), (_product(x.shape),))


def _product(shape: Shape) -> int | None:
    total = 1
    for size in shape:
        if size is None:
            return None
        total *= size
    return total


def _reshape(layer: Layer, inputs: list[Tensor]) -> Tensor:
    x, target = only(layer, inputs), [int(n) for n in layer.option("target_shape")]
    whole = _product(x.shape)
    if -1 in target and whole is not None:
        rest = -(_product(tuple(target)) or -1)
        target[target.index(-1)] = whole // rest
    shape = tuple(None if n == -1 else n for n in target)
    return Tensor(layer.one("Reshape", x.name, layer.ints(0, *target)), shape)


def _permute(layer: Layer, inputs: list[Tensor]) -> Tensor:
    x, axes = only(layer, inputs), [int(axis) for axis in layer.option("dims")]
    return Tensor(layer.one("Transpose", x.name, perm=[0, *axes]), tuple(x.shape[axis - 1] for axis in axes))


def _rescaling(layer: Layer, inputs: list[Tensor]) -> Tensor:
    x = only(layer, inputs)
    y = layer.one("Mul", x.name, layer.constant(np.asarray(layer.option("scale"), np.float64)))
    offset = np.asarray(layer.option("offset", 0.0), np.float64)
    return Tensor(layer.one("Add", y, layer.constant(offset)), x.shape)


def _time_distributed(layer: Layer, inputs: list[Tensor]) -> Tensor:
    inner = layer.option("layer")
    if not isinstance(inner, dict) or inner.get("class_name") not in _FREE_OF_TIME:
        raise layer.refuse(
            "wraps a layer that is not allowed; allowed are " + ", ".join(sorted(_FREE_OF_TIME)),
            "wrap one of those.",
        )
    kind = str(inner["class_name"])
    path = "layer" if layer.file.file.lower().endswith(".keras") else ""
    one = Layer(layer.file, layer.builder, kind, dict(inner["config"]), layer.name, path)
    return TRANSLATORS[kind](one, inputs)


def _masking(layer: Layer, inputs: list[Tensor]) -> Tensor:
    del inputs
    raise layer.refuse(
        "masks frames, and nothing is masked here",
        "train without Masking, on sequences of equal length or cut at their end.",
    )


TRANSLATORS: dict[str, Translator] = {
    "Dense": _dense,
    "Embedding": _embedding,
    "Activation": _activation,
    "Softmax": _softmax,
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "ELU": _elu,
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization,
    "Conv1D": windows.conv1d,
    "DepthwiseConv1D": windows.depthwise_conv1d,
    "MaxPooling1D": windows.pool("MaxPool"),
    "AveragePooling1D": windows.pool("AveragePool"),
    "GlobalAveragePooling1D": _global("ReduceMean"),
    "GlobalMaxPooling1D": _global("ReduceMax"),
    "Add": _merge("Add"),
    "Subtract": _merge("Sub"),
    "Multiply": _merge("Mul"),
    "Maximum": _merge("Max"),
    "Minimum": _merge("Min"),
    "Average": _average,
    "Concatenate": _concatenate,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Permute": _permute,
    "ZeroPadding1D": windows.zero_padding,
    "Rescaling": _rescaling,
    "TimeDistributed": _time_distributed,
    "Masking": _masking,
    **dict.fromkeys(
        ("Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "ActivityRegularization"), _same
    ),
}
