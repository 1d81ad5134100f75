"""Names of what is done to single elements, to two of them, and to rows."""

from typing import Literal

Operator = Literal["add", "sub", "mul", "div", "max", "min"]
ReduceKind = Literal["sum", "mean", "max", "min"]
FunctionName = Literal[
    "identity",
    "relu",
    "sigmoid",
    "tanh",
    "softmax",
    "log_softmax",
    "leaky_relu",
    "elu",
    "selu",
    "celu",
    "softplus",
    "softsign",
    "hard_sigmoid",
    "hard_swish",
    "thresholded_relu",
    "scaled_tanh",
    "affine",
    "silu",
    "gelu",
    "gelu_tanh",
    "erf",
    "exp",
    "log",
    "sqrt",
    "abs",
    "neg",
    "square",
    "power",
    "reciprocal",
    "clip",
]
"""Named as ONNX's operators; `alpha` and `beta` are theirs (clip: least, greatest; power: the exponent)."""
