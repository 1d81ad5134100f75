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
from stepcell.ir import recurrent_ops, to_text, verify_lowerable
from stepcell.ir.ops import Concat, Dense, Gru, Lstm, Rnn, Take
from stepcell.reference.float_model import run_float
from stepcell.reference.onnx_runtime import run_source

node = helper.make_node
LAST = node("Gather", ["Y", "minus"], ["last"], axis=0)


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


def test_softmax_over_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepcellError, match="runs over the time axis"):
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


def test_external_data_beside_the_file_is_read(tmp_path: Path) -> None:
    proto = onnx.load(layer_file(tmp_path, "GRU"))
    path = tmp_path / "split.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="split.bin", size_threshold=0)
    assert import_onnx(path).weights["gru1_input_weights"].shape == (15, 3)
