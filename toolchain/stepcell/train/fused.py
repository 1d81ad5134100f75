"""Whole sequences through torch's own recurrent kernels, which train several times faster than a scan.

torch.nn's gate order is r z n (GRU) and i f g o (LSTM); ours is ONNX's, z r n and i o f c. The kernels
compute the GRU with linear_before_reset=1 and keep both biases apart, as ONNX does.
"""

import torch
from torch import Tensor

from stepcell.ir.graph import is_plain
from stepcell.ir.ops import (
    TANH,
    Dense,
    Gru,
    Lstm,
    Recurrent,
    Rnn,
)
from stepcell.train.cells import Weights

_TORCH_GRU = (1, 0, 2)
_TORCH_LSTM = (0, 2, 3, 1)


def has_kernel(op: Recurrent) -> bool:
    """Whether torch has a kernel for exactly this cell."""
    return is_plain(op) and not (isinstance(op, Gru) and not op.linear_before_reset)


def run(op: Recurrent, weights: Weights, x: Tensor, states: dict[str, Tensor]) -> Tensor:
    """All steps: x [N, T, I] and the initial states [N, H] by name -> h' after every step [N, T, H]."""
    h = states[op.h][None]
    match op:
        case Lstm():
            carried = [h, states[op.c][None]]
            return torch.lstm(x, carried, _flat(op, weights, _TORCH_LSTM), True, 1, 0.0, True, False, True)[0]
        case Gru():
            return torch.gru(x, h, _flat(op, weights, _TORCH_GRU), True, 1, 0.0, True, False, True)[0]
        case Rnn():
            kernel = torch.rnn_tanh if op.gate == TANH else torch.rnn_relu
            return kernel(x, h, _flat(op, weights, (0,)), True, 1, 0.0, True, False, True)[0]


def multiplied(op: Recurrent, factor: Dense, weights: Weights) -> Weights:
    """The weights with B A, and its bias, in place of the layer's factors: gradients go to both."""
    b = weights[op.recurrent_weights]
    bias = weights[op.recurrent_bias] + b @ weights[factor.bias]
    return {**weights, op.recurrent_weights: b @ weights[factor.weights], op.recurrent_bias: bias}


def _flat(op: Recurrent, weights: Weights, order: tuple[int, ...]) -> list[Tensor]:
    names = (op.input_weights, op.recurrent_weights, op.input_bias, op.recurrent_bias)
    return [_reorder(weights[name], order) for name in names]


def _reorder(weight: Tensor, order: tuple[int, ...]) -> Tensor:
    gates = weight.chunk(len(order))
    return torch.cat([gates[index] for index in order])
