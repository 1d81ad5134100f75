"""Recurrent layers and cells: one ONNX operator per layer, with ONNX's gate order.

PyTorch orders LSTM gates i f g o (ONNX: i o f c) and GRU gates r z n (ONNX: z r n).
"""

from typing import Any

import numpy as np

from stepcell.importers.builder import Builder, Translator
from stepcell.importers.graph import Array

_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}

Args = list[Any]
Kwargs = dict[str, Any]


def _lstm(b: Builder, where: str, args: Args, kwargs: Kwargs) -> list[str]:
    """(y, h_n, c_n) of aten.lstm.input."""
    del kwargs
    return _layers(b, where, "LSTM", args[0], list(args[1]), args[2:])


def _gru(b: Builder, where: str, args: Args, kwargs: Kwargs) -> list[str]:
    """(y, h_n) of aten.gru.input."""
    del kwargs
    return _layers(b, where, "GRU", args[0], [args[1]], args[2:], linear_before_reset=1)


def _rnn(activation: str) -> Translator:
    """(y, h_n) of aten.rnn_tanh.input or aten.rnn_relu.input."""

    def make(b: Builder, where: str, args: Args, kwargs: Kwargs) -> list[str]:
        del kwargs
        return _layers(b, where, "RNN", args[0], [args[1]], args[2:], activations=[activation])

    return make


def _layers(
    b: Builder, where: str, op: str, x: str, initial: list[str], rest: Args, **attributes: Any
) -> list[str]:
    """rest: parameters, has_biases, num_layers, dropout, train, bidirectional, batch_first."""
    parameters, _, layers, _, _, bidirectional, batch_first = rest
    directions = 2 if bidirectional else 1
    each = len(parameters) // (layers * directions)
    if bidirectional:
        attributes["direction"] = "bidirectional"
        attributes["activations"] = attributes.get("activations", []) * 2
        attributes = {key: value for key, value in attributes.items() if value != []}
    y = b.one("Transpose", where, x, perm=[1, 0, 2]) if batch_first else x
    ends: list[list[str]] = [[] for _ in initial]
    for layer in range(layers):
        own = parameters[layer * each * directions : (layer + 1) * each * directions]
        weights = _stacked(b, op, [own[d * each : (d + 1) * each] for d in range(directions)])
        starts = [_rows(b, where, state, layer * directions, directions) for state in initial]
        inputs = [y, *weights[:3], "", *starts]
        if len(weights) > 3:  # beside ONNX's eight inputs, of which the last is the peepholes
            inputs += ["", weights[3]]
        outputs = b.add(op, where, *inputs, outputs=1 + len(initial), **attributes)
        beside = b.one("Transpose", where, outputs[0], perm=[0, 2, 1, 3])
        y = b.one("Reshape", where, beside, b.ints(0, 0, -1))
        for collected, end in zip(ends, outputs[1:], strict=True):
            collected.append(end)
    y = b.one("Transpose", where, y, perm=[1, 0, 2]) if batch_first else y
    return [y, *(b.one("Concat", where, *parts, axis=0) for parts in ends)]


def _rows(b: Builder, where: str, state: str, start: int, count: int) -> str:
    return b.one("Slice", where, state, b.ints(start), b.ints(start + count), b.ints(0))


def _stacked(b: Builder, op: str, directions: list[list[str]]) -> list[str]:
    """W, R and B of a layer, and P of a projection (W_hr): one row per direction."""
    rows = [_weights(b, op, names) for names in directions]
    return [b.constant(np.stack(arrays)) for arrays in zip(*rows, strict=True)]


def _weights(b: Builder, op: str, names: list[str]) -> list[Array]:
    """One direction's W, R, B and perhaps P, from PyTorch's W_ih, W_hh, b_ih, b_hh, W_hr."""
    arrays = [b.constants[name] for name in names]
    projection = arrays[-1:] if len(arrays) in (3, 5) else []
    w, r, *biases = (_reordered(op, array) for array in arrays[: len(arrays) - len(projection)])
    bias = np.concatenate(biases or [np.zeros(2 * len(w), np.float32)])
    return [w, r, bias, *projection]


def _reordered(op: str, array: Array) -> Array:
    gates = np.split(array, len(_ORDER[op]))
    return np.concatenate([gates[i] for i in _ORDER[op]])


def _lstm_cell(b: Builder, where: str, args: Args, kwargs: Kwargs) -> list[str]:
    """(h', c') of aten.lstm_cell."""
    del kwargs
    x, states, *weights = args
    return _step(b, where, "LSTM", x, list(states), weights)


def _cell(op: str, **attributes: Any) -> Translator:
    """h' of aten.gru_cell, rnn_tanh_cell or rnn_relu_cell."""

    def make(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
        del kwargs
        x, state, *weights = args
        return _step(b, where, op, x, [state], weights, **attributes)[0]

    return make


def _step(
    b: Builder, where: str, op: str, x: str, states: list[str], weights: Args, **attributes: Any
) -> list[str]:
    """A cell [batch, units] is a layer over one step."""
    stacked = _stacked(b, op, [[name for name in weights if name is not None]])
    first = b.ints(0)
    inputs = [b.one("Unsqueeze", where, name, first) for name in (x, *states)]
    made = b.add(op, where, inputs[0], *stacked, "", *inputs[1:], outputs=1 + len(states), **attributes)
    return [b.one("Squeeze", where, end, first) for end in made[1:]]


TRANSLATORS: dict[str, Translator] = {
    "aten.lstm.input": _lstm,
    "aten.gru.input": _gru,
    "aten.rnn_tanh.input": _rnn("Tanh"),
    "aten.rnn_relu.input": _rnn("Relu"),
    "aten.lstm_cell.default": _lstm_cell,
    "aten.gru_cell.default": _cell("GRU", linear_before_reset=1),
    "aten.rnn_tanh_cell.default": _cell("RNN", activations=["Tanh"]),
    "aten.rnn_relu_cell.default": _cell("RNN", activations=["Relu"]),
}
