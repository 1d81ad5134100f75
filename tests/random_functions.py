"""Preludes of random models: functions of single elements, norms, softmax, reductions."""

from typing import TYPE_CHECKING

import numpy as np

from stepcell.ir.operators import FunctionName, Operator, ReduceKind
from stepcell.ir.ops import (
    Activate,
    Binary,
    Normalize,
    Reduce,
    Take,
    Value,
)

if TYPE_CHECKING:
    from random_graphs import Build

FUNCTIONAL = (
    "function",
    "function_of_positive",
    "line",
    "leaky",
    "chain",
    "spectrum",
    "norm",
    "reduction",
    "division",
    "smaller",
    "softmax",
    "normalize",
    "log_softmax",
)
KINDS = (*FUNCTIONAL, "relu", "abs")
"""With what random models have only by chance: a relu that no layer takes in, a magnitude."""
_ANY: tuple[FunctionName, ...] = (
    *("leaky_relu", "elu", "selu", "celu", "softplus", "softsign", "hard_sigmoid", "hard_swish"),
    *(
        "thresholded_relu",
        "scaled_tanh",
        "affine",
        "silu",
        "gelu",
        "gelu_tanh",
        "erf",
        "abs",
        "neg",
        "square",
    ),
)
_POSITIVE: tuple[FunctionName, ...] = ("log", "sqrt", "reciprocal", "power")


def functional(build: "Build", kind: str, x: Value) -> Value:  # noqa: C901, PLR0912 - one case a kind
    """What a prelude makes of the input [n]."""
    rng = build.rng
    match kind:
        case "function":
            return _applied(build, x, _ANY[rng.integers(len(_ANY))])
        case "function_of_positive":
            positive = _applied(
                build, _applied(build, x, "abs"), "affine", 1.0, float(10 ** rng.uniform(-6, 0))
            )
            return _applied(
                build, positive, _POSITIVE[rng.integers(len(_POSITIVE))], float(rng.uniform(-2, 2))
            )
        case "relu" | "abs":
            return _applied(build, x, kind)
        case "line":
            clipped = _applied(build, _numbered(build, x, "mul", -0.7), "clip", -0.3, 1.1)
            return _numbered(build, clipped, "sub", 0.2)
        case "leaky":
            return _applied(build, x, "leaky_relu", float(rng.uniform(-0.5, 1.5)))
        case "chain":
            return _combined(build, "mul", x, _applied(build, _numbered(build, x, "mul", 0.5), "sigmoid"))
        case "spectrum":
            return _spectrum(build, x)
        case "norm":
            total = _reduced(build, _applied(build, _paired(build, x), "square"), "sum")
            return _applied(build, total, "sqrt")
        case "reduction":
            kinds: tuple[ReduceKind, ...] = ("sum", "mean", "max", "min")
            both = _paired(build, x)
            part = _reduced(build, both, kinds[rng.integers(4)])
            return _combined(build, "add", x, build.take(part, np.arange(x.size) % part.size))
        case "division":
            divisor = _applied(build, _applied(build, x, "abs"), "affine", 1.0, float(rng.uniform(0.01, 1)))
            largest = _reduced(build, divisor, "max")
            return _combined(build, "div", x, largest)
        case "smaller":
            return _combined(build, "min", x, build.take(x, np.roll(np.arange(x.size), 1)))
        case "softmax":
            return _applied(build, x, "softmax")
        case "log_softmax":
            return _applied(build, x, "log_softmax")
        case _:
            return _normalized(build, x)


def _applied(
    build: "Build", x: Value, function: FunctionName, alpha: float | None = None, beta: float | None = None
) -> Value:
    return build.add(Activate(x.name, build.value(function, *x.shape), function, alpha, beta))


def _combined(build: "Build", operator: Operator, a: Value, b: Value) -> Value:
    shape = np.broadcast_shapes(a.shape, b.shape)
    return build.add(Binary(a.name, b.name, build.value(operator, *shape), operator))


def _numbered(build: "Build", x: Value, operator: Operator, number: float) -> Value:
    return _combined(build, operator, x, build.constant(np.asarray(number)))


def _reduced(build: "Build", x: Value, kind: ReduceKind) -> Value:
    return build.add(Reduce(x.name, build.value(kind, *x.shape[:-1]), kind))


def _paired(build: "Build", x: Value) -> Value:
    """[n] -> [ceil(n / 2), 2]."""
    rows = -(-x.size // 2)
    indices = tuple(int(i) % x.size for i in range(2 * rows))
    return build.add(Take(x.name, build.value("pairs", rows, 2), indices))


def _spectrum(build: "Build", x: Value) -> Value:
    """The magnitude of the first and the second half, or its logarithm."""
    half = max(1, x.size // 2)
    parts = [build.take(x, (np.arange(half) + at) % x.size) for at in (0, half)]
    squares = [_applied(build, part, "square") for part in parts]
    total = _combined(build, "add", *squares)
    if build.rng.random() < 0.5:
        return _applied(build, total, "sqrt")
    return _applied(build, _numbered(build, total, "add", float(10 ** build.rng.uniform(-9, -2))), "log")


def _normalized(build: "Build", x: Value) -> Value:
    gain, bias = (f"{name}{build.made}" for name in ("gain", "bias"))
    build.weights[gain] = build.rng.normal(size=x.shape[-1])
    build.weights[bias] = build.rng.normal(size=x.shape[-1])
    epsilon = float(10 ** build.rng.uniform(-12, 0))
    return build.add(Normalize(x.name, build.value("normal", *x.shape), gain, bias, epsilon))
