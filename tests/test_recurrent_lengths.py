"""sequence_lens: an input of the file, or a constant that says nothing; what looks at padding is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from import_graphs import file, weights
from stepcell.errors import StepcellError
from stepcell.importers.onnx import import_onnx
from stepcell.ir.files import source_from_json, source_to_json
from stepcell.reference.float_model import run_float
from stepcell.reference.onnx_runtime import run_source

node = helper.make_node
Y_TO_BATCH_FIRST = [
    node("Squeeze", ["Y", "one"], ["flat"]),
    node("Transpose", ["flat"], ["y"], perm=[1, 0, 2]),
]


def layer(x: str = "x", lengths: str = "lengths", y: str = "Y", y_h: str = "", **attributes: Any) -> Any:
    """A GRU of 5 units over 3 features (or 5, if it reads another layer)."""
    w = "W" if x == "x" else "W2"
    return node("GRU", [x, w, "R", "B", lengths], [y, y_h], hidden_size=5, name=f"layer {y}", **attributes)


def graph(
    folder: Path,
    nodes: list[onnx.NodeProto],
    constants: dict[str, Any] | None = None,
    length_type: int = TensorProto.INT32,
    steps: int | str = "T",
    lengths: tuple[str, ...] = ("lengths",),
    outputs: tuple[str, ...] = ("y",),
) -> Path:
    """x [T, B, 3] and lengths [B] -> the nodes' outputs."""
    tensors = {**weights("GRU", 3, 5), "one": np.array([1]), "zero": np.array([0]), **(constants or {})}
    tensors["W2"] = weights("GRU", 5, 5, seed=1)["W"]
    inputs: dict[str, list[int | str]] = {"x": [steps, "B", 3], **{name: ["B"] for name in lengths}}
    return file(folder, nodes, tensors, inputs, outputs, types=dict.fromkeys(lengths, length_type))


def test_the_source_says_which_input_takes_the_lengths(tmp_path: Path) -> None:
    source = import_onnx(graph(tmp_path, [layer(), *Y_TO_BATCH_FIRST])).source
    assert source is not None
    assert source.lengths == "lengths"
    assert [tensor.name for tensor in source.inputs] == ["x"]
    assert source_from_json(source_to_json(source)) == source


@pytest.mark.parametrize("steps", ["T", 7])
def test_onnx_runtime_is_fed_with_ragged_batches(steps: int | str, tmp_path: Path) -> None:
    path = graph(tmp_path, [layer(), *Y_TO_BATCH_FIRST], steps=steps)
    model = import_onnx(path)
    assert model.source is not None
    x, lengths = np.random.default_rng(0).normal(size=(4, 7, 3)), np.array([7, 2, 1, 5])
    (found,) = run_source(path, model.source, x, lengths).values()
    (wanted,) = run_float(model, x, lengths).outputs(model.main).values()
    valid = np.arange(7) < lengths[:, None]
    assert np.allclose(found[valid], wanted[valid], atol=1e-6)
    assert not found[~valid].any()


def test_what_lies_in_the_padding_does_not_matter(tmp_path: Path) -> None:
    path = graph(tmp_path, [layer(direction="reverse"), *Y_TO_BATCH_FIRST])
    model = import_onnx(path)
    assert model.source is not None
    x, lengths = np.random.default_rng(0).normal(size=(3, 6, 3)), np.array([6, 3, 2])
    padded = np.where(np.arange(6)[:, None] < lengths[:, None, None], x, 1e6)
    (found,) = run_source(path, model.source, padded, lengths).values()
    (wanted,) = run_source(path, model.source, x, lengths).values()
    assert np.array_equal(found, wanted)


def test_lengths_pass_through_casts(tmp_path: Path) -> None:
    """PyTorch exports lengths as int64, and casts them."""
    cast = node("Cast", ["lengths"], ["lengths32"], to=TensorProto.INT32)
    nodes = [cast, layer(lengths="lengths32"), *Y_TO_BATCH_FIRST]
    model = import_onnx(graph(tmp_path, nodes, length_type=TensorProto.INT64))
    assert model.source is not None
    assert model.source.lengths == "lengths"


def test_stacked_layers_share_the_lengths(tmp_path: Path) -> None:
    nodes = [
        layer(),
        node("Squeeze", ["Y", "one"], ["flat"]),
        layer("flat", y="", y_h="Y2_h"),
        node("Squeeze", ["Y2_h", "zero"], ["y"]),
    ]
    assert len(import_onnx(graph(tmp_path, nodes)).states) == 2


