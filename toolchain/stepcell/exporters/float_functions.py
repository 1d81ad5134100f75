"""The functions of `Activate` and `Reduce` as nodes of opset 17."""

import math
from typing import Any, Protocol

import numpy as np

from stepcell.ir.model import FloatArray
from stepcell.ir.ops import Activate, Reduce
from stepcell.reference.float_functions import DEFAULTS


class Nodes(Protocol):
    """What collects the nodes (float_writer.Writer)."""

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Append a node of one output; its name."""

    def array(self, name: str, array: FloatArray) -> str:
        """A float32 initializer."""

    def ints(self, *values: int) -> str:
        """An initializer that is a list of integers."""


_PLAIN = {
    "identity": "Identity",
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "hard_swish": "HardSwish",
    "erf": "Erf",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "abs": "Abs",
    "neg": "Neg",
    "reciprocal": "Reciprocal",
}
_PARAMETERS = {
    "leaky_relu": ("LeakyRelu", ("alpha",)),
    "elu": ("Elu", ("alpha",)),
    "selu": ("Selu", ("alpha", "gamma")),
    "celu": ("Celu", ("alpha",)),
    "hard_sigmoid": ("HardSigmoid", ("alpha", "beta")),
    "thresholded_relu": ("ThresholdedRelu", ("alpha",)),
}


def activate(w: Nodes, op: Activate, x: str, y: str) -> str:
    """y = f(x)."""
    alpha, beta = DEFAULTS.get(op.function, (0.0, 0.0))
    alpha, beta = alpha if op.alpha is None else op.alpha, beta if op.beta is None else op.beta
    if op.function in ("softmax", "log_softmax"):
        return w.add("Softmax" if op.function == "softmax" else "LogSoftmax", [x], y, axis=-1)
    if op.function in _PLAIN:
        return w.add(_PLAIN[op.function], [x], y)
    if op.function in _PARAMETERS:
        operator, names = _PARAMETERS[op.function]
        return w.add(operator, [x], y, **dict(zip(names, (alpha, beta), strict=False)))
    return _composed(w, op, x, y, alpha, beta)


def _composed(w: Nodes, op: Activate, x: str, y: str, alpha: float, beta: float) -> str:
    """What has no operator in opset 17."""
    match op.function:
        case "square":
            return w.add("Mul", [x, x], y)
        case "power":
            return w.add("Pow", [x, _number(w, y, "exponent", alpha)], y)
        case "clip":
            bounds = [
                "" if math.isinf(bound) else _number(w, y, name, bound)
                for name, bound in (("least", alpha), ("greatest", beta))
            ]
            return w.add("Clip", [x, *bounds], y)
        case "affine":
            scaled = w.add("Mul", [x, _number(w, y, "alpha", alpha)], f"{y}_scaled")
            return w.add("Add", [scaled, _number(w, y, "beta", beta)], y)
        case "scaled_tanh":
            scaled = w.add("Mul", [x, _number(w, y, "beta", beta)], f"{y}_scaled")
            return w.add("Mul", [w.add("Tanh", [scaled], f"{y}_tanh"), _number(w, y, "alpha", alpha)], y)
        case "silu":
            return w.add("Mul", [x, w.add("Sigmoid", [x], f"{y}_sigmoid")], y)
        case "gelu":
            return _gelu(w, x, y)
        case "gelu_tanh":
            return _gelu_tanh(w, x, y)
    raise ValueError(f"no operator for {op.function}")


def _gelu(w: Nodes, x: str, y: str) -> str:
    """x * 0.5 * (1 + erf(x / sqrt(2)))."""
    root = w.add("Mul", [x, _number(w, y, "root", 1.0 / math.sqrt(2.0))], f"{y}_argument")
    return _half_of_one_plus(w, x, w.add("Erf", [root], f"{y}_erf"), y)


def _gelu_tanh(w: Nodes, x: str, y: str) -> str:
    """x * 0.5 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))."""
    cube = w.add("Pow", [x, _number(w, y, "three", 3.0)], f"{y}_cube")
    part = w.add("Mul", [cube, _number(w, y, "share", 0.044715)], f"{y}_part")
    total = w.add("Add", [x, part], f"{y}_sum")
    argument = w.add("Mul", [total, _number(w, y, "root", math.sqrt(2.0 / math.pi))], f"{y}_argument")
    return _half_of_one_plus(w, x, w.add("Tanh", [argument], f"{y}_tanh"), y)


def _half_of_one_plus(w: Nodes, x: str, factor: str, y: str) -> str:
    more = w.add("Add", [factor, _number(w, y, "one", 1.0)], f"{y}_more")
    half = w.add("Mul", [x, _number(w, y, "half", 0.5)], f"{y}_halved")
    return w.add("Mul", [half, more], y)


def _number(w: Nodes, y: str, name: str, value: float) -> str:
    return w.array(f"{y}_{name}", np.asarray(value))


def reduce(w: Nodes, op: Reduce, x: str, y: str) -> str:
    """Over the last axis."""
    if op.kind == "sum":
        return w.add("ReduceSum", [x, w.ints(-1)], y, keepdims=0)
    names = {"mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin"}
    return w.add(names[op.kind], [x], y, axes=[-1], keepdims=0)
