"""The time axis of ONNX files: what runs along it, what fixes it, last steps, several lengths."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from import_graphs import file, imported, layer_file, recurrent, weights
from stepcell.errors import StepcellError
from stepcell.importers.onnx import import_onnx
from stepcell.ir import verify_lowerable
from stepcell.ir.ops import Gru
from stepcell.reference.float_model import run_float
from stepcell.reference.onnx_runtime import run_source

node = helper.make_node


@pytest.mark.parametrize("opset", [17, 18])
@pytest.mark.parametrize("op", ["ReduceMean", "ReduceMax"])
@pytest.mark.parametrize("keep", [0, 1])
def test_reductions_over_time_become_states(op: str, opset: int, keep: int, tmp_path: Path) -> None:
    more: dict[str, Any] = {} if opset == 18 else {"axes": [0]}
    constants = {**weights("GRU", 3, 5), "axes": np.array([0])}
    reduce = node(op, ["Y", "axes"] if opset == 18 else ["Y"], ["y"], keepdims=keep, **more)
    nodes = [recurrent("GRU"), reduce]
    model = import_onnx(file(tmp_path, nodes, constants, {"x": ["T", "B", 3]}, opset=opset))
    assert len(model.states) == (3 if op == "ReduceMean" else 2)
    assert verify_lowerable(model) is model


def test_a_frozen_time_is_relaxed(tmp_path: Path) -> None:
    """Reshape to [7, 1, 5] and Gather of index 6 are both of the time axis, although both are numbers."""
    constants = {**weights("GRU", 3, 5), "shape": np.array([7, 1, 5]), "six": np.array(6)}
    nodes = [
        recurrent("GRU"),
        node("Reshape", ["Y", "shape"], ["r"]),
        node("Gather", ["r", "six"], ["y"], axis=0),
    ]
    model = import_onnx(file(tmp_path, nodes, constants, {"x": [7, 1, 3]}))
    assert model.source is not None
    assert model.source.inputs[0].shape == (7, 1, 3)
    assert run_float(model, np.zeros((2, 30, 3))).ends["gru1_h"].shape == (2, 5)


def test_a_frozen_time_that_meets_a_weight_is_refused(tmp_path: Path) -> None:
    constants = {
        **weights("GRU", 3, 5),
        "position": np.arange(21, dtype=np.float32).reshape(7, 1, 3),
        "zero": np.array([0]),
    }
    nodes = [
        node("Add", ["x", "position"], ["p"]),
        recurrent("GRU", "p"),
        node("Squeeze", ["Y_h", "zero"], ["y"]),
    ]
    with pytest.raises(StepcellError, match=r"uses a constant that varies along axis 0 of .x."):
        import_onnx(file(tmp_path, nodes, constants, {"x": [7, "B", 3]}))


def test_a_step_in_the_middle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepcellError, match="picks index 0 of the time axis"):
        imported(tmp_path, [node("Gather", ["Y", "zero"], ["y"], axis=0)])


def test_softmax_over_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepcellError, match="attention scores or weights, which are not kept"):
        imported(tmp_path, [node("Softmax", ["Y"], ["y"], axis=0)])


def test_steps_without_a_batch_axis(tmp_path: Path) -> None:
    """x [T, 3], unsqueezed for the operator: no batch, one sequence a call."""
    constants = {**weights("GRU", 3, 5), "one": np.array([1]), "both": np.array([0, 1])}
    nodes = [
        node("Unsqueeze", ["x", "one"], ["u"]),
        recurrent("GRU", "u"),
        node("Squeeze", ["Y_h", "both"], ["y"]),
    ]
    model = import_onnx(file(tmp_path, nodes, constants, {"x": ["T", 3]}))
    assert model.source is not None
    assert model.source.inputs[0].axes == ("time", "inner")
    assert model.source.outputs[0].axes == ("inner",)


def test_a_last_step_head_runs_once_a_sequence(tmp_path: Path) -> None:
    """Linear over every step, then the last: the Dense moves to `finish`."""
    extra = {"M": np.ones((5, 2), np.float32), "minus": np.array(-1)}
    tail = [
        node("MatMul", ["Y", "M"], ["m"]),
        node("Relu", ["m"], ["r"]),
        node("Gather", ["r", "minus"], ["y"], axis=0),
    ]
    model = imported(tmp_path, tail, extra)
    assert model.main.finish is not None
    assert [type(op).__name__ for op in model.main.finish.ops] == ["Dense", "Activate"]
    assert [type(op) for op in model.main.stages[0].ops] == [Gru]


def test_a_last_step_that_needs_the_input_is_kept_in_a_state(tmp_path: Path) -> None:
    extra = {"M": np.ones((3, 5), np.float32), "minus": np.array(-1), "one": np.array([1])}
    tail = [
        node("MatMul", ["x", "M"], ["m"]),
        node("Squeeze", ["Y", "one"], ["s"]),
        node("Add", ["m", "s"], ["a"]),
        node("Gather", ["a", "minus"], ["y"], axis=0),
    ]
    assert "last1" in [state.name for state in imported(tmp_path, tail, extra).states]


def test_a_sequence_of_another_length_than_the_frozen_one_is_refused(tmp_path: Path) -> None:
    constants = {**weights("GRU", 3, 5), "zero": np.array([0])}
    path = file(
        tmp_path, [recurrent("GRU"), node("Squeeze", ["Y_h", "zero"], ["y"])], constants, {"x": [7, 1, 3]}
    )
    model = import_onnx(path)
    assert model.source is not None
    assert run_source(path, model.source, np.zeros((3, 7, 3)))["y"].shape == (3, 5)
    with pytest.raises(StepcellError, match="has 6 steps; the file runs exactly 7"):
        run_source(path, model.source, np.zeros((3, 7, 3)), np.array([7, 6, 7]))


def test_ragged_sequences_run_in_groups_of_equal_length(tmp_path: Path) -> None:
    path = layer_file(tmp_path, "GRU")
    model = import_onnx(path)
    assert model.source is not None
    x, lengths = np.random.default_rng(0).standard_normal((9, 6, 3)), np.array([1, 6, 2, 2, 5, 3, 6, 4, 1])
    wanted = run_source(path, model.source, x, lengths)["y"]
    assert np.allclose(run_float(model, x, lengths).ends["gru1_h"], wanted, atol=1e-6)
