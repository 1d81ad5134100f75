"""aten.lstm, aten.gru and aten.rnn: one ONNX operator per layer, with ONNX's gate order.

PyTorch orders LSTM gates i f g o (ONNX: i o f c) and GRU gates r z n (ONNX: z r n).
"""

from typing import Any

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.graph import Array
from stepcell.importers.pytorch.builder import Builder

_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}

Args = list[Any]
Kwargs = dict[str, Any]


def lstm(b: Builder, where: str, args: Args, kwargs: Kwargs) -> list[str]:
    """(y, h_n, c_n) of aten.lstm.input."""
    del kwargs
    return _layers(b, where, "LSTM", args[0], list(args[1]), args[2:])


def gru(b: Builder, where: str, args: Args, kwargs: Kwargs) -> list[str]:
    """(y, h_n) of aten.gru.input."""
    del kwargs
    return _layers(b, where, "GRU", args[0], [args[1]], args[2:], linear_before_reset=1)


def rnn_tanh(b: Builder, where: str, args: Args, kwargs: Kwargs) -> list[str]:
    """(y, h_n) of aten.rnn_tanh.input."""
    del kwargs
    return _layers(b, where, "RNN", args[0], [args[1]], args[2:], activations=["Tanh"])


def rnn_relu(b: Builder, where: str, args: Args, kwargs: Kwargs) -> list[str]:
    """(y, h_n) of aten.rnn_relu.input."""
    del kwargs
    return _layers(b, where, "RNN", args[0], [args[1]], args[2:], activations=["Relu"])


def _layers(
    b: Builder, where: str, op: str, x: str, initial: list[str], rest: Args, **attributes: Any
) -> list[str]:
    """rest: parameters, has_biases, num_layers, dropout, train, bidirectional, batch_first."""
    parameters, has_biases, layers, _, _, bidirectional, batch_first = rest
    directions = 2 if bidirectional else 1
    each = 4 if has_biases else 2
    if len(parameters) != each * layers * directions:
        raise StepcellError(
            f"{b.file}: '{where}' has a projection (proj_size); a plain layer is allowed.",
            "train with proj_size=0.",
        )
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
        outputs = b.add(op, where, y, *weights, "", *starts, outputs=1 + len(initial), **attributes)
        beside = b.one("Transpose", where, outputs[0], perm=[0, 2, 1, 3])
        y = b.one("Reshape", where, beside, b.ints(0, 0, -1))
        for collected, end in zip(ends, outputs[1:], strict=True):
            collected.append(end)
    y = b.one("Transpose", where, y, perm=[1, 0, 2]) if batch_first else y
    return [y, *(b.one("Concat", where, *parts, axis=0) for parts in ends)]


def _rows(b: Builder, where: str, state: str, start: int, count: int) -> str:
    return b.one("Slice", where, state, b.ints(start), b.ints(start + count), b.ints(0))


def _stacked(b: Builder, op: str, directions: list[list[str]]) -> tuple[str, str, str]:
    """W, R and B of a layer: one row per direction."""
    w, r, bias = [], [], []
    for names in directions:
        arrays = [_reordered(op, b.constants[name]) for name in names]
        zeros = np.zeros(len(arrays[0]))
        first, second = arrays[2:] if len(arrays) == 4 else (zeros, zeros)
        w.append(arrays[0])
        r.append(arrays[1])
        bias.append(np.concatenate([first, second]))
    return b.constant(np.stack(w)), b.constant(np.stack(r)), b.constant(np.stack(bias))


def _reordered(op: str, array: Array) -> Array:
    gates = np.split(array, len(_ORDER[op]))
    return np.concatenate([gates[i] for i in _ORDER[op]])
