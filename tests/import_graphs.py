"""Small ONNX graphs, made by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from stepcell.importers.onnx import import_onnx
from stepcell.ir import Model

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
Nodes = Sequence[onnx.NodeProto]


def weights(
    op: str, inputs: int, hidden: int, seed: int = 0, directions: int = 1
) -> dict[str, np.ndarray[Any, Any]]:
    """W, R and B of one operator."""
    random = np.random.default_rng(seed)
    rows = GATES[op] * hidden
    shapes = {"W": (directions, rows, inputs), "R": (directions, rows, hidden), "B": (directions, 2 * rows)}
    return {name: (random.standard_normal(shape) * 0.5).astype(np.float32) for name, shape in shapes.items()}


def file(
    folder: Path,
    nodes: Nodes,
    constants: Mapping[str, Any],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
    name: str = "graph.onnx",
    types: Mapping[str, int] = MappingProxyType({}),
) -> Path:
    """Write a graph, of which `types` has the inputs that are not float32; its path."""
    infos = [
        helper.make_tensor_value_info(n, types.get(n, TensorProto.FLOAT), list(shape))
        for n, shape in inputs.items()
    ]
    results = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
    tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    graph = helper.make_graph(list(nodes), "graph", infos, results, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    onnx.save(model, folder / name)
    return folder / name


def recurrent(op: str, x: str = "x", extra: Sequence[str] = (), **attributes: Any) -> onnx.NodeProto:
    """One operator with the weights W, R, B."""
    attributes.setdefault("hidden_size", 5)
    outputs = ["Y", "Y_h", "Y_c"] if op == "LSTM" else ["Y", "Y_h"]
    return helper.make_node(op, [x, "W", "R", "B", *extra], outputs, name="layer", **attributes)


def layer_file(
    folder: Path, op: str, tail: Nodes = (), extra: Mapping[str, Any] | None = None, **attributes: Any
) -> Path:
    """x [T, B, 3] -> one layer of 5 units -> tail; without a tail y is the last hidden state."""
    nodes = tail or [helper.make_node("Squeeze", ["Y_h", "zero"], ["y"])]
    constants = {**weights(op, 3, 5), "zero": np.array([0]), **(extra or {})}
    return file(folder, [recurrent(op, **attributes), *nodes], constants, {"x": ["T", "B", 3]})


def imported(folder: Path, tail: Nodes, extra: Mapping[str, Any] | None = None, op: str = "GRU") -> Model:
    """The import of a layer and what follows it."""
    return import_onnx(
        layer_file(folder, op, tail, extra, linear_before_reset=1)
        if op == "GRU"
        else layer_file(folder, op, tail, extra)
    )
