"""Operators around a recurrent layer: the import, ONNX Runtime and the export compute the same."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

import import_graphs
from stepcell.errors import StepcellError
from stepcell.exporters.float_onnx import export_float
from stepcell.importers.onnx import import_onnx
from stepcell.ir import Model
from stepcell.ir.model import all_ops
from stepcell.ir.ops import Activate, Normalize
from stepcell.reference.float_model import run_float

make = helper.make_node


def around(
    folder: Path, nodes: list[onnx.NodeProto], constants: dict[str, Any] | None = None, opset: int = 18
) -> Model:
    """x [T, B, 6] -> GRU of 6 units -> [T, B, 6] as `h` -> nodes -> y; the import has compared both sides."""
    layer = [
        import_graphs.recurrent("GRU", linear_before_reset=1, hidden_size=6),
        make("Squeeze", ["Y", "one"], ["h"]) if opset >= 13 else make("Squeeze", ["Y"], ["h"], axes=[1]),
    ]
    known = {**import_graphs.weights("GRU", 6, 6), "one": np.array([1]), **(constants or {})}
    path = import_graphs.file(folder, [*layer, *nodes], known, {"x": ["T", "B", 6]}, opset=opset)
    model = import_onnx(path)
    agrees_with_its_export(model)
    return model


def agrees_with_its_export(model: Model) -> None:
    x = np.random.default_rng(1).standard_normal((3, 5, *model.main.inputs[0].shape))
    session = onnxruntime.InferenceSession(export_float(model).SerializeToString())
    wanted = run_float(model, x).outputs(model.main)
    for output, name in zip(session.run(None, {"x": x.astype(np.float32)}), model.main.outputs, strict=True):
        np.testing.assert_allclose(output, wanted[name], rtol=1e-5, atol=2e-6)


UNARY: list[tuple[str, dict[str, Any], int]] = [
    ("Relu", {}, 17),
    ("LeakyRelu", {"alpha": 0.3}, 17),
    ("Elu", {"alpha": 0.7}, 17),
    ("Selu", {}, 17),
    ("Selu", {"alpha": 1.1, "gamma": 0.9}, 17),
    ("Celu", {"alpha": 0.6}, 17),
    ("Softplus", {}, 17),
    ("Softsign", {}, 17),
    ("HardSigmoid", {}, 17),
    ("HardSigmoid", {"alpha": 0.4, "beta": 0.3}, 17),
    ("HardSwish", {}, 17),
    ("ThresholdedRelu", {"alpha": 0.2}, 17),
    ("Erf", {}, 17),
    ("Exp", {}, 17),
    ("Abs", {}, 17),
    ("Neg", {}, 17),
    ("Sigmoid", {}, 17),
    ("Tanh", {}, 17),
    ("Clip", {"min": -0.2, "max": 0.4}, 7),
    ("Gelu", {}, 20),
    ("Gelu", {"approximate": "tanh"}, 20),
    ("Mish", {}, 18),
]


@pytest.mark.parametrize(("operator", "attributes", "opset"), UNARY)
def test_a_function_of_one_operand(
    tmp_path: Path, operator: str, attributes: dict[str, Any], opset: int
) -> None:
    around(tmp_path, [make(operator, ["h"], ["y"], **attributes)], opset=opset)


@pytest.mark.parametrize("operator", ["Log", "Sqrt", "Reciprocal"])
def test_a_function_of_positive_numbers(tmp_path: Path, operator: str) -> None:
    nodes = [make("Exp", ["h"], ["positive"]), make(operator, ["positive"], ["y"])]
    around(tmp_path, nodes)


@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.0, 0.5, -1.0, -0.5, 1.7])
def test_a_power_with_a_constant_exponent(tmp_path: Path, exponent: float) -> None:
    nodes = [make("Exp", ["h"], ["positive"]), make("Pow", ["positive", "exponent"], ["y"])]
    around(tmp_path, nodes, {"exponent": np.float32(exponent)})


def test_a_function_with_a_pole_sees_only_the_elements_that_it_takes(tmp_path: Path) -> None:
    nodes = [
        make("Exp", ["h"], ["positive"]),
        make("Concat", ["positive", "h"], ["both"], axis=2),
        make("Slice", ["both", "zero", "six", "two"], ["part"]),
        make("Log", ["part"], ["y"]),
    ]
    constants = {"zero": np.array([0]), "six": np.array([6]), "two": np.array([2])}
    around(tmp_path, nodes, constants)


@pytest.mark.parametrize("shape", [(1,), (6,), (1, 1, 6), ()])
def test_prelu_with_a_slope_of_any_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    slope = np.random.default_rng(0).uniform(-0.5, 0.5, shape).astype(np.float32)
    around(tmp_path, [make("PRelu", ["h", "slope"], ["y"])], {"slope": slope})


@pytest.mark.parametrize(("least", "greatest"), [("low", "high"), ("low", ""), ("", "high"), ("", "")])
def test_clip_with_bounds_as_inputs(tmp_path: Path, least: str, greatest: str) -> None:
    constants = {"low": np.float32(-0.1), "high": np.float32(0.2)}
    around(tmp_path, [make("Clip", ["h", least, greatest], ["y"])], constants)


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
@pytest.mark.parametrize("shape", [(), (2,), (3, 1), (1, 3, 2), (1, 1, 1, 1)])
def test_arithmetic_with_a_constant_of_any_shape(
    tmp_path: Path, operator: str, shape: tuple[int, ...]
) -> None:
    constant = np.random.default_rng(0).uniform(0.5, 2.0, shape).astype(np.float32)
    nodes = [
        make("Reshape", ["h", "halves"], ["parts"]),
        make(operator, ["parts", "constant"], ["y"]),
    ]
    around(tmp_path, nodes, {"constant": constant, "halves": np.array([0, 0, 3, 2])})


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
@pytest.mark.parametrize("axis", [2, 3])
def test_arithmetic_of_data_that_broadcasts(tmp_path: Path, operator: str, axis: int) -> None:
    """[T, B, 3, 2] with its own maximum along an axis, [T, B, 1, 2] or [T, B, 3, 1]."""
    nodes = [
        make("Exp", ["h"], ["positive"]),
        make("Reshape", ["positive", "shape"], ["parts"]),
        make("ReduceMax", ["parts", "axes"], ["largest"]),
        make(operator, ["parts", "largest"], ["y"]),
    ]
    around(tmp_path, nodes, {"shape": np.array([0, 0, 3, 2]), "axes": np.array([axis])})


@pytest.mark.parametrize("operator", ["Sum", "Mean", "Max", "Min"])
def test_arithmetic_of_several_operands(tmp_path: Path, operator: str) -> None:
    nodes = [make("Tanh", ["h"], ["t"]), make(operator, ["h", "t", "c"], ["y"])]
    around(tmp_path, nodes, {"c": np.full(6, 0.1, np.float32)})


REDUCTIONS = [
    *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2"),
    *("ReduceSumSquare", "ReduceLogSumExp", "ReduceLogSum"),
]


@pytest.mark.parametrize("operator", REDUCTIONS)
@pytest.mark.parametrize("opset", [11, 18])
@pytest.mark.parametrize("axes", [[2], [-1], [2, 3], [-2, -1]])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_a_reduction_over_inner_axes(
    tmp_path: Path, operator: str, opset: int, axes: list[int], keepdims: int
) -> None:
    as_input = opset == 18
    attributes: dict[str, Any] = {"keepdims": keepdims} | ({} if as_input else {"axes": axes})
    nodes = [
        make("Exp", ["h"], ["positive"]),
        make("Reshape", ["positive", "shape"], ["parts"]),
        make(operator, ["parts", *(["axes"] if as_input else [])], ["y"], **attributes),
    ]
    around(tmp_path, nodes, {"shape": np.array([0, 0, 3, 2]), "axes": np.array(axes)}, opset)


@pytest.mark.parametrize("operator", ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"])
def test_a_reduction_over_time(tmp_path: Path, operator: str) -> None:
    around(tmp_path, [make(operator, ["h", "axes"], ["y"], keepdims=0)], {"axes": np.array([0])})


def test_a_reduction_over_the_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepcellError, match="batch"):
        around(tmp_path, [make("ReduceSum", ["h", "axes"], ["y"])], {"axes": np.array([1])})


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("axis", [2, 3])
def test_softmax_within_the_network(tmp_path: Path, operator: str, axis: int) -> None:
    nodes = [
        make("Reshape", ["h", "shape"], ["parts"]),
        make(operator, ["parts"], ["soft"], axis=axis),
        make("Mul", ["soft", "parts"], ["y"]),
    ]
    around(tmp_path, nodes, {"shape": np.array([0, 0, 3, 2])})


def _decomposed(inverse: str, squares: str) -> list[onnx.NodeProto]:
    """A layer normalization as exporters before opset 17 write it."""
    nodes = [
        make("ReduceMean", ["h"], ["mean"], axes=[-1]),
        make("Sub", ["h", "mean"], ["c"]),
        make("Pow", ["c", "two"], ["q"]) if squares == "Pow" else make("Mul", ["c", "c"], ["q"]),
        make("ReduceMean", ["q"], ["variance"], axes=[-1]),
        make("Add", ["variance", "epsilon"], ["v"]),
        make("Sqrt", ["v"], ["d"]),
    ]
    if inverse == "Div":
        nodes.append(make("Div", ["c", "d"], ["n"]))
    else:
        nodes += [make("Reciprocal", ["d"], ["r"]), make("Mul", ["r", "c"], ["n"])]
    return [*nodes, make("Mul", ["n", "gain"], ["g"]), make("Add", ["bias", "g"], ["y"])]


@pytest.mark.parametrize("inverse", ["Div", "Reciprocal"])
@pytest.mark.parametrize("squares", ["Pow", "Mul"])
def test_a_layer_normalization_taken_apart_is_found_again(tmp_path: Path, inverse: str, squares: str) -> None:
    random = np.random.default_rng(0)
    constants = {
        "two": np.float32(2),
        "epsilon": np.float32(1e-3),
        "gain": random.normal(size=6).astype(np.float32),
        "bias": random.normal(size=6).astype(np.float32),
    }
    model = around(tmp_path, _decomposed(inverse, squares), constants, opset=17)
    kinds = [type(op) for op in all_ops(model)]
    assert Normalize in kinds
    assert Activate not in kinds


def test_layer_normalization_over_the_last_axes(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    nodes = [
        make("Reshape", ["h", "shape"], ["parts"]),
        make("LayerNormalization", ["parts", "gain", "bias"], ["y"], axis=2, epsilon=1e-3),
    ]
    constants = {
        "shape": np.array([0, 0, 3, 2]),
        "gain": random.normal(size=(3, 2)).astype(np.float32),
        "bias": random.normal(size=(3, 2)).astype(np.float32),
    }
    around(tmp_path, nodes, constants)
