"""The equations of the float operations, over a batch of sequences at one time step.

Gates and biases are in ONNX order (operator specifications LSTM-22, GRU-22, RNN-22).
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.gates import gate_activation
from stepcell.ir.model import FloatArray
from stepcell.ir.ops import Activate, Attend, Conv, Gate, Gru, Lstm, Normalize, Reduce, Rnn
from stepcell.ir.window import window_indices, window_of
from stepcell.reference.float_functions import elementwise

Weights = Mapping[str, FloatArray]


def softmax(x: FloatArray) -> FloatArray:
    """Over the last axis."""
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def gate_function(gate: Gate) -> Callable[[FloatArray], FloatArray]:
    """The activation of a gate, with its parameters."""
    function, alpha, beta = gate_activation(gate)
    return lambda x: elementwise(function, x, alpha, beta)


def _clip(x: FloatArray, limit: float | None) -> FloatArray:
    return x if limit is None else np.clip(x, -limit, limit)


def lstm(
    op: Lstm, weights: Weights, x: FloatArray, h: FloatArray, c: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """x [N, I], h (what R multiplies) [N, P], c [N, H] -> (h', c'); P = H without a projection.

    clip acts on what goes into the gates' activations, not on the cell (as in ONNX Runtime).
    """
    bias = weights[op.input_bias] + weights[op.recurrent_bias]
    gates = x @ weights[op.input_weights].T + h @ weights[op.recurrent_weights].T + bias
    i, o, f, cell = np.split(gates, 4, axis=1)
    holes = weights[op.peepholes] if op.peepholes else np.zeros(3 * c.shape[1])
    hole_i, hole_o, hole_f = np.split(holes, 3)
    gate, candidate, output = (gate_function(g) for g in op.gates)
    i = gate(_clip(i + hole_i * c, op.clip))
    f = 1.0 - i if op.input_forget else gate(_clip(f + hole_f * c, op.clip))
    c_next = _clip(f * c + i * candidate(_clip(cell, op.clip)), op.cell_clip)
    h_next = gate(_clip(o + hole_o * c_next, op.clip)) * output(c_next)
    return (h_next @ weights[op.projection].T if op.projection else h_next), c_next


def gru(op: Gru, weights: Weights, x: FloatArray, h: FloatArray, read: FloatArray) -> FloatArray:
    """x [N, I], h [N, H] -> h'; `read` is what R multiplies, h or a factor's product [N, P]."""
    xz, xr, xn = np.split(x @ weights[op.input_weights].T + weights[op.input_bias], 3, axis=1)
    rz, rr, rn = np.split(weights[op.recurrent_weights], 3)
    bz, br, bn = np.split(weights[op.recurrent_bias], 3)
    gate, candidate = (gate_function(g) for g in op.gates)
    z = gate(_clip(xz + read @ rz.T + bz, op.clip))
    r = gate(_clip(xr + read @ rr.T + br, op.clip))
    recurrent = r * (read @ rn.T + bn) if op.linear_before_reset else (r * h) @ rn.T + bn
    n = candidate(_clip(xn + recurrent, op.clip))
    return n + z * (h - n)


def rnn(op: Rnn, weights: Weights, x: FloatArray, h: FloatArray) -> FloatArray:
    """x [N, I], h (what R multiplies) [N, H] -> h'."""
    bias = weights[op.input_bias] + weights[op.recurrent_bias]
    p = x @ weights[op.input_weights].T + h @ weights[op.recurrent_weights].T + bias
    return gate_function(op.gate)(_clip(p, op.clip))


def log_softmax(x: FloatArray) -> FloatArray:
    """Over the last axis."""
    centred = x - x.max(axis=-1, keepdims=True)
    return np.asarray(centred - np.log(np.exp(centred).sum(axis=-1, keepdims=True)))


def picked(x: FloatArray, indices: NDArray[np.int64]) -> FloatArray:
    """x [N, size] -> [N, *indices.shape]: the elements at the indices, zero at -1."""
    return np.asarray(np.where(indices < 0, 0.0, x[:, np.maximum(indices, 0)]))


def conv(op: Conv, weights: Weights, x: FloatArray) -> FloatArray:
    """x [N, *spatial, channels] -> [N, *positions, outputs]."""
    w = weights[op.weights]
    window = window_of(op, x.shape[1:], w.shape)
    read = picked(x.reshape(len(x), -1), window_indices(window))
    rows = w.reshape(len(w), window.taps, -1)
    if op.groups == 1:
        y = np.einsum("npkc,okc->npo", read, rows, optimize=True)
    else:
        groups = op.groups
        split = read.reshape(*read.shape[:-1], groups, -1)
        grouped = rows.reshape(groups, -1, *rows.shape[1:])
        y = np.einsum("npkgc,gokc->npgo", split, grouped, optimize=True).reshape(*read.shape[:2], len(w))
    return np.asarray(y + weights[op.bias]).reshape(len(x), *window.positions, len(w))


def activate(op: Activate, x: FloatArray) -> FloatArray:
    """Element by element; softmax and log_softmax over the last axis."""
    if op.function == "softmax":
        return softmax(x)
    if op.function == "log_softmax":
        return log_softmax(x)
    return elementwise(op.function, x, op.alpha, op.beta)


def reduce(op: Reduce, x: FloatArray) -> FloatArray:
    """Over the last axis."""
    functions: dict[str, Callable[..., FloatArray]] = {
        "sum": np.sum,
        "mean": np.mean,
        "max": np.max,
        "min": np.min,
    }
    return np.asarray(functions[op.kind](x, axis=-1))


def normalize(op: Normalize, weights: Weights, x: FloatArray) -> FloatArray:
    """To mean 0 and variance 1 over the last axis, then gain and bias."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt(variance + op.epsilon) * weights[op.gain] + weights[op.bias])


def append(memory: FloatArray, count: FloatArray, x: FloatArray) -> FloatArray:
    """memory [N, S, ...] with row count [N] replaced by x [N, ...]; unchanged where it is full."""
    at = np.arange(memory.shape[1]) == np.asarray(count, np.int64).reshape(-1, 1)
    return np.where(at.reshape(*at.shape, *[1] * (memory.ndim - 2)), x[:, None], memory)


def attend(
    op: Attend, query: FloatArray, keys: FloatArray, values: FloatArray, count: FloatArray
) -> FloatArray:
    """query [N, ...], keys and values [N, S, ...], count [N] -> the mean of values, weighted by softmax."""
    rows = keys.shape[1]
    scores = op.scale * (keys.reshape(*keys.shape[:2], -1) @ query.reshape(len(query), -1, 1))[:, :, 0]
    seen = np.arange(rows) < np.maximum(np.asarray(count).reshape(-1, 1), 1)
    weights = softmax(np.where(seen, scores, -np.inf))
    mixed = weights[:, None] @ values.reshape(*values.shape[:2], -1)
    return np.asarray(mixed.reshape(-1, *op.y.shape))


def arithmetic(operator: str, a: FloatArray, b: FloatArray) -> FloatArray:
    """a (operator) b with numpy's broadcasting."""
    functions: dict[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
        "add": np.add,
        "sub": np.subtract,
        "mul": np.multiply,
        "div": np.divide,
        "max": np.maximum,
        "min": np.minimum,
    }
    with np.errstate(all="ignore"):
        return functions[operator](a, b)
