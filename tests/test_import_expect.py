"""`--expect`: an exporter's mistake that ONNX Runtime reproduces is caught by recorded outputs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from command_line import assert_mistake, call
from import_graphs import GATES, file, weights
from stepcell.errors import StepcellError
from stepcell.importers import import_model

Array = np.ndarray[Any, Any]
Mutation = Callable[[onnx.ModelProto], None]

UNITS, BATCH = 5, 2


def network(folder: Path, op: str) -> Path:
    """x [T, 2, 3] -> a layer from a constant state -> layer normalization -> a square matrix -> y."""
    random = np.random.default_rng(5)
    start = {name: np.repeat(random.uniform(-0.8, 0.8, (1, 1, UNITS)), BATCH, 1).astype("f") for name in "hc"}
    constants: dict[str, Array] = {
        **weights(op, 3, UNITS, seed=2),
        **start,
        "one": np.array([1]),
        "gain": random.uniform(0.5, 1.5, UNITS).astype("f"),
        "M": random.standard_normal((UNITS, UNITS)).astype("f"),
        "b": random.standard_normal(UNITS).astype("f"),
    }
    extra = ["", "h", "c"] if op == "LSTM" else ["", "h"]
    before_reset: dict[str, Any] = {"linear_before_reset": 1} if op == "GRU" else {}
    nodes = [
        helper.make_node(
            op, ["x", "W", "R", "B", *extra], ["Y"], name="layer", hidden_size=UNITS, **before_reset
        ),
        helper.make_node("Squeeze", ["Y", "one"], ["s"]),
        helper.make_node("LayerNormalization", ["s", "gain"], ["n"], name="norm", epsilon=1e-5),
        helper.make_node("MatMul", ["n", "M"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["y"]),
    ]
    return file(folder, nodes, constants, {"x": ["T", BATCH, 3]})


def recorded(path: Path, name: str = "expected.npz") -> Path:
    """What the network computes, in its own layout."""
    x = np.random.default_rng(9).standard_normal((12, BATCH, 3)).astype("f")
    (y,) = ReferenceEvaluator(str(path)).run(None, {"x": x})
    np.savez(path.parent / name, x=x, y=y)
    return path.parent / name


def layer(model: onnx.ModelProto) -> onnx.NodeProto:
    node: onnx.NodeProto = next(node for node in model.graph.node if node.name == "layer")
    return node


def change(name: str, function: Callable[[Array], Array]) -> Mutation:
    """Another value of a constant."""

    def mutate(model: onnx.ModelProto) -> None:
        tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
        changed = np.ascontiguousarray(function(numpy_helper.to_array(tensor))).astype("f")
        tensor.CopyFrom(numpy_helper.from_array(changed, name))

    return mutate


def swap(first: int, second: int, gates: int, *names: str) -> Mutation:
    """Two gates in each other's place."""

    def swapped(array: Array) -> Array:
        axis = 1
        blocks = np.split(array, array.shape[1] // UNITS, axis=axis)
        for base in range(0, len(blocks), gates):
            blocks[base + first], blocks[base + second] = blocks[base + second], blocks[base + first]
        return np.concatenate(blocks, axis=axis)

    return together(*(change(name, swapped) for name in names))


def together(*mutations: Mutation) -> Mutation:
    def mutate(model: onnx.ModelProto) -> None:
        for mutation in mutations:
            mutation(model)

    return mutate


def transposed_block(array: Array) -> Array:
    """The first gate's square matrix transposed."""
    changed = array.copy()
    changed[0, :UNITS] = changed[0, :UNITS].T
    return changed


def attribute(**values: Any) -> Mutation:
    def mutate(model: onnx.ModelProto) -> None:
        node = layer(model)
        kept = [a for a in node.attribute if a.name not in values]
        del node.attribute[:]
        node.attribute.extend([*kept, *(helper.make_attribute(key, value) for key, value in values.items())])

    return mutate


def without_input(index: int) -> Mutation:
    def mutate(model: onnx.ModelProto) -> None:
        layer(model).input[index] = ""

    return mutate


def epsilon(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.name == "norm").attribute[0].f = 1e-2


def swapped_states(model: onnx.ModelProto) -> None:
    node = layer(model)
    node.input[5], node.input[6] = node.input[6], node.input[5]


def added_peepholes(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.full((1, 3 * UNITS), 0.3, "f"), "P"))
    layer(model).input.append("P")