def test_a_constant_equal_to_the_number_of_steps_says_nothing(tmp_path: Path) -> None:
    path = graph(tmp_path, [layer(), *Y_TO_BATCH_FIRST], {"lengths": np.full(2, 7, np.int32)}, lengths=())
    model = import_onnx(path, shapes={"x": (7, 2, 3)})
    assert model.source is not None
    assert model.source.lengths is None


def test_a_constant_computed_from_the_input_says_nothing(tmp_path: Path) -> None:
    """As tf2onnx writes it: the number of steps, repeated for every sequence."""
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["steps"]),
        node("Gather", ["shape", "one"], ["batch"]),
        node("Expand", ["steps", "batch"], ["lengths64"]),
        node("Cast", ["lengths64"], ["lengths"], to=TensorProto.INT32),
        layer(),
        *Y_TO_BATCH_FIRST,
    ]
    model = import_onnx(graph(tmp_path, nodes, lengths=()))
    assert model.source is not None
    assert model.source.lengths is None


@pytest.mark.parametrize(
    ("values", "shape", "complaint"),
    [
        ([7, 7], (7, "B", 3), "shape .2. for another number of sequences"),
        ([7, 5], (7, 2, 3), "constant sequence_lens 7, 5, not the number of steps"),
        ([3, 3], (7, 2, 3), "constant sequence_lens 3, 3, not the number of steps"),
        ([7, 7], ("T", 2, 3), "constant sequence_lens 7, 7, not the number of steps"),
    ],
)
def test_other_constants_are_refused(
    values: list[int], shape: tuple[Any, ...], complaint: str, tmp_path: Path
) -> None:
    path = graph(tmp_path, [layer(), *Y_TO_BATCH_FIRST], {"lengths": np.array(values, np.int32)}, lengths=())
    with pytest.raises(StepcellError, match=rf"node 'layer Y' \(GRU\) has .*{complaint}"):
        import_onnx(path, shapes={"x": shape})


@pytest.mark.parametrize(
    ("tail", "complaint"),
    [
        ([node("ReduceMean", ["flat"], ["y"], axes=[0])], "ReduceMean.* looks at every step of ragged"),
        ([node("ReduceMax", ["flat"], ["y"], axes=[0])], "ReduceMax.* looks at every step of ragged"),
        ([node("Gather", ["flat", "last"], ["y"], axis=0)], "Gather.* looks at every step of ragged"),
        ([layer("flat", lengths="", y="Y2"), node("Squeeze", ["Y2", "one"], ["y"])], "has no sequence_lens"),
        (
            [node("Cast", ["lengths"], ["f"], to=1), node("Mul", ["flat", "f"], ["y"])],
            "reads the sequence lengths",
        ),
        ([node("Cast", ["lengths"], ["y"], to=1), node("Relu", ["flat"], ["z"])], "'y' does not depend"),
    ],
)
def test_what_looks_at_padding_or_lengths_is_refused(
    tail: list[onnx.NodeProto], complaint: str, tmp_path: Path
) -> None:
    nodes = [layer(), node("Squeeze", ["Y", "one"], ["flat"]), *tail]
    outputs = ("y", "z") if any("z" in n.output for n in tail) else ("y",)
    with pytest.raises(StepcellError, match=complaint):
        import_onnx(graph(tmp_path, nodes, {"last": np.array(-1)}, outputs=outputs))


def test_two_inputs_of_lengths_are_refused(tmp_path: Path) -> None:
    nodes = [
        layer(),
        node("Squeeze", ["Y", "one"], ["flat"]),
        layer("flat", lengths="others", y="Y2"),
        node("Squeeze", ["Y2", "one"], ["y"]),
    ]
    with pytest.raises(StepcellError, match="sequence_lens from lengths and others; one is allowed"):
        import_onnx(graph(tmp_path, nodes, lengths=("lengths", "others")))


def test_computed_lengths_are_refused(tmp_path: Path) -> None:
    nodes = [node("Add", ["lengths", "less"], ["fewer"]), layer(lengths="fewer"), *Y_TO_BATCH_FIRST]
    with pytest.raises(StepcellError, match=r"'fewer' \(Add\) computes with integers"):
        import_onnx(graph(tmp_path, nodes, {"less": np.array([-1], np.int32)}))


def test_lengths_that_the_file_cannot_run_are_refused(tmp_path: Path) -> None:
    path = graph(tmp_path, [layer(), *Y_TO_BATCH_FIRST], steps=4)
    source = import_onnx(path).source
    assert source is not None
    with pytest.raises(StepcellError, match="a sequence has 5 steps; the file runs 1 to 4"):
        run_source(path, source, np.zeros((2, 5, 3)), np.array([5, 2]))
