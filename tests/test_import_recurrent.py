"""Recurrent operators of ONNX files: their attributes, biases, states and directions."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from import_graphs import file, layer_file, recurrent, weights
from stepcell.errors import StepcellError
from stepcell.importers.onnx import import_onnx
from stepcell.ir import recurrent_ops, verify_lowerable
from stepcell.ir.ops import Gru, Lstm, Rnn
from stepcell.reference.float_model import run_float

node = helper.make_node


@pytest.mark.parametrize("before", [0, 1])
def test_gru_keeps_linear_before_reset(before: int, tmp_path: Path) -> None:
    (op,) = recurrent_ops(import_onnx(layer_file(tmp_path, "GRU", linear_before_reset=before)))
    assert isinstance(op, Gru)
    assert op.linear_before_reset is bool(before)


@pytest.mark.parametrize(("activation", "found"), [("Tanh", "Tanh"), ("Relu", "Relu")])
def test_rnn_keeps_its_activation(activation: str, found: str, tmp_path: Path) -> None:
    (op,) = recurrent_ops(import_onnx(layer_file(tmp_path, "RNN", activations=[activation])))
    assert isinstance(op, Rnn)
    assert op.gate.function == found


def test_lstm_splits_the_bias_and_names_its_states(tmp_path: Path) -> None:
    model = import_onnx(layer_file(tmp_path, "LSTM"))
    given = weights("LSTM", 3, 5)
    assert [state.name for state in model.states] == ["lstm1_h", "lstm1_c"]
    assert np.array_equal(model.weights["lstm1_input_bias"], given["B"][0, :20])
    assert np.array_equal(model.weights["lstm1_recurrent_bias"], given["B"][0, 20:])
    assert all(array.dtype == np.float64 for array in model.weights.values())


def test_clip_is_kept(tmp_path: Path) -> None:
    (op,) = recurrent_ops(import_onnx(layer_file(tmp_path, "LSTM", clip=0.25)))
    assert isinstance(op, Lstm)
    assert op.clip == 0.25


def test_constant_initial_states_are_kept(tmp_path: Path) -> None:
    first = np.linspace(-1, 1, 5, dtype=np.float32)
    extra = {**weights("GRU", 3, 5), "h0": np.tile(first, (1, 2, 1)), "zero": np.array([0])}
    nodes = [recurrent("GRU", extra=["", "h0"]), node("Squeeze", ["Y_h", "zero"], ["y"])]
    model = import_onnx(file(tmp_path, nodes, extra, {"x": ["T", 2, 3]}))
    assert np.array_equal(model.state("gru1_h").initial, first)


def test_initial_states_that_differ_by_sequence_are_refused(tmp_path: Path) -> None:
    extra = {
        **weights("GRU", 3, 5),
        "h0": np.arange(10, dtype=np.float32).reshape(1, 2, 5),
        "zero": np.array([0]),
    }
    nodes = [recurrent("GRU", extra=["", "h0"]), node("Squeeze", ["Y_h", "zero"], ["y"])]
    with pytest.raises(StepcellError, match="differs from sequence to sequence"):
        import_onnx(file(tmp_path, nodes, extra, {"x": ["T", 2, 3]}))


@pytest.mark.parametrize("op", ["GRU", "LSTM"])
@pytest.mark.parametrize("time", [1, "T", 6])
def test_state_inputs_and_outputs_are_paired(op: str, time: int | str, tmp_path: Path) -> None:
    """h0 [1, B, 5] goes in, Y_h comes out: the state of the model, not an output."""
    states = ["h0", "c0"] if op == "LSTM" else ["h0"]
    ends = ["Y_h", "Y_c"] if op == "LSTM" else ["Y_h"]
    inputs: dict[str, list[int | str]] = {"x": [time, "B", 3], **{name: [1, "B", 5] for name in states}}
    constants = {**weights(op, 3, 5), "one": np.array([1])}
    nodes = [recurrent(op, extra=["", *states]), node("Squeeze", ["Y", "one"], ["y"])]
    model = import_onnx(file(tmp_path, nodes, constants, inputs, ["y", *ends]))
    assert model.source is not None
    assert [(s.tensor_in, s.tensor_out, s.index) for s in model.source.states] == [
        (name, end, (0, None)) for name, end in zip(states, ends, strict=True)
    ]
    assert len(model.main.outputs) == 1
    assert model.main.finish is None


def test_packed_states_of_two_layers_are_split(tmp_path: Path) -> None:
    constants = {
        **weights("GRU", 3, 5),
        "one": np.array([1]),
        **{f"{n}2": a for n, a in weights("GRU", 5, 5).items()},
    }
    nodes = [
        node("Split", ["h0"], ["ha", "hb"], axis=0),
        node("GRU", ["x", "W", "R", "B", "", "ha"], ["Ya", "na"], hidden_size=5),
        node("Squeeze", ["Ya", "one"], ["s"]),
        node("GRU", ["s", "W2", "R2", "B2", "", "hb"], ["Yb", "nb"], hidden_size=5),
        node("Squeeze", ["Yb", "one"], ["y"]),
        node("Concat", ["na", "nb"], ["hn"], axis=0),
    ]
    model = import_onnx(file(tmp_path, nodes, constants, {"x": [1, 1, 3], "h0": [2, 1, 5]}, ["y", "hn"]))
    assert model.source is not None
    assert [(s.state, s.index) for s in model.source.states] == [("gru1_h", (0, None)), ("gru2_h", (1, None))]
    assert {s.tensor_out for s in model.source.states} == {"hn"}


def test_a_cell_without_operator_needs_a_named_state(tmp_path: Path) -> None:
    """h' = tanh(x A + h R): one call is one step, once the state is named."""
    random = np.random.default_rng(3)
    constants = {n: random.standard_normal(s).astype(np.float32) for n, s in (("A", (3, 4)), ("R", (4, 4)))}
    nodes = [
        node("MatMul", ["x", "A"], ["a"]),
        node("MatMul", ["h", "R"], ["r"]),
        node("Add", ["a", "r"], ["s"]),
        node("Tanh", ["s"], ["hn"]),
        node("Relu", ["hn"], ["y"]),
    ]
    path = file(tmp_path, nodes, constants, {"x": ["B", 3], "h": ["B", 4]}, ["y", "hn"])
    with pytest.raises(StepcellError, match="nothing recurs"):
        import_onnx(path)
    model = import_onnx(path, states={"h": "hn"})
    assert [state.name for state in model.states] == ["rnn1_h"]
    assert run_float(model, np.zeros((2, 5, 3))).steps["y"].shape == (2, 5, 4)


def test_reverse_and_bidirectional_become_stages(tmp_path: Path) -> None:
    for direction, stages in (
        ("reverse", ["backward"]),
        ("bidirectional", ["forward", "backward", "forward2"]),
    ):
        directions = 2 if direction == "bidirectional" else 1
        constants = {**weights("GRU", 3, 5, directions=directions), "shape": np.array([0, 0, -1])}
        nodes = [
            recurrent("GRU", direction=direction),
            node("Transpose", ["Y"], ["t"], perm=[0, 2, 1, 3]),
            node("Reshape", ["t", "shape"], ["y"]),
        ]
        model = import_onnx(file(tmp_path, nodes, constants, {"x": ["T", "B", 3]}))
        assert [stage.name for stage in model.main.stages] == stages
        assert verify_lowerable(model) is model
