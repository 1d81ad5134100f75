"""The equations of the float operations, over a batch of sequences at one time step.

Gates and biases are in ONNX order (operator specifications LSTM-22, GRU-22, RNN-22).
"""

from collections.abc import Callable, Mapping

import numpy as np

from stepcell.ir.model import FloatArray
from stepcell.ir.ops import Activate, Binary, Gate, Gru, Lstm, Rnn

Weights = Mapping[str, FloatArray]


def sigmoid(x: FloatArray) -> FloatArray:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def softmax(x: FloatArray) -> FloatArray:
    """Over the last axis."""
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def gate_function(gate: Gate) -> Callable[[FloatArray], FloatArray]:
    """The activation of a gate; NotImplementedError for one that no version evaluates yet."""
    known: dict[str, Callable[[FloatArray], FloatArray]] = {
        "Sigmoid": sigmoid,
        "Tanh": np.tanh,
        "Relu": lambda x: np.maximum(x, 0.0),
    }
    if gate.function not in known:
        raise NotImplementedError(f"gate activation {gate.function}")
    return known[gate.function]


def _clip(x: FloatArray, limit: float | None) -> FloatArray:
    return x if limit is None else np.clip(x, -limit, limit)


def lstm(
    op: Lstm, weights: Weights, x: FloatArray, h: FloatArray, c: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """x [N, I], h [N, H], c [N, H] -> (h', c')."""
    if op.peepholes or op.projection:
        raise NotImplementedError("peepholes and projection")
    bias = weights[op.input_bias] + weights[op.recurrent_bias]
    gates = x @ weights[op.input_weights].T + h @ weights[op.recurrent_weights].T + bias
    i, o, f, cell = np.split(_clip(gates, op.clip), 4, axis=1)
    gate, candidate, output = (gate_function(g) for g in op.gates)
    i, o, f = gate(i), gate(o), gate(f)
    c_next = (1.0 - i if op.input_forget else f) * c + i * candidate(cell)
    return o * output(c_next), c_next  # ONNX Runtime clips the gates, not the cell


def gru(op: Gru, weights: Weights, x: FloatArray, h: FloatArray) -> FloatArray:
    """x [N, I], h [N, H] -> h'."""
    xz, xr, xn = np.split(x @ weights[op.input_weights].T + weights[op.input_bias], 3, axis=1)
    rz, rr, rn = np.split(weights[op.recurrent_weights], 3)
    bz, br, bn = np.split(weights[op.recurrent_bias], 3)
    gate, candidate = (gate_function(g) for g in op.gates)
    z = gate(_clip(xz + h @ rz.T + bz, op.clip))
    r = gate(_clip(xr + h @ rr.T + br, op.clip))
    recurrent = r * (h @ rn.T + bn) if op.linear_before_reset else (r * h) @ rn.T + bn
    n = candidate(_clip(xn + recurrent, op.clip))
    return n + z * (h - n)


def rnn(op: Rnn, weights: Weights, x: FloatArray, h: FloatArray) -> FloatArray:
    """x [N, I], h [N, H] -> h'."""
    bias = weights[op.input_bias] + weights[op.recurrent_bias]
    p = x @ weights[op.input_weights].T + h @ weights[op.recurrent_weights].T + bias
    return gate_function(op.gate)(_clip(p, op.clip))


def activate(op: Activate, x: FloatArray) -> FloatArray:
    """Element by element; softmax over the last axis."""
    functions: dict[str, Callable[[FloatArray], FloatArray]] = {
        "identity": lambda v: v,
        "relu": lambda v: np.maximum(v, 0.0),
        "sigmoid": sigmoid,
        "tanh": np.tanh,
        "softmax": softmax,
    }
    return functions[op.function](x)


def binary(op: Binary, a: FloatArray, b: FloatArray) -> FloatArray:
    """a (operator) b with numpy's broadcasting."""
    functions: dict[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
        "add": np.add,
        "sub": np.subtract,
        "mul": np.multiply,
        "max": np.maximum,
    }
    return functions[op.operator](a, b)
