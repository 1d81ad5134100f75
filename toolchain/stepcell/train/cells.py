"""One step of a recurrent cell in torch: the equations of `reference.float_ops`, differentiable.

These serve what torch's own kernels cannot compute: linear_before_reset=0, clipping, coupled gates and
other activations. Gates and biases are in ONNX order.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import linear

from stepcell.ir.ops import Gate, Gru, Lstm, Rnn

Weights = Mapping[str, Tensor]

GATES: dict[str, Callable[[Tensor], Tensor]] = {
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Relu": torch.relu,
}


def _apply(gate: Gate, x: Tensor) -> Tensor:
    return GATES[gate.function](x)


def _clip(x: Tensor, limit: float | None) -> Tensor:
    return x if limit is None else x.clamp(-limit, limit)


def lstm(op: Lstm, weights: Weights, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """One step: x [N, I], h [N, H], c [N, H] -> (h', c')."""
    preactivation = linear(x, weights[op.input_weights], weights[op.input_bias])
    preactivation = preactivation + linear(h, weights[op.recurrent_weights], weights[op.recurrent_bias])
    i, o, f, cell = _clip(preactivation, op.clip).chunk(4, dim=1)
    gate, candidate, output = op.gates
    i, o, f = _apply(gate, i), _apply(gate, o), _apply(gate, f)
    c_next = (1.0 - i if op.input_forget else f) * c + i * _apply(candidate, cell)
    return o * _apply(output, c_next), c_next  # ONNX Runtime clips the gates, not the cell


def gru(op: Gru, weights: Weights, x: Tensor, h: Tensor) -> Tensor:
    """One step: x [N, I], h [N, H] -> h'."""
    xz, xr, xn = linear(x, weights[op.input_weights], weights[op.input_bias]).chunk(3, dim=1)
    rz, rr, rn = weights[op.recurrent_weights].chunk(3)
    bz, br, bn = weights[op.recurrent_bias].chunk(3)
    gate, candidate = op.gates
    z = _apply(gate, _clip(xz + linear(h, rz, bz), op.clip))
    r = _apply(gate, _clip(xr + linear(h, rr, br), op.clip))
    recurrent = r * linear(h, rn, bn) if op.linear_before_reset else linear(r * h, rn, bn)
    n = _apply(candidate, _clip(xn + recurrent, op.clip))
    return n + z * (h - n)


def rnn(op: Rnn, weights: Weights, x: Tensor, h: Tensor) -> Tensor:
    """One step: x [N, I], h [N, H] -> h'."""
    preactivation = linear(x, weights[op.input_weights], weights[op.input_bias])
    preactivation = preactivation + linear(h, weights[op.recurrent_weights], weights[op.recurrent_bias])
    return _apply(op.gate, _clip(preactivation, op.clip))
