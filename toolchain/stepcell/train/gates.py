"""The activations of gates in torch, by the names and with the parameters of `Activate`."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from stepcell.ir.gates import gate_activation
from stepcell.ir.ops import Gate

_FUNCTIONS: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "relu": lambda x, *_: torch.relu(x),
    "sigmoid": lambda x, *_: torch.sigmoid(x),
    "tanh": lambda x, *_: torch.tanh(x),
    "affine": lambda x, a, b: a * x + b,
    "leaky_relu": lambda x, a, _: functional.leaky_relu(x, a),
    "thresholded_relu": lambda x, a, _: functional.threshold(x, a, 0.0),
    "scaled_tanh": lambda x, a, b: a * torch.tanh(b * x),
    "hard_sigmoid": lambda x, a, b: (a * x + b).clamp(0.0, 1.0),
    "elu": lambda x, a, _: functional.elu(x, a),
    "softsign": lambda x, *_: functional.softsign(x),
    "softplus": lambda x, *_: functional.softplus(x),
}


def activated(gate: Gate, x: Tensor) -> Tensor:
    """The gate's activation of x."""
    function, alpha, beta = gate_activation(gate)
    return _FUNCTIONS[function](x, alpha or 0.0, beta or 0.0)
