"""What bad input gets: one sentence that names the place, and a hint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from import_graphs import file, layer_file, recurrent, weights
from stepcell.errors import StepcellError
from stepcell.importers.check import check_against_source
from stepcell.importers.onnx import import_onnx
from stepcell.ir import Model

node = helper.make_node
SQUEEZE = node("Squeeze", ["Y_h", "zero"], ["y"])


def refused(path: Path, complaint: str, **options: Any) -> StepcellError:
    """The refusal of a file, which must match."""
    with pytest.raises(StepcellError, match=complaint) as found:
        import_onnx(path, **options)
    assert found.value.hint
    assert found.value.message.endswith(".")
    return found.value


def changed(folder: Path, change: Callable[[onnx.ModelProto], object]) -> Path:
    """A good GRU file, changed."""
    proto = onnx.load(layer_file(folder, "GRU"))
    change(proto)
    onnx.save(proto, folder / "changed.onnx")
    return folder / "changed.onnx"


def test_a_missing_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.onnx", "there is no such file")


@pytest.mark.parametrize("content", [b"", b"not ONNX", b"\x00" * 1000, b"\x08\x08"])
def test_a_file_that_is_not_onnx(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    refused(tmp_path / "bad.onnx", "not an ONNX model, or it is truncated")


def test_a_truncated_file(tmp_path: Path) -> None:
    content = layer_file(tmp_path, "GRU").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(content[: len(content) // 2])
    refused(tmp_path / "cut.onnx", "truncated")


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_weights_that_are_not_finite(number: float, tmp_path: Path) -> None:
    bad = weights("GRU", 3, 5)["W"].copy()
    bad[0, 2, 1] = number
    refused(layer_file(tmp_path, "GRU", extra={"W": bad}), "gru1_input_weights' holds 1 NaN or infinite")


def test_an_unsupported_operator_is_named_with_its_node(tmp_path: Path) -> None:
    tail = [SQUEEZE_TO_H, node("Hardmax", ["h"], ["y"], name="odd")]
    found = refused(layer_file(tmp_path, "GRU", tail), r"node 'odd' \(Hardmax\) is an unsupported operator\.")
    assert "LSTM" in found.hint


SQUEEZE_TO_H = node("Squeeze", ["Y_h", "zero"], ["h"])


@pytest.mark.parametrize(
    ("op", "attributes", "complaint"),
    [
        ("GRU", {"clip": -1.0}, "clips at -1"),
        ("GRU", {"direction": "sideways"}, "direction sideways"),
        ("GRU", {"hidden_size": 4}, "do not fit"),
    ],
)
def test_an_unsupported_attribute(
    op: str, attributes: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    refused(layer_file(tmp_path, op, **attributes), complaint)


def test_peepholes_and_initial_states_that_do_not_fit(tmp_path: Path) -> None:
    """tests/test_recurrent_lengths.py has the refusals of sequence_lens."""
    constants = {**weights("LSTM", 3, 5), "zero": np.array([0])}
    holes = [recurrent("LSTM", extra=["", "", "", "P"]), SQUEEZE]
    given = {**constants, "P": np.zeros((1, 14), np.float32)}
    short = file(tmp_path, holes, given, {"x": ["T", 2, 3]})
    refused(short, r"has peepholes P \(1, 14\); \(1, 15\) is allowed")
    starts = [recurrent("LSTM", extra=["", "h0"]), SQUEEZE]
    given = {**constants, "h0": np.zeros((2, 2, 5), np.float32)}
    complaint = r"has an initial state of shape \[2, 2, 5\] for 1 direction"
    refused(file(tmp_path, starts, given, {"x": ["T", 2, 3]}), complaint)
    given = {**constants, "h0": np.zeros((1, 2, 4), np.float32)}
    complaint = r"has an initial state of shape \[1, 2, 4\] for 5 units"
    refused(file(tmp_path, starts, given, {"x": ["T", 2, 3]}), complaint)
    given = {**constants, "h0": np.arange(10, dtype=np.float32).reshape(1, 2, 5)}
    refused(file(tmp_path, starts, given, {"x": ["T", 2, 3]}), "differs from sequence to sequence")


def test_weights_that_depend_on_the_input(tmp_path: Path) -> None:
    constants = {name: array for name, array in weights("GRU", 3, 5).items() if name != "W"}
    inputs: dict[str, list[int | str]] = {"x": ["T", "B", 3], "W": [1, 15, 3]}
    path = file(tmp_path, [recurrent("GRU"), SQUEEZE], {**constants, "zero": np.array([0])}, inputs)
    refused(path, "has W that depends on the input")


def test_external_data_outside_the_folder(tmp_path: Path) -> None:
    def leave(proto: onnx.ModelProto) -> None:
        tensor = proto.graph.initializer[0]
        tensor.data_location = TensorProto.EXTERNAL
        tensor.ClearField("raw_data")
        tensor.external_data.add(key="location", value="../secret.bin")

    (tmp_path.parent / "secret.bin").write_bytes(b"\0" * 4096)
    refused(changed(tmp_path, leave), r"lies outside the model's folder \(\.\./secret.bin\)")


def test_external_data_of_a_constant_node(tmp_path: Path) -> None:
    tensor = onnx.numpy_helper.from_array(np.ones(3, np.float32), "inside")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="constant.bin")
    tail = [node("Constant", [], ["c"], value=tensor), node("Squeeze", ["Y_h", "c"], ["y"])]
    refused(layer_file(tmp_path, "GRU", tail), "the constant 'inside' lies in another file")


def test_external_data_that_is_missing(tmp_path: Path) -> None:
    proto = onnx.load(layer_file(tmp_path, "GRU"))
    path = tmp_path / "split.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="split.bin", size_threshold=0)
    (tmp_path / "split.bin").unlink()
    refused(path, "data file split.bin is missing")


@pytest.mark.parametrize(
    ("dims", "complaint"),
    [
        ([2**40, 2**20], "elements are allowed"),
        ([-3], "elements are allowed"),
        ([1, 15, 4], "does not fit its shape"),
    ],
)
def test_dimensions_that_cannot_be(dims: list[int], complaint: str, tmp_path: Path) -> None:
    def resize(proto: onnx.ModelProto) -> None:
        del proto.graph.initializer[0].dims[:]
        proto.graph.initializer[0].dims.extend(dims)

    refused(changed(tmp_path, resize), complaint)


def test_a_constant_that_would_fill_the_memory(tmp_path: Path) -> None:
    constants = {**weights("GRU", 3, 5), "zero": np.array([0]), "huge": np.array([2**20, 2**20, 1])}
    nodes = [
        node("ConstantOfShape", ["huge"], ["c"]),
        node("Add", ["x", "c"], ["s"]),
        recurrent("GRU", "s"),
        SQUEEZE,
    ]
    refused(file(tmp_path, nodes, constants, {"x": ["T", "B", 3]}), "at most 67108864 elements")


def test_an_opset_of_the_future(tmp_path: Path) -> None:
    refused(
        changed(tmp_path, lambda p: setattr(p.opset_import[0], "version", 99)),
        "opset 99; 7 to 26 are allowed",
    )


def test_a_cycle(tmp_path: Path) -> None:
    constants = {**weights("GRU", 3, 5), "zero": np.array([0])}
    nodes = [
        node("Add", ["x", "loop"], ["s"], name="first"),
        node("Relu", ["s"], ["loop"]),
        recurrent("GRU", "s"),
        SQUEEZE,
    ]
    refused(
        file(tmp_path, nodes, constants, {"x": ["T", "B", 3]}),
        "node 'first' .* reads 'loop', which nothing before",
    )


@pytest.mark.parametrize(
    ("type_", "complaint"),
    [
        (TensorProto.BOOL, "the input 'on' has type bool; floats and integers are allowed"),
        (TensorProto.INT64, r"'gate' \(Mul\) computes with integers \(tokens\)"),
    ],
)
def test_an_input_of_another_type(tmp_path: Path, type_: int, complaint: str) -> None:
    nodes = [
        node("Cast", ["on"], ["numbers"], to=TensorProto.FLOAT),
        node("Mul", ["x", "numbers"], ["gated"], name="gate"),
        recurrent("GRU", "gated"),
        SQUEEZE,
    ]
    constants = {**weights("GRU", 3, 5), "zero": np.array([0])}
    inputs: dict[str, list[int | str]] = {"x": ["T", "B", 3], "on": ["T", "B", 3]}
    proto = onnx.load(file(tmp_path, nodes, constants, inputs))
    proto.graph.input[1].type.tensor_type.elem_type = type_
    onnx.save(proto, tmp_path / "typed.onnx")
    refused(tmp_path / "typed.onnx", complaint)


def test_an_unused_input(tmp_path: Path) -> None:
    def add(proto: onnx.ModelProto) -> None:
        proto.graph.input.append(helper.make_tensor_value_info("idle", TensorProto.FLOAT, [1]))

    refused(changed(tmp_path, add), "nothing reads its input 'idle'")


def test_options_that_name_nothing(tmp_path: Path) -> None:
    path = layer_file(tmp_path, "GRU")
    refused(path, "it has no input 'rate'; its inputs are x", bind={"rate": 1.0})
    refused(path, "has 3 axes, --shape gives 2", shapes={"x": (1, 2)})
    refused(path, "the state h=hn does not name an input and an output", states={"h": "hn"})
    refused(path, "the model name '2x' is not a C identifier|The model name", name="2x")


def test_calibration_of_another_shape(tmp_path: Path) -> None:
    complaint = r"calibration inputs have shape \[2, 9, 4\]; \[N, T, 3\] is allowed"
    refused(layer_file(tmp_path, "GRU"), complaint, calibration=np.zeros((2, 9, 4)))


def test_time_that_is_an_inner_axis_before_the_layer(tmp_path: Path) -> None:
    constants = {**weights("GRU", 3, 5), "zero": np.array([0]), "M": np.ones((7, 7), np.float32)}
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[2, 1, 0]),
        node("MatMul", ["t", "M"], ["m"], name="mix"),
        node("Transpose", ["m"], ["u"], perm=[2, 1, 0]),
        recurrent("GRU", "u"),
        SQUEEZE,
    ]
    refused(
        file(tmp_path, nodes, constants, {"x": [7, 1, 3]}),
        r"node 'mix' \(MatMul\) multiplies along axis 0 of 'x'",
    )


def test_an_output_that_merges_batch_and_time(tmp_path: Path) -> None:
    tail = [node("Reshape", ["Y", "flat"], ["y"])]
    path = layer_file(tmp_path, "GRU", tail, {"flat": np.array([-1, 5])})
    refused(path, "the output 'y' has an axis of time x batch")


def test_a_source_that_computes_something_else_is_not_trusted(tmp_path: Path) -> None:
    """The check that every import ends with, given outputs that are off by 0.001, NaN, or random."""
    model = import_onnx(layer_file(tmp_path, "GRU"))
    for outputs, complaint in (
        (wrong(model), "differs from its source by 0.001"),
        (nan(), "is not finite"),
        (noise(), "differs from run to run"),
    ):
        with pytest.raises(StepcellError, match=complaint):
            check_against_source(model, outputs)


def wrong(model: Model) -> Any:
    from stepcell.reference.float_model import run_float

    return lambda x, lengths, _states: {"y": run_float(model, x, lengths).ends["gru1_h"] + 0.001}


def nan() -> Any:
    return lambda _x, lengths, _states: {"y": np.full((len(lengths), 5), np.nan)}


def noise() -> Any:
    random = np.random.default_rng(0)
    return lambda _x, lengths, _states: {"y": random.standard_normal((len(lengths), 5))}
