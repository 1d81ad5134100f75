"""Operators that work element by element, and softmax."""

import numpy as np

from stepcell.importers.tflite.schema import Operator
from stepcell.importers.tflite.translation import Translation, Translator


def _unary(kind: str) -> Translator:
    def translate(t: Translation, op: Operator) -> None:
        t.result(op, t.one(op, kind, t.x(op)))

    return translate


def _binary(kind: str) -> Translator:
    def translate(t: Translation, op: Operator) -> None:
        made = t.one(op, kind, t.x(op, 0), t.x(op, 1))
        t.activated(op, made) if "activation" in op.options else t.result(op, made)

    return translate


def _clip(least: float, greatest: float) -> Translator:
    def translate(t: Translation, op: Operator) -> None:
        limits = [t.builder.constant(np.float32(limit)) for limit in (least, greatest)]
        t.result(op, t.one(op, "Clip", t.x(op), *limits))

    return translate


def _leaky_relu(t: Translation, op: Operator) -> None:
    t.result(op, t.one(op, "LeakyRelu", t.x(op), alpha=float(op.options["alpha"])))


def _gelu(t: Translation, op: Operator) -> None:
    approximate = "tanh" if op.options["approximate"] else "none"
    t.result(op, t.one(op, "Gelu", t.x(op), approximate=approximate))


def _rsqrt(t: Translation, op: Operator) -> None:
    t.result(op, t.one(op, "Reciprocal", t.one(op, "Sqrt", t.x(op))))


def _square(t: Translation, op: Operator) -> None:
    t.result(op, t.one(op, "Pow", t.x(op), t.builder.constant(np.float32(2.0))))


def _squared_difference(t: Translation, op: Operator) -> None:
    difference = t.one(op, "Sub", t.x(op, 0), t.x(op, 1))
    t.result(op, t.one(op, "Pow", difference, t.builder.constant(np.float32(2.0))))


def _softmax(t: Translation, op: Operator) -> None:
    """Over the last axis, of beta times x."""
    x, beta = t.x(op), float(op.options["beta"])
    if beta <= 0.0:
        raise t.refuse(op, f"has beta {beta}; a positive number is allowed", "convert the model again.")
    scaled = x if beta == 1.0 else t.one(op, "Mul", x, t.builder.constant(np.float32(beta)))
    t.result(op, t.one(op, "Softmax", scaled, axis=-1))


def _log_softmax(t: Translation, op: Operator) -> None:
    t.result(op, t.one(op, "LogSoftmax", t.x(op), axis=-1))


def _prelu(t: Translation, op: Operator) -> None:
    t.result(op, t.one(op, "PRelu", t.x(op, 0), t.x(op, 1)))


TRANSLATORS: dict[str, Translator] = {
    "ADD": _binary("Add"),
    "SUB": _binary("Sub"),
    "MUL": _binary("Mul"),
    "DIV": _binary("Div"),
    "MAXIMUM": _binary("Max"),
    "MINIMUM": _binary("Min"),
    "POW": _binary("Pow"),
    "SQUARED_DIFFERENCE": _squared_difference,
    "LOGISTIC": _unary("Sigmoid"),
    "TANH": _unary("Tanh"),
    "RELU": _unary("Relu"),
    "RELU6": _clip(0.0, 6.0),
    "RELU_N1_TO_1": _clip(-1.0, 1.0),
    "RELU_0_TO_1": _clip(0.0, 1.0),
    "LEAKY_RELU": _leaky_relu,
    "PRELU": _prelu,
    "ELU": _unary("Elu"),
    "GELU": _gelu,
    "HARD_SWISH": _unary("HardSwish"),
    "ABS": _unary("Abs"),
    "NEG": _unary("Neg"),
    "EXP": _unary("Exp"),
    "LOG": _unary("Log"),
    "SQRT": _unary("Sqrt"),
    "RSQRT": _rsqrt,
    "SQUARE": _square,
    "SOFTMAX": _softmax,
    "LOG_SOFTMAX": _log_softmax,
    "CAST": _unary("Identity"),
    # Real numbers flow along every edge of the Graph, whatever the file stores them as.
    "QUANTIZE": _unary("Identity"),
    "DEQUANTIZE": _unary("Identity"),
}