def flipped_bias_halves(array: Array) -> Array:
    """Wb and Rb exchanged: the same for all but a GRU with linear_before_reset."""
    return np.roll(array, array.shape[1] // 2, axis=1)


COMMON: dict[str, Mutation] = {
    "a doubled bias": change("B", lambda b: 2 * b),
    "a bias left out": change("B", np.zeros_like),
    "a transposed recurrent gate": change("R", transposed_block),
    "permuted inputs": change("W", lambda w: w[..., [1, 0, 2]]),
    "the other direction": attribute(direction="reverse"),
    "a clip": attribute(clip=0.4),
    "no initial state": without_input(5),
    "another initial state": change("h", lambda h: -h),
    "another epsilon": epsilon,
    "a transposed square head": change("M", np.transpose),
    "a head's bias doubled": change("b", lambda b: 2 * b),
    "a gain left out": change("gain", np.ones_like),
    "weights in half precision": change("R", lambda r: r.astype(np.float16)),
}
MUTATIONS: dict[str, dict[str, Mutation]] = {
    "GRU": {
        "the other linear_before_reset": attribute(linear_before_reset=0),
        "z and r swapped": swap(0, 1, 3, "W", "R", "B"),
        "z and r swapped in R alone": swap(0, 1, 3, "R"),
        "z and n swapped": swap(0, 2, 3, "W", "R", "B"),
        "the halves of the bias swapped": change("B", flipped_bias_halves),
        "other activations": attribute(activations=["Sigmoid", "Relu"]),
    },
    "LSTM": {
        "o and f swapped": swap(1, 2, 4, "W", "R", "B"),
        "o and f swapped in the bias alone": swap(1, 2, 4, "B"),
        "i and c swapped": swap(0, 3, 4, "W", "R", "B"),
        "h0 and c0 swapped": swapped_states,
        "no initial cell state": without_input(6),
        "input and forget gate coupled": attribute(input_forget=1),
        "other activations": attribute(activations=["Sigmoid", "Tanh", "Relu"]),
        "peepholes": added_peepholes,
        "a forget bias of one": change("B", lambda b: b + np.repeat([0, 0, 1, 0, 0, 0, 0, 0], UNITS)),
    },
    "RNN": {"relu": attribute(activations=["Relu"])},
}
CASES = [(op, name) for op in GATES for name in {**COMMON, **MUTATIONS[op]}]


@pytest.mark.parametrize("op", GATES)
def test_an_unchanged_file_reproduces_what_was_recorded(op: str, tmp_path: Path) -> None:
    path = network(tmp_path, op)
    assert import_model(path, expect=recorded(path)).main.inputs[0].shape == (3,)


@pytest.mark.parametrize(("op", "name"), CASES, ids=[f"{op}-{name}" for op, name in CASES])
def test_a_changed_file_is_refused(op: str, name: str, tmp_path: Path) -> None:
    path = network(tmp_path, op)
    expected = recorded(path)
    model = onnx.load(path)
    {**COMMON, **MUTATIONS[op]}[name](model)
    onnx.save(model, path)
    import_model(path)  # by itself it agrees with ONNX Runtime
    with pytest.raises(
        StepcellError, match=r"the output 'y' differs from expected\.npz by [0-9.e+-]+; 1e-05 is"
    ):
        import_model(path, expect=expected)


def test_at_least_twenty_mutations_are_tried() -> None:
    assert len(CASES) >= 20


def test_sequences_first_and_lengths_are_understood(tmp_path: Path) -> None:
    """A model with the tensors named otherwise: x and y are [N, T, ...], steps past a length do not count."""
    constants = {**weights("GRU", 3, UNITS), "one": np.array([1])}
    nodes = [
        helper.make_node("GRU", ["features", "W", "R", "B"], ["Y"], hidden_size=UNITS),
        helper.make_node("Squeeze", ["Y", "one"], ["probabilities"]),
    ]
    path = file(tmp_path, nodes, constants, {"features": ["T", "B", 3]}, ["probabilities"])
    x = np.random.default_rng(0).standard_normal((3, 6, 3)).astype("f")
    (found,) = ReferenceEvaluator(str(path)).run(None, {"features": x.transpose(1, 0, 2)})
    y = np.asarray(found).transpose(1, 0, 2).copy()
    y[1, 4:] = 7.0
    np.savez(tmp_path / "e.npz", x=x, y=y, lengths=[6, 4, 6])
    import_model(path, expect=tmp_path / "e.npz")
    np.savez(tmp_path / "e.npz", x=x, y=y)
    with pytest.raises(StepcellError, match=r"differs from e\.npz"):
        import_model(path, expect=tmp_path / "e.npz")


def test_state_inputs_and_final_states_may_be_recorded(tmp_path: Path) -> None:
    constants = {**weights("GRU", 3, UNITS), "one": np.array([1])}
    nodes = [
        helper.make_node("GRU", ["x", "W", "R", "B", "", "h0"], ["Y", "hn"], hidden_size=UNITS),
        helper.make_node("Squeeze", ["Y", "one"], ["y"]),
    ]
    path = file(tmp_path, nodes, constants, {"x": ["T", "B", 3], "h0": [1, "B", UNITS]}, ["y", "hn"])
    random = np.random.default_rng(0)
    feeds = {
        "x": random.standard_normal((6, 2, 3)).astype("f"),
        "h0": random.uniform(-1, 1, (1, 2, UNITS)).astype("f"),
    }
    y, hn = (np.asarray(found) for found in ReferenceEvaluator(str(path)).run(None, feeds))
    np.savez(tmp_path / "e.npz", x=feeds["x"], h0=feeds["h0"], y=y, hn=hn)
    import_model(path, expect=tmp_path / "e.npz")
    for wrong in ({"hn": hn + 1e-3}, {"h0": feeds["h0"] * 0.5}):
        recording: dict[str, Any] = {**feeds, "y": y, "hn": hn, **wrong}
        np.savez(tmp_path / "e.npz", **recording)
        with pytest.raises(StepcellError, match=r"differs from e\.npz"):
            import_model(path, expect=tmp_path / "e.npz")


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"y": np.zeros((4, 2, 5))}, "does not hold the input 'x'"),
        ({"x": np.zeros((4, 2, 3))}, "none of the outputs y"),
        ({"x": np.zeros((4, 2, 2)), "y": np.zeros((4, 2, 5))}, r"the shape \[2, 4, 2\]"),
        ({"x": np.zeros((4, 2, 3)), "y": np.zeros((3, 2, 5))}, "the recorded 'y' has the shape"),
        ({"x": np.zeros((4, 2, 3)), "y": np.zeros((4, 2, 5)), "lengths": [9, 1]}, "no list of 2 lengths"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(arrays: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    path = network(tmp_path, "GRU")
    np.savez(tmp_path / "e.npz", **arrays)
    with pytest.raises(StepcellError, match=complaint):
        import_model(path, expect=tmp_path / "e.npz")


def test_a_file_that_is_no_npz_is_refused(tmp_path: Path) -> None:
    (tmp_path / "e.npz").write_bytes(b"no")
    with pytest.raises(StepcellError, match=r"cannot be read as \.npz"):
        import_model(network(tmp_path, "RNN"), expect=tmp_path / "e.npz")


def test_the_command_line_takes_the_file(tmp_path: Path) -> None:
    path = network(tmp_path, "GRU")
    expected = recorded(path)
    assert call("inspect", path, "--expect", expected).exit_code in (0, 2)  # 2: something does not lower
    model = onnx.load(path)
    COMMON["a doubled bias"](model)
    onnx.save(model, path)
    assert_mistake(call("inspect", path, "--expect", expected), "differs from expected.npz")
