"""LiteRT's interpreter, or the older tflite-runtime, where one is installed: the judge of an import."""

import importlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepcell.errors import StepcellError
from stepcell.importers.tflite.schema import SubGraph, TfliteFile
from stepcell.ir import Source
from stepcell.ir.model import FloatArray
from stepcell.reference.source_layout import Array, Lengths, Streams, first_line, run_sequences

LITERT = "ai-edge-litert"
_PACKAGES = (
    ("ai_edge_litert.interpreter", LITERT),
    ("tflite_runtime.interpreter", "tflite-runtime"),
)


@dataclass(frozen=True)
class Interpreter:
    """An installed interpreter: its module, and what the user knows it as."""

    module: Any
    name: str

    def load(self, content: bytes, keeps_all: bool = False) -> Any:
        """An interpreter of a file's bytes, every tensor readable if it keeps them; raises what it raises."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the memory that keeping takes
            return self.module.Interpreter(model_content=content, experimental_preserve_all_tensors=keeps_all)


def find_interpreter() -> Interpreter | None:
    """The first that is installed and works with the installed numpy."""
    for module, name in _PACKAGES:
        try:
            return Interpreter(importlib.import_module(module), name)
        except Exception:  # noqa: BLE001  # an interpreter that does not load is one that is not there
            continue
    return None


def run_float_file(
    interpreter: Interpreter,
    content: bytes,
    file: TfliteFile,
    source: Source,
    x: Streams,
    lengths: Lengths,
    states: Mapping[str, FloatArray],
) -> Streams:
    """The outputs of float sequences, in the Model's layout (see `run_sequences`)."""
    loaded = _loaded(interpreter, content, file)

    def call(feeds: dict[str, Array], count: int) -> dict[str, Array]:
        del count
        given = {name: np.ascontiguousarray(array) for name, array in feeds.items()}
        results = invoke(loaded, [given[name] for name in file.inputs], file)
        return dict(zip(file.outputs, results, strict=True))

    shapes = {
        name: [None if n < 0 else n for n in file.graphs[0].tensors[index].signature]
        for name, index in zip(file.inputs, file.graphs[0].inputs, strict=True)
    }
    return run_sequences(source, x, lengths, states, shapes, call)


def _loaded(interpreter: Interpreter, content: bytes, file: TfliteFile) -> Any:
    try:
        return interpreter.load(content)
    except Exception as error:
        raise StepcellError(
            f"{file.file}: {interpreter.name} does not load it: {first_line(error)}",
            "convert the model again, for builtin operators only.",
        ) from error


def invoke(loaded: Any, inputs: list[Array], file: TfliteFile) -> list[NDArray[Any]]:
    """One run from the initial states: the outputs, as the file stores them."""
    details = {int(found["index"]): found for found in loaded.get_input_details()}
    try:
        for index, array in zip(file.graphs[0].inputs, inputs, strict=True):
            if tuple(details[index]["shape"]) != array.shape:
                loaded.resize_tensor_input(index, array.shape)
        loaded.allocate_tensors()
        loaded.reset_all_variables()
        for index, array in zip(file.graphs[0].inputs, inputs, strict=True):
            loaded.set_tensor(index, array.astype(details[index]["dtype"]))
        loaded.invoke()
        return [loaded.get_tensor(index).copy() for index in file.graphs[0].outputs]
    except Exception as error:
        shapes = ", ".join(str(list(array.shape)) for array in inputs)
        raise StepcellError(
            f"{file.file}: the interpreter does not run it on inputs of shape {shapes}: {first_line(error)}",
            "convert the model again.",
        ) from error


def run_integer_file(interpreter: Interpreter, file: TfliteFile, x: Array) -> Array:
    """What a file of integers computes for x [N, T, ...], given as its first int8 tensor: [N, ...] as stored.

    A softmax at the end is left out, and so are conversions from and to floats.
    """
    graph = file.graphs[0]
    wanted = graph.outputs[0]
    makers = {output: op for op in graph.operators for output in op.outputs}
    while (op := makers.get(wanted)) is not None and op.name in ("SOFTMAX", "DEQUANTIZE"):
        wanted = op.inputs[0]
    loaded = interpreter.load(file.content, keeps_all=True)
    loaded.allocate_tensors()
    source = loaded.get_input_details()[0]
    found = []
    for one in x:
        loaded.reset_all_variables()
        loaded.set_tensor(source["index"], _given(graph, source, one[None]))
        loaded.invoke()
        found.append(loaded.get_tensor(wanted)[0].astype(np.int64))
    return np.stack(found)


def _given(graph: SubGraph, source: Any, x: Array) -> Array:
    """Integers as the file takes them: itself, or as the floats that it quantizes to them."""
    shape = tuple(source["shape"])
    if np.dtype(source["dtype"]).kind == "i":
        return x.astype(source["dtype"]).reshape(shape)
    quantize = next(op for op in graph.operators if op.name == "QUANTIZE" and source["index"] in op.inputs)
    quantization = graph.tensors[quantize.outputs[0]].quantization
    assert quantization is not None
    real = (x.astype(np.float64) - quantization.zero_point) * quantization.scale
    return real.astype(np.float32).reshape(shape)
