"""The functions, reductions and normalizations of a step graph in torch."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from stepcell.ir.ops import Activate, Append, Attend, Normalize, Reduce
from stepcell.reference.float_functions import DEFAULTS
from stepcell.train.cells import Weights

_FUNCTIONS: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "identity": lambda x, *_: x,
    "relu": lambda x, *_: torch.relu(x),
    "sigmoid": lambda x, *_: torch.sigmoid(x),
    "tanh": lambda x, *_: torch.tanh(x),
    "softmax": lambda x, *_: torch.softmax(x, dim=-1),
    "log_softmax": lambda x, *_: torch.log_softmax(x, dim=-1),
    "leaky_relu": lambda x, a, _: functional.leaky_relu(x, a),
    "elu": lambda x, a, _: functional.elu(x, a),
    "selu": lambda x, a, b: b * functional.elu(x, a),
    "celu": lambda x, a, _: functional.celu(x, a),
    "softplus": lambda x, *_: functional.softplus(x),
    "softsign": lambda x, *_: functional.softsign(x),
    "hard_sigmoid": lambda x, a, b: (a * x + b).clamp(0.0, 1.0),
    "hard_swish": lambda x, *_: functional.hardswish(x),
    "thresholded_relu": lambda x, a, _: functional.threshold(x, a, 0.0),
    "scaled_tanh": lambda x, a, b: a * torch.tanh(b * x),
    "affine": lambda x, a, b: a * x + b,
    "silu": lambda x, *_: functional.silu(x),
    "gelu": lambda x, *_: functional.gelu(x),
    "gelu_tanh": lambda x, *_: functional.gelu(x, approximate="tanh"),
    "erf": lambda x, *_: torch.erf(x),
    "exp": lambda x, *_: torch.exp(x),
    "log": lambda x, *_: torch.log(x),
    "sqrt": lambda x, *_: torch.sqrt(x),
    "abs": lambda x, *_: torch.abs(x),
    "neg": lambda x, *_: -x,
    "square": lambda x, *_: x * x,
    "power": lambda x, a, _: torch.pow(x, a),
    "reciprocal": lambda x, *_: 1.0 / x,
    "clip": lambda x, a, b: x.clamp(a, b),
}


def activate(op: Activate, x: Tensor) -> Tensor:
    """Element by element; softmax and log_softmax over the last axis."""
    alpha, beta = DEFAULTS.get(op.function, (0.0, 0.0))
    return _FUNCTIONS[op.function](
        x, alpha if op.alpha is None else op.alpha, beta if op.beta is None else op.beta
    )


def reduce(op: Reduce, x: Tensor) -> Tensor:
    """Over the last axis."""
    match op.kind:
        case "sum":
            return x.sum(dim=-1)
        case "mean":
            return x.mean(dim=-1)
        case "max":
            return x.amax(dim=-1)
        case "min":
            return x.amin(dim=-1)


def normalize(op: Normalize, weights: Weights, x: Tensor) -> Tensor:
    """To mean 0 and variance 1 over the last axis, then gain and bias."""
    return functional.layer_norm(x, x.shape[-1:], weights[op.gain], weights[op.bias], op.epsilon)


def append(op: Append, memory: Tensor, count: Tensor, x: Tensor) -> Tensor:
    """memory [B, S, ...] with row count [B] replaced by x."""
    del op
    at = torch.arange(memory.shape[1], device=memory.device) == count.reshape(-1, 1)
    return torch.where(at.reshape(*at.shape, *[1] * (memory.ndim - 2)), x[:, None], memory)


def attend(op: Attend, query: Tensor, keys: Tensor, values: Tensor, count: Tensor) -> Tensor:
    """The mean of the first `count` rows of values, weighted by the softmax of scale * keys . query."""
    return attend_rows(op, query.flatten(1)[:, None], keys.flatten(2), values.flatten(2), count).reshape(
        -1, *op.y.shape
    )


def attend_rows(op: Attend, queries: Tensor, keys: Tensor, values: Tensor, count: Tensor) -> Tensor:
    """Attention of queries [N, Q, D] to rows keys [N, S, D], values [N, S, V], count [N]; [N, Q, V]."""
    scores = op.scale * (queries @ keys.transpose(1, 2))
    seen = torch.arange(keys.shape[1], device=keys.device) < count.reshape(-1, 1, 1).clamp(min=1)
    return torch.softmax(scores.masked_fill(~seen, -math.inf), dim=-1) @ values
