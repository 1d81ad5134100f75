"""From a Keras model's configuration to a Graph: Sequential, or Functional with its connections."""

from typing import Any

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.builder import Builder
from stepcell.importers.graph import Graph, GraphInput, Node
from stepcell.importers.keras import layers, recurrent
from stepcell.importers.keras.archive import KerasFile
from stepcell.importers.keras.layer import Layer, Tensor, Translator

TRANSLATORS: dict[str, Translator] = {**recurrent.TRANSLATORS, **layers.TRANSLATORS}
_MALFORMED = (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
_HINT = "save the model again with model.save()."

Key = tuple[str, int]
"""(layer, which of its calls)."""


class _Model:
    """A model being translated: what each call of a layer gave."""

    def __init__(self, file: KerasFile) -> None:
        self.file = file
        self.builder = Builder(file.file)
        self.inputs: list[GraphInput] = []
        self.made: dict[Key, Tensor] = {}

    def add_input(self, name: str, config: dict[str, Any]) -> Tensor:
        """An input: batch and every free axis get symbols."""
        shape = config.get("batch_shape", config.get("batch_input_shape"))
        if not isinstance(shape, list) or len(shape) < 2:
            raise StepcellError(
                f"{self.file.file}: its input '{name}' has no shape.", "build the model with an Input layer."
            )
        symbols = tuple(f"{name}_{axis}" if n is None else int(n) for axis, n in enumerate(shape))
        batch = "batch" if shape[0] is None else int(shape[0])
        dtype = np.dtype(str(config.get("dtype") or "float32").replace("bfloat16", "float32"))
        self.inputs.append(GraphInput(name, (batch, *symbols[1:]), dtype))
        self.made[name, 0] = Tensor(name, tuple(None if n is None else int(n) for n in shape[1:]))
        return self.made[name, 0]

    def call(self, found: dict[str, Any], inputs: list[Tensor], key: Key, given: Any = None) -> Tensor:
        """One call of a layer: its nodes, or a refused one; `given` is all that it is called with."""
        layer = Layer(self.file, self.builder, str(found.get("class_name")), dict(found["config"]))
        self.made[key] = self._translated(layer, inputs, given)
        return self.made[key]

    def _translated(self, layer: Layer, inputs: list[Tensor], given: Any) -> Tensor:
        refusal = None
        try:
            _require_allowed(layer, inputs, given)
            if not any(x.name in self.builder.refused for x in inputs):
                return TRANSLATORS[layer.kind](layer, inputs)
        except StepcellError as found:
            refusal = found
        (name,) = self.builder.refuse(layer.name, tuple(x.name for x in inputs), 1, refusal)
        return Tensor(name, ())

    def graph(self, outputs: list[tuple[str, Tensor]]) -> Graph:
        """The Graph, its outputs called as given."""
        taken = {source.name for source in self.inputs}
        names = []
        for wanted, tensor in outputs:
            name = wanted
            while name in taken:
                name += "_out"
            taken.add(name)
            names.append(name)
            self.builder.nodes.append(Node("Identity", wanted, (tensor.name,), (name,)))
        return Graph(
            self.file.file,
            "keras",
            self.file.sha256,
            20,
            tuple(self.inputs),
            tuple(names),
            tuple(self.builder.nodes),
            self.builder.constants,
        )


def _require_allowed(layer: Layer, inputs: list[Tensor], given: Any) -> None:
    if layer.kind not in TRANSLATORS:
        raise layer.refuse(
            "is an unsupported layer; allowed are " + ", ".join(sorted(TRANSLATORS.keys() - {"Masking"})),
            "replace it, or convert the model to ONNX.",
        )
    if not inputs:
        raise layer.refuse("reads nothing", _HINT)
    if _reads_more(given):
        raise layer.refuse(
            "is given more than its input (a state, a mask); only tensors that it computes with are allowed",
            "leave initial_state and mask out.",
        )


def to_graph(file: KerasFile) -> Graph:
    """The Graph of a Keras file.

    A layer that is not allowed becomes a refused node. Raises StepcellError for a file that is no model.
    """
    kind = str(file.config.get("class_name"))
    try:
        if kind == "Sequential":
            return _sequential(file)
        if kind in ("Functional", "Model"):
            return _functional(file)
    except _MALFORMED as error:
        raise StepcellError(f"{file.file}: its configuration is malformed: {error}.", _HINT) from error
    raise StepcellError(
        f"{file.file}: it is a {kind}; Sequential and Functional models are allowed.",
        "build it of layers with tf.keras.Sequential or tf.keras.Model(inputs, outputs).",
    )


def _sequential(file: KerasFile) -> Graph:
    model = _Model(file)
    found = list(file.config["config"]["layers"])
    first = found[0]
    if first["class_name"] == "InputLayer":
        found.pop(0)
    tensor = model.add_input(_name(first) if first["class_name"] == "InputLayer" else "x", first["config"])
    for layer in found:
        tensor = model.call(layer, [tensor], (_name(layer), 0))
    return model.graph([(_name(found[-1]) if found else "y", tensor)])


def _name(layer: dict[str, Any]) -> str:
    return str(layer["config"].get("name", layer.get("name", layer["class_name"])))


def _functional(file: KerasFile) -> Graph:
    """Layers are in an order in which each reads only earlier ones; a layer may be called several times."""
    model = _Model(file)
    config = file.config["config"]
    waiting = [(layer, k) for layer in config["layers"] for k in range(len(_calls(layer)))]
    for layer in config["layers"]:
        if layer["class_name"] == "InputLayer":
            model.add_input(_name(layer), layer["config"])
    while waiting:
        rest = []
        for layer, k in waiting:
            call = _calls(layer)[k]
            keys = _reads(call)
            if all(key in model.made for key in keys):
                model.call(layer, [model.made[key] for key in keys], (_name(layer), k), call)
            else:
                rest.append((layer, k))
        if len(rest) == len(waiting):
            raise StepcellError(f"{file.file}: its layers read each other in a circle.", _HINT)
        waiting = rest
    wanted = _ends(config["output_layers"])
    return model.graph([(key[0], model.made[key]) for key in wanted])


def _calls(layer: dict[str, Any]) -> list[Any]:
    return [] if layer["class_name"] == "InputLayer" else list(layer.get("inbound_nodes", []))


def _ends(found: Any) -> list[Key]:
    """[name, call, tensor], or a list of these."""
    entries = [found] if found and isinstance(found[0], str) else list(found)
    return [(str(entry[0]), int(entry[1])) for entry in entries]


def _reads(call: Any) -> list[Key]:
    """Which calls one call of a layer reads."""
    found = _tensors(call.get("args", [])) if isinstance(call, dict) else _entries(call)
    return [(str(entry[0]), int(entry[1])) for entry in found]


def _entries(call: Any) -> list[Any]:
    """Keras 2: [name, call, tensor, kwargs], or a list of these."""
    return [call] if call and isinstance(call[0], str) else list(call)


def _reads_more(call: Any) -> bool:
    """Whether one call of a layer is given more than its inputs, or another result than a first."""
    if call is None:
        return False
    if isinstance(call, dict):  # Keras 3: {"args": [tensors], "kwargs": {...}}
        args, kwargs = call.get("args", []), {**call.get("kwargs", {}), "training": None}
        return len(args) > 1 or bool(_tensors(kwargs)) or any(entry[2] != 0 for entry in _tensors(args))
    given = (value for entry in _entries(call) for value in (entry[3] if len(entry) > 3 else {}).values())
    return any(isinstance(value, list) and value for value in given) or any(
        entry[2] != 0 for entry in _entries(call)
    )


def _tensors(value: Any) -> list[list[Any]]:
    """The tensors [name, call, tensor] in a value of Keras 3, in order."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            return [list(value["config"]["keras_history"])]
        return [found for part in value.values() for found in _tensors(part)]
    if isinstance(value, list | tuple):
        return [found for part in value for found in _tensors(part)]
    return []
