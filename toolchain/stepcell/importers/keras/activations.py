"""Activations by their Keras names: as nodes, and as the gates of recurrent layers."""

from typing import Any

import numpy as np

from stepcell.importers.keras.layer import Layer

_NODES: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "softmax": ("Softmax", {"axis": -1}),
    "log_softmax": ("LogSoftmax", {"axis": -1}),
    "elu": ("Elu", {"alpha": 1.0}),
    "selu": ("Selu", {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}),
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
    "exponential": ("Exp", {}),
    "gelu": ("Gelu", {"approximate": "none"}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.2}),
}
_GATES = {
    "sigmoid": ("Sigmoid", None, None),
    "tanh": ("Tanh", None, None),
    "relu": ("Relu", None, None),
    "linear": ("Affine", 1.0, 0.0),
    "elu": ("Elu", 1.0, None),
    "softplus": ("Softplus", None, None),
    "softsign": ("Softsign", None, None),
}
"""(ONNX's name, alpha, beta)."""
_HARD = {2: (0.2, 0.5), 3: (1 / 6, 0.5)}
"""hard_sigmoid's slope and offset; Keras 3 changed the slope."""


def name_of(layer: Layer, activation: Any) -> str:
    """An activation's name; files also hold it as a serialized function."""
    if activation is None:
        return "linear"
    if isinstance(activation, dict):
        activation = activation.get("config", activation.get("class_name"))
    if not isinstance(activation, str):
        raise layer.refuse("has an activation of its own", "use one of Keras's by its name.")
    return activation


def activated(layer: Layer, x: str, activation: Any) -> str:
    """The activation of x, over the last axis where it is a softmax."""
    name = name_of(layer, activation)
    if name == "linear":
        return x
    if name in ("silu", "swish"):
        return layer.one("Mul", x, layer.one("Sigmoid", x))
    if name in ("hard_silu", "hard_swish"):
        return layer.one("HardSwish", x)
    if name == "hard_sigmoid":
        alpha, beta = _hard(layer)
        return layer.one("HardSigmoid", x, alpha=alpha, beta=beta)
    if name == "relu6":
        return layer.one("Clip", x, layer.constant(np.float32(0)), layer.constant(np.float32(6)))
    if name not in _NODES:
        raise layer.refuse(
            f"has the activation {name}; allowed are " + ", ".join(sorted([*_NODES, "hard_sigmoid", "silu"])),
            "train with one of those.",
        )
    op, attributes = _NODES[name]
    return layer.one(op, x, **attributes)


def gates(layer: Layer, activations: list[Any]) -> dict[str, Any]:
    """The attributes of an ONNX recurrent node for these activations."""
    found = [_gate(layer, name_of(layer, activation)) for activation in activations]
    attributes: dict[str, Any] = {"activations": [name for name, _, _ in found]}
    for key, index in (("activation_alpha", 1), ("activation_beta", 2)):
        numbers = [gate[index] for gate in found if gate[index] is not None]
        if numbers:
            attributes[key] = numbers
    return attributes


def _gate(layer: Layer, name: str) -> tuple[str, float | None, float | None]:
    if name == "hard_sigmoid":
        return ("HardSigmoid", *_hard(layer))
    if name not in _GATES:
        raise layer.refuse(
            f"has the activation {name}; allowed are " + ", ".join(sorted([*_GATES, "hard_sigmoid"])),
            "train with one of those.",
        )
    return _GATES[name]


def _hard(layer: Layer) -> tuple[float, float]:
    return _HARD[3 if layer.file.version >= 3 else 2]
