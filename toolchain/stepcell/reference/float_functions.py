"""The functions of single elements, by the names and with the parameters of `Activate`, in float64."""

import math
from collections.abc import Callable

import numpy as np

from stepcell.ir.model import FloatArray
from stepcell.ir.operators import FunctionName

Unary = Callable[[FloatArray, float, float], FloatArray]

DEFAULTS: dict[str, tuple[float, float]] = {
    "leaky_relu": (0.01, 0.0),
    "elu": (1.0, 0.0),
    "selu": (1.67326319217681884765625, 1.05070102214813232421875),
    "celu": (1.0, 0.0),
    "hard_sigmoid": (0.2, 0.5),
    "thresholded_relu": (1.0, 0.0),
    "scaled_tanh": (1.0, 1.0),
    "affine": (1.0, 0.0),
    "clip": (-math.inf, math.inf),
    "power": (1.0, 0.0),
}
"""(alpha, beta) where an operation leaves them out: ONNX's defaults. selu's beta is ONNX's gamma."""


def elementwise(
    function: FunctionName, x: FloatArray, alpha: float | None = None, beta: float | None = None
) -> FloatArray:
    """f(x), element by element; KeyError for softmax and log_softmax, which are none."""
    first, second = DEFAULTS.get(function, (0.0, 0.0))
    with np.errstate(all="ignore"):  # poles give infinity, as in the source; calibration refuses them
        return _FUNCTIONS[function](x, first if alpha is None else alpha, second if beta is None else beta)


def sigmoid(x: FloatArray) -> FloatArray:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def erf(x: FloatArray) -> FloatArray:
    """The error function, to double precision."""
    flat = np.asarray(x, np.float64).ravel()
    return np.fromiter((math.erf(value) for value in flat), np.float64, flat.size).reshape(np.shape(x))


def _negative_part(x: FloatArray) -> FloatArray:
    return np.minimum(x, 0.0)


def _elu(x: FloatArray, alpha: float, _: float) -> FloatArray:
    return np.maximum(x, 0.0) + alpha * np.expm1(_negative_part(x))


def _celu(x: FloatArray, alpha: float, _: float) -> FloatArray:
    return np.maximum(x, 0.0) + alpha * np.expm1(_negative_part(x) / alpha)


def _gelu_tanh(x: FloatArray, *_: float) -> FloatArray:
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


_FUNCTIONS: dict[str, Unary] = {
    "identity": lambda x, *_: x,
    "relu": lambda x, *_: np.maximum(x, 0.0),
    "sigmoid": lambda x, *_: sigmoid(x),
    "tanh": lambda x, *_: np.tanh(x),
    "leaky_relu": lambda x, a, _: np.where(x < 0.0, a * x, x),
    "elu": _elu,
    "selu": lambda x, a, b: b * _elu(x, a, 0.0),
    "celu": _celu,
    "softplus": lambda x, *_: np.logaddexp(0.0, x),
    "softsign": lambda x, *_: x / (1.0 + np.abs(x)),
    "hard_sigmoid": lambda x, a, b: np.clip(a * x + b, 0.0, 1.0),
    "hard_swish": lambda x, *_: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "thresholded_relu": lambda x, a, _: np.where(x > a, x, 0.0),
    "scaled_tanh": lambda x, a, b: a * np.tanh(b * x),
    "affine": lambda x, a, b: a * x + b,
    "silu": lambda x, *_: x * sigmoid(x),
    "gelu": lambda x, *_: 0.5 * x * (1.0 + erf(x / math.sqrt(2.0))),
    "gelu_tanh": _gelu_tanh,
    "erf": lambda x, *_: erf(x),
    "exp": lambda x, *_: np.exp(x),
    "log": lambda x, *_: np.log(x),
    "sqrt": lambda x, *_: np.sqrt(x),
    "abs": lambda x, *_: np.abs(x),
    "neg": lambda x, *_: -x,
    "square": lambda x, *_: x * x,
    "power": lambda x, a, _: np.power(x, a),
    "reciprocal": lambda x, *_: 1.0 / x,
    "clip": np.clip,
}
