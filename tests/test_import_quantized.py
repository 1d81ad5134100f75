"""Quantized ONNX files: weights as the real numbers that they stand for, rounding of activations left out."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from import_graphs import file, layer_file, recurrent, weights
from stepcell.errors import StepcellError
from stepcell.importers.graph import Node
from stepcell.importers.lift.fold import fold
from stepcell.importers.onnx import import_onnx
from stepcell.reference.float_model import run_float

node = helper.make_node
HEAD = [
    node("Squeeze", ["Y", "one"], ["s"]),
    node("MatMul", ["s", "M"], ["m"]),
    node("Add", ["m", "b"], ["y"]),
]


def constants() -> dict[str, Any]:
    random = np.random.default_rng(1)
    return {
        "one": np.array([1]),
        "M": random.standard_normal((5, 4)).astype("f"),
        "b": random.standard_normal(4).astype("f"),
    }


def quantized(folder: Path, op: str) -> Path:
    path = layer_file(folder, op, HEAD, constants())
    quantize_dynamic(path, folder / "quantized.onnx", weight_type=QuantType.QInt8)
    return folder / "quantized.onnx"


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
def test_dynamic_quantization_is_imported_to_a_stated_tolerance(op: str, tmp_path: Path) -> None:
    """quantize_dynamic makes DynamicQuantizeLSTM, DynamicQuantizeLinear and MatMulInteger of these."""
    path = quantized(tmp_path, op)
    kinds = {found.op_type for found in onnx.load(path).graph.node}
    assert "MatMulInteger" in kinds
    assert ("DynamicQuantizeLSTM" in kinds) == (op == "LSTM")
    model = import_onnx(path)
    assert model.source is not None
    assert "rounds activations" in model.source.judge
    original = import_onnx(tmp_path / "graph.onnx")
    x = np.random.default_rng(0).standard_normal((2, 9, 3))
    (mine,), (wanted,) = (run_float(m, x).outputs(m.main).values() for m in (model, original))
    assert 0 < np.abs(mine - wanted).max() < 0.05


def test_weights_are_scale_times_stored_less_zero_point(tmp_path: Path) -> None:
    path = quantized(tmp_path, "LSTM")
    tensors = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    lstm = next(found for found in onnx.load(path).graph.node if found.op_type == "DynamicQuantizeLSTM")
    stored, scale, zero = (tensors[lstm.input[k]] for k in (1, 8, 9))
    model = import_onnx(path)
    wanted = (stored[0].astype(np.float64) - zero.ravel()[0]) * np.float64(scale.ravel()[0])
    np.testing.assert_allclose(model.weights["lstm1_input_weights"], wanted.T, rtol=1e-7)


def test_quantized_weights_alone_are_exact(tmp_path: Path) -> None:
    """DequantizeLinear of initializers, a scale for every column, is folded; the check stays at 1e-5."""
    random = np.random.default_rng(0)
    stored = random.integers(-127, 128, (1, 15, 3)).astype(np.int8)
    extra = {
        "Wq": stored,
        "scale": random.uniform(0.005, 0.02, 15).astype("f"),
        "zero": np.zeros(15, np.int8),
    }
    nodes = [
        node("DequantizeLinear", ["Wq", "scale", "zero"], ["W"], axis=1),
        recurrent("GRU"),
        *HEAD,
    ]
    given = {name: array for name, array in weights("GRU", 3, 5).items() if name != "W"}
    path = file(tmp_path, nodes, {**given, **extra, **constants()}, {"x": ["T", "B", 3]}, opset=13)
    model = import_onnx(path)
    assert model.source is not None
    assert model.source.judge == ""
    np.testing.assert_allclose(
        model.weights["gru1_input_weights"], stored[0] * extra["scale"][:, None].astype(np.float64), rtol=1e-6
    )


def qdq_file(folder: Path, second_scale: float) -> Path:
    nodes = [
        node("QuantizeLinear", ["x", "s1", "z"], ["xq"], name="quantize"),
        node("DequantizeLinear", ["xq", "s2", "z"], ["xr"], name="dequantize"),
        recurrent("GRU", "xr"),
        *HEAD,
    ]
    scales = {"s1": np.float32(0.03), "s2": np.float32(second_scale), "z": np.int8(0)}
    return file(
        folder, nodes, {**weights("GRU", 3, 5), **constants(), **scales}, {"x": ["T", "B", 3]}, opset=13
    )


def test_rounding_of_activations_is_left_out_and_said(tmp_path: Path) -> None:
    model = import_onnx(qdq_file(tmp_path, 0.03))
    assert model.source is not None
    assert "to 0.1" in model.source.judge


def test_other_scales_on_the_way_back_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        StepcellError, match=r"'dequantize' .* has another scale than the QuantizeLinear before it"
    ):
        import_onnx(qdq_file(tmp_path, 0.06))


def test_arithmetic_on_integers_is_refused(tmp_path: Path) -> None:
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        node("QLinearMatMul", ["xq", "s", "z", "A", "s", "z", "s", "z"], ["aq"], name="integers"),
        node("DequantizeLinear", ["aq", "s", "z"], ["a"]),
        recurrent("GRU", "a"),
        *HEAD,
    ]
    extra = {"s": np.float32(0.03), "z": np.int8(0), "A": np.eye(3).astype(np.int8)}
    path = file(
        tmp_path, nodes, {**weights("GRU", 3, 5), **constants(), **extra}, {"x": ["T", "B", 3]}, opset=13
    )
    with pytest.raises(StepcellError, match=r"'integers' .* computes with quantized activations"):
        import_onnx(path)


@pytest.mark.parametrize(
    ("op", "operands", "attributes", "opset", "wanted"),
    [
        ("ReduceSum", [np.arange(6.0).reshape(2, 3), np.array([1])], {"keepdims": 0}, 13, [3, 12]),
        ("ReduceSum", [np.arange(6.0).reshape(2, 3)], {"axes": [0], "keepdims": 0}, 11, [3, 5, 7]),
        ("Clip", [np.array([-1.0, 0.5, 3.0])], {"min": 0.0, "max": 1.0}, 7, [0, 0.5, 1]),
        ("Clip", [np.array([-1.0, 0.5, 3.0]), np.array(0.0), np.array(1.0)], {}, 13, [0, 0.5, 1]),
        ("Pow", [np.array([1.0, 2.0]), np.array(3.0)], {}, 13, [1, 8]),
        ("Tile", [np.array([1.0, 2.0]), np.array([2])], {}, 13, [1, 2, 1, 2]),
        ("CumSum", [np.array([1.0, 2.0, 3.0]), np.array(0)], {}, 14, [1, 3, 6]),
        ("Mod", [np.array([5, -5]), np.array([3, 3])], {}, 13, [2, 1]),
        ("Sign", [np.array([-2.0, 0.0, 5.0])], {}, 13, [-1, 0, 1]),
        ("Round", [np.array([0.5, 1.5, -2.6])], {}, 11, [0, 2, -3]),
        ("Einsum", [np.ones((2, 3)), np.ones((3, 2))], {"equation": "ij,jk->ik"}, 12, [[3, 3], [3, 3]]),
        ("Pad", [np.array([1.0]), np.array([1, 2]), np.array(7.0)], {}, 13, [7, 1, 7, 7]),
        (
            "GatherElements",
            [np.array([[1, 2], [3, 4]]), np.array([[0, 0], [1, 0]])],
            {"axis": 1},
            13,
            [[1, 1], [4, 3]],
        ),
        ("ScatterND", [np.zeros(4), np.array([[1], [3]]), np.array([9.0, 8.0])], {}, 16, [0, 9, 0, 8]),
        (
            "DequantizeLinear",
            [np.array([[1, 2], [3, 4]], np.int8), np.array([0.5, 2.0], "f")],
            {"axis": 0},
            13,
            [[0.5, 1], [6, 8]],
        ),
    ],
)
def test_constants_are_computed_with_the_meaning_of_their_opset(
    op: str, operands: list[Any], attributes: dict[str, Any], opset: int, wanted: Any
) -> None:
    names = tuple(f"x{k}" for k in range(len(operands)))
    found = fold(Node(op, "n", names, ("y",), attributes), operands, opset)
    assert found is not None
    np.testing.assert_allclose(found[0], wanted)


def test_a_constant_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(Exception, match="at most"):
        fold(Node("Tile", "n", ("a", "b"), ("y",)), [np.ones(1000), np.array([10**9])], 13)
