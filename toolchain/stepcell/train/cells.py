"""One step of a recurrent cell in torch: the equations of `reference.float_ops`, differentiable.

These serve what torch's own kernels cannot compute: linear_before_reset=0, clip, peepholes, coupled gates,
projections and other activations. Gates and biases are in ONNX order.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import linear

from stepcell.ir.ops import Gru, Lstm, Recurrent, Rnn
from stepcell.train.gates import activated

Weights = Mapping[str, Tensor]


def _clip(x: Tensor, limit: float | None) -> Tensor:
    return x if limit is None else x.clamp(-limit, limit)


def _of_input(op: Recurrent, weights: Weights, x: Tensor) -> Tensor:
    """W x + Wb, [N, rows]; the bias is [rows], or [N, rows] where sequences differ (train/sensitivity.py)."""
    return torch.addmm(weights[op.input_bias], x, weights[op.input_weights].T)


def lstm(op: Lstm, weights: Weights, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """One step: x [N, I], h (what R multiplies) [N, P], c [N, H] -> (h', c'); P = H without a projection."""
    preactivation = _of_input(op, weights, x)
    preactivation = preactivation + linear(h, weights[op.recurrent_weights], weights[op.recurrent_bias])
    i, o, f, cell = preactivation.chunk(4, dim=1)
    holes = weights[op.peepholes].chunk(3) if op.peepholes else (torch.zeros_like(c),) * 3
    gate, candidate, output = op.gates
    i = activated(gate, _clip(i + holes[0] * c, op.clip))
    f = 1.0 - i if op.input_forget else activated(gate, _clip(f + holes[2] * c, op.clip))
    c_next = _clip(f * c + i * activated(candidate, _clip(cell, op.clip)), op.cell_clip)
    h_next = activated(gate, _clip(o + holes[1] * c_next, op.clip)) * activated(output, c_next)
    return linear(h_next, weights[op.projection]) if op.projection else h_next, c_next


def gru(op: Gru, weights: Weights, x: Tensor, h: Tensor, read: Tensor) -> Tensor:
    """One step: x [N, I], h [N, H] -> h'; `read` is what R multiplies, h or a factor's product [N, P]."""
    xz, xr, xn = _of_input(op, weights, x).chunk(3, dim=1)
    rz, rr, rn = weights[op.recurrent_weights].chunk(3)
    bz, br, bn = weights[op.recurrent_bias].chunk(3)
    gate, candidate = op.gates
    z = activated(gate, _clip(xz + linear(read, rz, bz), op.clip))
    r = activated(gate, _clip(xr + linear(read, rr, br), op.clip))
    recurrent = r * linear(read, rn, bn) if op.linear_before_reset else linear(r * h, rn, bn)
    n = activated(candidate, _clip(xn + recurrent, op.clip))
    return n + z * (h - n)


def rnn(op: Rnn, weights: Weights, x: Tensor, h: Tensor) -> Tensor:
    """One step: x [N, I], h (what R multiplies) [N, H] -> h'."""
    preactivation = _of_input(op, weights, x)
    preactivation = preactivation + linear(h, weights[op.recurrent_weights], weights[op.recurrent_bias])
    return activated(op.gate, _clip(preactivation, op.clip))
