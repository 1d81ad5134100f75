"""ONNX graphs made by hand: each is compared with ONNX Runtime by the import itself."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from import_graphs import file, imported, layer_file, recurrent, weights
from stepcell.errors import StepcellError
from stepcell.importers.onnx import import_onnx
from stepcell.ir import to_text
from stepcell.ir.ops import Concat, Dense, Gru, Take

node = helper.make_node

LAST = node("Gather", ["Y", "minus"], ["last"], axis=0)


@pytest.mark.parametrize(
    "attributes",
    [
        {"transB": 1},
        {"alpha": 0.5},
        {"beta": 2.0},
        {"transB": 1, "alpha": -2.0, "beta": 0.0},
        {"transA": 1},
    ],
)
@pytest.mark.parametrize("bias", [None, (4,), (1, 4), (1,), (1, 1)])
def test_gemm_becomes_one_dense(
    attributes: dict[str, Any], bias: tuple[int, ...] | None, tmp_path: Path
) -> None:
    random = np.random.default_rng(1)
    matrix = random.standard_normal((4, 5) if attributes.get("transB") else (5, 4)).astype(np.float32)
    extra: dict[str, Any] = {"minus": np.array(-1), "M": matrix, "zero": np.array([0])}
    if bias is not None:
        extra["C"] = random.standard_normal(bias).astype(np.float32)
    head = "turned" if attributes.get("transA") else "h"
    tail = [node("Squeeze", ["Y_h", "zero"], ["h"]), node("Transpose", ["h"], ["turned"], perm=[1, 0])]
    tail.append(node("Gemm", [head, "M", *(["C"] if bias else [])], ["y"], **attributes))
    model = imported(tmp_path, tail, extra)
    assert model.main.finish is not None
    assert [type(op) for op in model.main.finish.ops] == [Dense]


def test_matmul_and_add_become_one_dense_with_bias(tmp_path: Path) -> None:
    extra = {"minus": np.array(-1), "M": np.ones((5, 2), np.float32), "b": np.array([1, 2], np.float32)}
    tail = [LAST, node("MatMul", ["last", "M"], ["m"]), node("Add", ["b", "m"], ["y"])]
    model = imported(tmp_path, tail, extra)
    assert list(model.weights["dense1_bias"]) == [1, 2]
    assert "binary" not in to_text(model)


def test_a_product_read_twice_keeps_its_own_bias(tmp_path: Path) -> None:
    """m = h M;  y = relu(m) + (m + b): the bias must not get into the first reading."""
    extra = {"zero": np.array([0]), "M": np.ones((5, 2), np.float32), "b": np.array([1, 2], np.float32)}
    tail = [
        node("Squeeze", ["Y_h", "zero"], ["h"]),
        node("MatMul", ["h", "M"], ["m"]),
        node("Add", ["m", "b"], ["n"]),
        node("Relu", ["m"], ["r"]),
        node("Add", ["r", "n"], ["y"]),
    ]
    assert not imported(tmp_path, tail, extra).weights["dense1_bias"].any()


def test_a_constant_matrix_may_stand_on_the_left(tmp_path: Path) -> None:
    extra = {"zero": np.array([0]), "M": np.arange(10, dtype=np.float32).reshape(2, 5)}
    tail = [
        node("Squeeze", ["Y_h", "zero"], ["h"]),
        node("Transpose", ["h"], ["t"]),
        node("MatMul", ["M", "t"], ["m"]),
        node("Transpose", ["m"], ["y"]),
    ]
    assert imported(tmp_path, tail, extra).weights["dense1_weights"].shape == (2, 5)


def test_inner_moves_become_one_take(tmp_path: Path) -> None:
    """Six nodes move the inputs [4, 3] of a step about; the model has one Take."""
    constants = {
        **weights("GRU", 10, 5),
        "flat": np.array([0, 0, -1]),
        "zero": np.array([0]),
        "back": np.array([1]),
        "five": np.array([5]),
        "end": np.array([2**63 - 1]),
        "pick": np.array([0, 2, 1, 3, 5, 4, 6, 8, 7, 9]),
        "more": np.array([0, 0, 3, 4]),
        "axis": np.array([2]),
    }
    nodes = [
        node("Transpose", ["x"], ["a"], perm=[0, 1, 3, 2]),
        node("Reshape", ["a", "flat"], ["b"]),
        node("Reshape", ["b", "more"], ["c"]),
        node("Transpose", ["c"], ["d"], perm=[1, 0, 3, 2]),
        node("Transpose", ["d"], ["e"], perm=[1, 0, 2, 3]),
        node("Reshape", ["e", "flat"], ["f"]),
        node("Gather", ["f", "pick"], ["g"], axis=2),
        recurrent("GRU", "g"),
        node("Squeeze", ["Y_h", "zero"], ["y"]),
    ]
    model = import_onnx(file(tmp_path, nodes, constants, {"x": ["T", "B", 4, 3]}))
    assert [type(op) for op in model.main.stages[0].ops] == [Take, Gru]
    assert model.main.inputs[0].shape == (4, 3)


def test_split_slice_and_concat_of_features(tmp_path: Path) -> None:
    constants = {
        **weights("GRU", 8, 5),
        "zero": np.array([0]),
        "one": np.array([1]),
        "two": np.array([2]),
        "six": np.array([6]),
        "c": np.ones((1, 1, 1), np.float32),
    }
    nodes = [
        node("Split", ["x"], ["a", "b"], axis=2),
        node("Slice", ["x", "one", "six", "two", "two"], ["s"]),
        node("Relu", ["b"], ["r"]),
        node("Concat", ["r", "s", "zeros"], ["t"], axis=2),
        node("Concat", ["t", "a"], ["u"], axis=-1),
        recurrent("GRU", "u"),
        node("Squeeze", ["Y_h", "zero"], ["y"]),
    ]
    constants["zeros"] = np.zeros((7, 2, 0), np.float32)
    constants["W"] = weights("GRU", 9, 5)["W"]
    model = import_onnx(file(tmp_path, nodes, constants, {"x": [7, 2, 6]}))
    assert sum(isinstance(op, Concat) for op in model.main.stages[0].ops) == 2


def test_scalars_and_vectors_broadcast(tmp_path: Path) -> None:
    constants = {
        **weights("GRU", 3, 5),
        "mean": np.arange(3, dtype=np.float32),
        "scale": np.float32(0.5),
        "std": np.array([1, 2, 4], np.float32),
        "zero": np.array([0]),
    }
    nodes = [
        node("Sub", ["x", "mean"], ["a"]),
        node("Div", ["a", "std"], ["b"]),
        node("Mul", ["scale", "b"], ["c"]),
        node("Max", ["c", "scale"], ["d"]),
        recurrent("GRU", "d"),
        node("Squeeze", ["Y_h", "zero"], ["y"]),
    ]
    import_onnx(file(tmp_path, nodes, constants, {"x": ["T", "B", 3]}))


@pytest.mark.parametrize("axis", [-1, 2])
def test_softmax_runs_over_an_inner_axis(axis: int, tmp_path: Path) -> None:
    extra = {"one": np.array([1])}
    model = imported(
        tmp_path, [node("Squeeze", ["Y", "one"], ["s"]), node("Softmax", ["s"], ["y"], axis=axis)], extra
    )
    assert model.main.outputs == ("y",)


def test_computed_weights_are_folded(tmp_path: Path) -> None:
    given = weights("GRU", 3, 5)
    constants = {**given, "W": given["W"][0].T.copy(), "axis": np.array([0]), "two": np.float32(2)}
    nodes = [
        node("Transpose", ["W"], ["t"]),
        node("Mul", ["t", "two"], ["m"]),
        node("Unsqueeze", ["m", "axis"], ["V"]),
        node("GRU", ["x", "V", "R", "B"], ["Y", "Y_h"], hidden_size=5),
        node("Squeeze", ["Y_h", "axis"], ["y"]),
    ]
    model = import_onnx(file(tmp_path, nodes, constants, {"x": ["T", "B", 3]}))
    assert np.array_equal(model.weights["gru1_input_weights"], given["W"][0].astype(np.float64) * 2)


def test_several_outputs_keep_their_order_and_names(tmp_path: Path) -> None:
    constants = {**weights("GRU", 3, 5), "zero": np.array([0]), "one": np.array([1])}
    nodes = [
        recurrent("GRU"),
        node("Squeeze", ["Y_h", "zero"], ["h"]),
        node("Relu", ["h"], ["end"]),
        node("Squeeze", ["Y", "one"], ["s"]),
        node("Sigmoid", ["s"], ["every"]),
    ]
    model = import_onnx(file(tmp_path, nodes, constants, {"x": ["T", "B", 3]}, ["end", "every"]))
    assert model.main.outputs == ("end", "every")


def test_inputs_that_are_bound_are_constants(tmp_path: Path) -> None:
    constants = {**weights("GRU", 3, 5), "zero": np.array([0])}
    nodes = [
        node("Mul", ["x", "gain"], ["g"]),
        recurrent("GRU", "g"),
        node("Squeeze", ["Y_h", "zero"], ["y"]),
    ]
    path = file(tmp_path, nodes, constants, {"x": ["T", "B", 3], "gain": []})
    assert [value.name for value in import_onnx(path, bind={"gain": 2.0}).main.inputs] == ["x"]


def test_a_shape_that_the_file_leaves_open_is_given(tmp_path: Path) -> None:
    constants = {**weights("GRU", 3, 5), "zero": np.array([0])}
    path = file(
        tmp_path,
        [recurrent("GRU"), node("Squeeze", ["Y_h", "zero"], ["y"])],
        constants,
        {"x": ["T", "B", "F"]},
    )
    with pytest.raises(StepcellError, match="neither batch nor time") as refused:
        import_onnx(path)
    assert "--shape x=" in refused.value.hint
    assert import_onnx(path, shapes={"x": ("T", "B", 3)}).main.inputs[0].shape == (3,)


def test_external_data_beside_the_file_is_read(tmp_path: Path) -> None:
    proto = onnx.load(layer_file(tmp_path, "GRU"))
    path = tmp_path / "split.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="split.bin", size_threshold=0)
    assert import_onnx(path).weights["gru1_input_weights"].shape == (15, 3)
