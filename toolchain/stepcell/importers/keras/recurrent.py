"""LSTM, GRU and SimpleRNN, alone or in Bidirectional. Keras orders LSTM gates i f c o and GRU gates z r h."""

from dataclasses import replace
from typing import Any

import numpy as np

from stepcell.importers.graph import Array
from stepcell.importers.keras.activations import gates
from stepcell.importers.keras.layer import Layer, Tensor, Translator, features_of, over_steps

_GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}
_OPS = {"LSTM": "LSTM", "GRU": "GRU", "SimpleRNN": "RNN"}
_ONNX_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2), "SimpleRNN": (0,)}
_MERGES = {"sum": "Add", "mul": "Mul"}


def recurrent(layer: Layer, inputs: list[Tensor]) -> Tensor:
    """A layer in one direction."""
    x = over_steps(layer, inputs)
    _check(layer)
    backwards = bool(layer.option("go_backwards", False))
    y, last = _run(layer, x, "cell", backwards)
    units = int(layer.option("units"))
    if not layer.option("return_sequences", False):
        return Tensor(last, (units,))
    if backwards:
        # Keras gives the results in the order of its loop: those of the last frame first.
        ints = layer.ints
        y = layer.one("Slice", y, ints(2**31 - 1), ints(1 - 2**31), ints(1), ints(-1))
    return Tensor(y, (x.shape[0], units))


def bidirectional(layer: Layer, inputs: list[Tensor]) -> Tensor:
    """Two layers; the results of the backward one in the order of time."""
    x = over_steps(layer, inputs)
    forward = _inner(layer, layer.option("layer"))
    backward = _inner(layer, layer.option("backward_layer") or layer.option("layer"))
    merge = layer.option("merge_mode", "concat")
    if merge not in ("concat", "sum", "ave", "mul"):
        raise layer.refuse(
            f"merges by {merge}; concat, sum, ave and mul are allowed", "use merge_mode='concat'."
        )
    for one in (forward, backward):
        _check(one)
    both = None if _has_paths(layer) else layer.file.weights(layer.name, "")
    results = []
    for one, path, turned in ((forward, "forward_layer", False), (backward, "backward_layer", True)):
        half = None if both is None else _half(both, turned)
        results.append(_run(replace(one, outer=layer.name), x, f"{path}/cell", turned, half))
    sequences = bool(forward.option("return_sequences", False))
    parts = [y if sequences else last for y, last in results]
    units = int(forward.option("units"))
    lead = (x.shape[0],) if sequences else ()
    if merge == "concat":
        joined = layer.one("Concat", *parts, axis=len(lead) + 1)
        return Tensor(joined, (*lead, units + int(backward.option("units"))))
    merged = layer.one(_MERGES.get(str(merge), "Add"), *parts)
    if merge == "ave":
        merged = layer.one("Mul", merged, layer.constant(np.float32(0.5)))
    return Tensor(merged, (*lead, units))


def _has_paths(layer: Layer) -> bool:
    """Whether the weights of inner layers lie under paths: in .keras files."""
    return layer.file.file.lower().endswith(".keras")


def _half(arrays: list[Array], second: bool) -> list[Array]:
    """A .h5 file lists the forward layer's weights, then the backward one's."""
    middle = len(arrays) // 2
    return arrays[middle:] if second else arrays[:middle]


def _inner(layer: Layer, found: Any) -> Layer:
    if not isinstance(found, dict) or found.get("class_name") not in _GATES:
        raise layer.refuse("wraps something else than LSTM, GRU or SimpleRNN", "wrap one of those.")
    return Layer(layer.file, layer.builder, str(found["class_name"]), dict(found["config"]), layer.name)


def _check(layer: Layer) -> None:
    for option in ("return_state", "time_major"):
        if layer.option(option, False):
            raise layer.refuse(f"has {option}=True, which is not allowed", f"build it with {option}=False.")


def _run(
    layer: Layer, x: Tensor, path: str, backwards: bool, arrays: list[Array] | None = None
) -> tuple[str, str]:
    """Y [batch, time, units] and Y_h [batch, units]."""
    kind, units = layer.kind, int(layer.option("units"))
    w, r, first, second = _weights(layer, path, features_of(layer, x), arrays)
    attributes: dict[str, Any] = {"direction": "reverse" if backwards else "forward", "hidden_size": units}
    if kind == "LSTM":
        attributes |= gates(layer, [_recurrent(layer), _plain(layer), _plain(layer)])
    elif kind == "GRU":
        attributes |= gates(layer, [_recurrent(layer), _plain(layer)])
        attributes["linear_before_reset"] = int(_reset_after(layer))
    else:
        attributes |= gates(layer, [_plain(layer)])
    turned = layer.one("Transpose", x.name, perm=[1, 0, 2])
    tensors = (layer.constant(array[None]) for array in (w, r, np.concatenate([first, second])))
    outputs = 3 if kind == "LSTM" else 2
    y, last, *_ = layer.builder.add(_OPS[kind], layer.name, turned, *tensors, outputs=outputs, **attributes)
    steps = layer.one("Transpose", layer.one("Squeeze", y, layer.ints(1)), perm=[1, 0, 2])
    return steps, layer.one("Squeeze", last, layer.ints(0))


def _plain(layer: Layer) -> Any:
    return layer.option("activation", "tanh")


def _recurrent(layer: Layer) -> Any:
    """Keras before 2.0's successor wrote hard_sigmoid by name where it meant it: the default is sigmoid."""
    return layer.option("recurrent_activation", "sigmoid")


def _reset_after(layer: Layer) -> bool:
    """Keras 2.0 to 2.2 had no such option: its GRU reset before."""
    return bool(layer.option("reset_after", False))


def _weights(
    layer: Layer, path: str, features: int, arrays: list[Array] | None
) -> tuple[Array, Array, Array, Array]:
    """W [G*H, I], R [G*H, H] and the two biases in ONNX's order of gates."""
    units, rows = int(layer.option("units")), _GATES[layer.kind] * int(layer.option("units"))
    shapes: list[tuple[int, ...]] = [(features, rows), (units, rows)]
    two = layer.kind == "GRU" and _reset_after(layer)
    if layer.option("use_bias", True):
        shapes.append((2, rows) if two else (rows,))
    where = replace(layer, path="/".join(filter(None, (layer.path, path))))
    if arrays is not None:
        given = arrays
        where = replace(where, file=replace(layer.file, weights=lambda *_: given))
    found = where.weights(*shapes)
    bias = np.zeros((2, rows))
    if len(found) == 3:
        bias[: 2 if two else 1] = found[2]
    w, r, first, second = (_reordered(layer, part) for part in (found[0].T, found[1].T, bias[0], bias[1]))
    return w, r, first, second


def _reordered(layer: Layer, array: Array) -> Array:
    parts = np.split(array, _GATES[layer.kind])
    return np.concatenate([parts[i] for i in _ONNX_ORDER[layer.kind]])


TRANSLATORS: dict[str, Translator] = {
    **dict.fromkeys(_GATES, recurrent),
    "Bidirectional": bidirectional,
}
