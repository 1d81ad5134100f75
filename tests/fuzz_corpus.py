"""Small files of every kind that the importers read, to be damaged."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from import_graphs import file, recurrent, weights

FIXTURES = Path(__file__).parent / "fixtures"
_RECURRENT = ("gru_", "lstm_", "rnn_", "simple_rnn_")


def corpus(folder: Path) -> list[Path]:
    """ONNX files made now, and the TFLite and Keras files among the fixtures."""
    folder.mkdir(parents=True, exist_ok=True)
    made = [*_conformance(folder), _plain(folder), _nested(folder), _scan(folder), _external(folder)]
    stored = [path for kind in ("tflite", "keras") for path in sorted((FIXTURES / kind).glob("*"))]
    return made + [path for path in stored if path.suffix in (".tflite", ".keras", ".h5")]


def _conformance(folder: Path) -> list[Path]:
    """The operators' own test cases, their weights made constants."""
    paths = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other operators' cases
        cases = collect_testcases(None)
    for case in cases:
        name = case.name.removeprefix("test_")
        if case.kind != "node" or not name.startswith(_RECURRENT) or not case.model or not case.data_sets:
            continue
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        _store_weights(model.graph, list(case.data_sets[0][0]))
        path = folder / f"{name}.onnx"
        onnx.save(model, path)
        paths.append(path)
    return paths


def _store_weights(graph: onnx.GraphProto, values: list[Any]) -> None:
    for info, value in list(zip(graph.input, values, strict=True))[1:]:
        graph.initializer.append(numpy_helper.from_array(value, info.name))
    del graph.input[1:]


def _plain(folder: Path) -> Path:
    """What exporters write around a layer: shape arithmetic, reshapes, a head."""
    node = helper.make_node
    constants = {
        **weights("LSTM", 3, 2),
        "M": np.ones((2, 4), np.float32),
        "b": np.ones(4, np.float32),
        "one": np.array([1]),
        "two": np.array([2]),
        "minus": np.array(-1),
        "flat": np.array([0, 0, -1]),
    }
    nodes = [
        node("Shape", ["x"], ["sizes"]),
        node("Slice", ["sizes", "one", "two"], ["batch"]),
        node("Concat", ["one", "batch", "two"], ["start"], axis=0),
        node("ConstantOfShape", ["start"], ["h0"]),
        recurrent("LSTM", extra=["", "h0", "h0"], hidden_size=2),
        node("Transpose", ["Y"], ["t"], perm=[0, 2, 1, 3]),
        node("Reshape", ["t", "flat"], ["s"]),
        node("Gather", ["s", "minus"], ["last"], axis=0),
        node("Gemm", ["last", "M", "b"], ["g"]),
        node("Softmax", ["g"], ["y"], axis=1),
    ]
    return file(folder, nodes, constants, {"x": ["T", "B", 3]}, name="plain.onnx")


def _nested(folder: Path) -> Path:
    """Branches inside branches, the weights in them."""
    inner = helper.make_graph(
        [helper.make_node("Identity", ["W"], ["w"])],
        "inner",
        [],
        [helper.make_tensor_value_info("w", TensorProto.FLOAT, None)],
    )
    outer = helper.make_graph(
        [helper.make_node("If", ["yes"], ["v"], then_branch=inner, else_branch=inner)],
        "outer",
        [],
        [helper.make_tensor_value_info("v", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("If", ["yes"], ["weights"], then_branch=outer, else_branch=outer),
        helper.make_node(
            "GRU", ["x", "weights", "R", "B"], ["Y", "Y_h"], hidden_size=5, linear_before_reset=1
        ),
        helper.make_node("Squeeze", ["Y_h", "zero"], ["y"]),
    ]
    constants = {**weights("GRU", 3, 5), "yes": np.array(True), "zero": np.array([0])}
    return file(folder, nodes, constants, {"x": ["T", "B", 3]}, name="nested.onnx")


def _scan(folder: Path) -> Path:
    """A cell as the body of a Scan over time."""
    node, info = helper.make_node, helper.make_tensor_value_info
    body = helper.make_graph(
        [
            node("MatMul", ["xt", "Wx"], ["a"]),
            node("MatMul", ["h", "Wh"], ["b"]),
            node("Add", ["a", "b"], ["p"]),
            node("Tanh", ["p"], ["hn"]),
            node("Identity", ["hn"], ["out"]),
        ],
        "body",
        [info("h", TensorProto.FLOAT, [1, 4]), info("xt", TensorProto.FLOAT, [1, 3])],
        [info("hn", TensorProto.FLOAT, [1, 4]), info("out", TensorProto.FLOAT, [1, 4])],
    )
    random = np.random.default_rng(0)
    constants = {
        "Wx": random.standard_normal((3, 4)).astype(np.float32),
        "Wh": 0.5 * random.standard_normal((4, 4)).astype(np.float32),
        "h0": np.zeros((1, 4), np.float32),
    }
    nodes = [node("Scan", ["h0", "x"], ["last", "y"], body=body, num_scan_inputs=1)]
    return file(folder, nodes, constants, {"x": ["T", 1, 3]}, name="scan.onnx")


def _external(folder: Path) -> Path:
    """Weights that claim to lie in a file beside the model, which is not there."""
    path = file(
        folder,
        [recurrent("RNN"), helper.make_node("Squeeze", ["Y_h", "zero"], ["y"])],
        {**weights("RNN", 3, 5), "zero": np.array([0])},
        {"x": ["T", "B", 3]},
        name="external.onnx",
    )
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    for key, value in (("location", "weights.bin"), ("offset", "0"), ("length", "60")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString())
    return path
