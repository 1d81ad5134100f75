"""If, Scan and Loop, and the states that a file takes and returns."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cell_graphs import Cells
from command_line import call
from import_graphs import file, recurrent, weights
from stepcell.errors import StepcellError
from stepcell.importers import diagnose
from stepcell.importers.onnx import import_onnx
from stepcell.ir.ops import Gru, Lstm, Rnn
from stepcell.reference.float_model import run_float

node = helper.make_node


def info(name: str, kind: int = TensorProto.FLOAT, shape: Sequence[int] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def branch(
    nodes: list[onnx.NodeProto], output: str, constants: dict[str, Any] | None = None
) -> onnx.GraphProto:
    tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in (constants or {}).items()]
    return helper.make_graph(nodes, "branch", [], [info(output)], tensors)


def if_node(condition: str, output: str, then: onnx.GraphProto, other: onnx.GraphProto) -> onnx.NodeProto:
    return node("If", [condition], [output], name=f"if_{output}", then_branch=then, else_branch=other)


def with_head(
    folder: Path,
    head: list[onnx.NodeProto],
    constants: dict[str, Any],
    time: int | str = "T",
    batch: int | str = "B",
) -> Path:
    """x [T, B, 3] -> GRU, its Y as s [T, B, 5] -> head -> y."""
    nodes = [recurrent("GRU"), node("Squeeze", ["Y", "one"], ["s"]), *head]
    constants = {**weights("GRU", 3, 5), "one": np.array([1]), **constants}
    return file(folder, nodes, constants, {"x": [time, batch, 3]})


# --- If ---


@pytest.mark.parametrize("which", [True, False])
def test_a_branch_that_a_constant_chooses_is_inlined(which: bool, tmp_path: Path) -> None:
    """Branches use the same inner names, read outer ones, and lie in each other."""
    inner = if_node(
        "yes",
        "inner",
        branch([node("Tanh", ["s"], ["t"])], "t"),
        branch([node("Identity", ["s"], ["t"])], "t"),
    )
    then = branch([inner, node("Relu", ["inner"], ["t"])], "t")
    other = branch([node("Mul", ["s", "factor"], ["t"])], "t", {"factor": np.float32(-2.0)})
    path = with_head(
        tmp_path, [if_node("which", "y", then, other)], {"which": np.array(which), "yes": np.array([True])}
    )
    functions = [getattr(op, "function", "") for op in import_onnx(path).main.stages[0].ops]
    assert ("relu" in functions) == ("tanh" in functions) == which


def test_a_branch_may_depend_on_the_rank_and_on_fixed_sizes(tmp_path: Path) -> None:
    head = [
        node("Shape", ["s"], ["shape"]),
        node("Size", ["shape"], ["rank"]),
        node("Equal", ["rank", "three"], ["is3"]),
        if_node(
            "is3", "y", branch([node("Relu", ["s"], ["a"])], "a"), branch([node("Tanh", ["s"], ["a"])], "a")
        ),
    ]
    assert import_onnx(with_head(tmp_path, head, {"three": np.array(3)})).main.outputs == ("y",)


def test_a_branch_that_another_length_would_not_take_is_refused(tmp_path: Path) -> None:
    head = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["T"]),
        node("Greater", ["T", "fifty"], ["long"]),
        if_node(
            "long", "y", branch([node("Relu", ["s"], ["a"])], "a"), branch([node("Tanh", ["s"], ["a"])], "a")
        ),
    ]
    path = with_head(tmp_path, head, {"zero": np.array(0), "fifty": np.array(50)})
    with pytest.raises(
        StepcellError, match="'if_y' \\(If\\) chooses a branch by the size of an axis that is free"
    ):
        import_onnx(path)


def test_a_branch_that_data_chooses_is_refused(tmp_path: Path) -> None:
    head = [
        node("ReduceMax", ["x"], ["top"], keepdims=0),
        node("Greater", ["top", "zero"], ["positive"]),
        if_node(
            "positive",
            "y",
            branch([node("Relu", ["s"], ["a"])], "a"),
            branch([node("Tanh", ["s"], ["a"])], "a"),
        ),
    ]
    with pytest.raises(StepcellError):
        import_onnx(with_head(tmp_path, head, {"zero": np.float32(0)}))


def test_bound_inputs_choose_branches(tmp_path: Path) -> None:
    head = [
        node("Equal", ["sr", "rate"], ["is16"]),
        if_node(
            "is16", "y", branch([node("Relu", ["s"], ["a"])], "a"), branch([node("Tanh", ["s"], ["a"])], "a")
        ),
    ]
    path = with_head(tmp_path, head, {"rate": np.array(16000)})
    model = onnx.load(path)
    model.graph.input.append(info("sr", TensorProto.INT64, []))
    onnx.save(model, path)
    for rate, function in ((16000, "relu"), (8000, "tanh")):
        ops = import_onnx(path, bind={"sr": rate}).main.stages[0].ops
        assert [getattr(op, "function", None) for op in ops][-1] == function


# --- Scan and Loop ---


def scan_file(folder: Path, cells: Cells, states: dict[str, str], reverse: bool, first: str) -> Path:
    """x [T, B, 3] through a Scan; y is every step's h."""
    cells.add("Identity", ["h_next"], "every")
    inputs = [*states, "x_t"]
    tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in cells.constants.items()]
    outputs = [info(name) for name in (*states.values(), "every")]
    body = helper.make_graph(cells.nodes, "body", [info(name) for name in inputs], outputs, tensors)
    starts = {"constant": [f"{name}_start" for name in states], "input": [f"{name}0" for name in states]}[
        first
    ]
    directions: dict[str, Any] = (
        {"scan_input_directions": [1], "scan_output_directions": [1]} if reverse else {}
    )
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Slice", ["shape", "one", "two"], ["batch"]),
        node("Concat", ["batch", "units"], ["wide"], axis=0),
        *(node("Expand", [f"{name}_first", "wide"], [f"{name}_start"]) for name in states),
        node(
            "Scan",
            [*starts, "x"],
            [*(f"{name}_end" for name in states), "y"],
            name="scan",
            body=body,
            num_scan_inputs=1,
            **directions,
        ),
    ]
    random = np.random.default_rng(3)
    constants = {f"{name}_first": random.uniform(-1, 1, (1, 5)).astype("f") for name in states}
    constants |= {"one": np.array([1]), "two": np.array([2]), "units": np.array([5])}
    graph_inputs: dict[str, list[int | str]] = {"x": ["T", "B", 3]}
    outputs_of = ["y"]
    if first == "input":
        graph_inputs |= {name: ["B", 5] for name in starts}
        outputs_of += [f"{name}_end" for name in states]
        nodes = nodes[-1:]
    return file(folder, nodes, constants, graph_inputs, outputs_of, opset=18)


@pytest.mark.parametrize(("reverse", "first"), [(False, "constant"), (True, "constant"), (False, "input")])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_a_scan_over_time_becomes_a_layer(kind: str, reverse: bool, first: str, tmp_path: Path) -> None:
    cells = Cells()
    states = {"h": "h_next"}
    match kind:
        case "LSTM":
            cells.lstm("x_t", "h", "c")
            states["c"] = "c_next"
        case "GRU":
            cells.gru("x_t", "h", after=False)
        case _:
            cells.rnn("x_t", "h")
    model = import_onnx(scan_file(tmp_path, cells, states, reverse, first))
    (stage,) = model.main.stages
    assert stage.direction == ("backward" if reverse else "forward")
    assert [type(op) for op in stage.ops] == [{"LSTM": Lstm, "GRU": Gru, "RNN": Rnn}[kind]]
    assert model.source is not None
    assert len(model.source.states) == (len(states) if first == "input" else 0)


def loop_file(
    folder: Path, ends_by: str, reverse: bool, time: int | str = "T", reads: str = "Gather"
) -> Path:
    """x [T, B, 3] through a Loop that reads one frame a time."""
    cells = Cells()
    cells.constants["step1"] = np.array(1)
    at = cells.add("Sub", ["last", "i"], "from_end") if reverse else "i"
    if reads == "Gather":
        cells.add("Gather", ["x", at], "x_t", axis=0)
    else:
        cells.constants |= {"a0": np.array([0]), "one1": np.array([1])}
        start = cells.add("Unsqueeze", [at, "a0"], "start")
        cells.add("Slice", ["x", start, cells.add("Add", [start, "one1"], "stop"), "a0"], "x_1")
        cells.add("Squeeze", ["x_1", "a0"], "x_t")
    cells.lstm("x_t", "h", "c", order="igfo", joined=True)
    cells.add("Identity", ["h_next"], "every")
    if ends_by == "condition":
        cells.add("Less", [cells.add("Add", ["i", "step1"], "i_next"), "T"], "go")
    else:
        cells.add("Identity", ["go_in"], "go")
    tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in cells.constants.items()]
    inputs = [info("i", TensorProto.INT64, []), info("go_in", TensorProto.BOOL, []), info("h"), info("c")]
    outputs = [info("go", TensorProto.BOOL, []), info("h_next"), info("c_next"), info("every")]
    body = helper.make_graph(cells.nodes, "body", inputs, outputs, tensors)
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["T"]),
        node("Sub", ["T", "one"], ["last"]),
        node("Slice", ["shape", "ones", "twos"], ["batch"]),
        node("Concat", ["batch", "units"], ["wide"], axis=0),
        node("ConstantOfShape", ["wide"], ["zeros"]),
        node(
            "Loop",
            ["T" if ends_by == "count" else "", "yes", "zeros", "zeros"],
            ["end", "c_end", "all"],
            body=body,
        ),
        node("Identity", ["end" if reverse else "all"], ["y"]),
    ]
    constants = {
        "zero": np.array(0),
        "one": np.array(1),
        "ones": np.array([1]),
        "twos": np.array([2]),
        "units": np.array([5]),
        "yes": np.array(True),
    }
    return file(folder, nodes, constants, {"x": [time, "B", 3]}, opset=18)


@pytest.mark.parametrize("ends_by", ["count", "condition"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("time", ["T", 9])
@pytest.mark.parametrize("reads", ["Gather", "Slice"])
def test_a_loop_over_time_becomes_a_layer(
    ends_by: str, reverse: bool, time: int | str, reads: str, tmp_path: Path
) -> None:
    model = import_onnx(loop_file(tmp_path, ends_by, reverse, time, reads))
    (stage,) = model.main.stages
    assert [type(op) for op in stage.ops] == [Lstm]
    assert stage.direction == ("backward" if reverse else "forward")


def test_a_loop_that_stops_before_the_end_is_refused(tmp_path: Path) -> None:
    path = loop_file(tmp_path, "count", reverse=False, time=9)
    model = onnx.load(path)
    loop = next(found for found in model.graph.node if found.op_type == "Loop")
    loop.input[0] = "seven"
    model.graph.initializer.append(numpy_helper.from_array(np.array(7), "seven"))
    onnx.save(model, path)
    with pytest.raises(StepcellError, match="runs 7 times, which is not the number of steps"):
        import_onnx(path)


# --- states ---


def conv_like(cells: Cells) -> None:
    """y = M [cache, x]; the cache moves on by one frame: [B, 2, 3] -> its newer frame and x."""
    cells.constants |= {
        "axis1": np.array([1]),
        "axis2": np.array([1]),
        "from1": np.array([1]),
        "to2": np.array([2]),
    }
    frame = cells.add("Unsqueeze", ["x", "axis1"], "frame")
    window = cells.add("Concat", ["cache", frame], "window", axis=1)
    cells.constants |= {"to3": np.array([3]), "flat": np.array([0, 9])}
    cells.add("Slice", [window, "from1", "to3", "axis1"], "cache_next")
    flat = cells.add("Reshape", [window, "flat"], "flat_window")
    cells.add("MatMul", [flat, cells.weight("M", 9, 4)], "y")


def test_a_cache_is_a_state_once_it_is_named(tmp_path: Path) -> None:
    cells = Cells()
    conv_like(cells)
    inputs: dict[str, list[int | str]] = {"x": ["B", 3], "cache": ["B", 2, 3]}
    path = file(tmp_path, cells.nodes, cells.constants, inputs, ["y", "cache_next"])
    with pytest.raises(StepcellError, match="these look like a state: --state cache=cache_next"):
        import_onnx(path)
    model = import_onnx(path, states={"cache": "cache_next"})
    x = np.random.default_rng(0).standard_normal((1, 4, 3))
    (y,) = run_float(model, x).outputs(model.main).values()
    window = np.concatenate([np.zeros((2, 3)), x[0]])
    np.testing.assert_allclose(y[0, 3], window[3:].ravel() @ model.weights["dense1_weights"].T, atol=1e-9)


def test_a_named_state_that_an_operator_starts_at_is_the_same_state(tmp_path: Path) -> None:
    nodes = [
        node("Unsqueeze", ["x", "zero"], ["x1"]),
        recurrent("GRU", "x1", ["", "h0"]),
        node("Squeeze", ["Y_h", "zero"], ["y"]),
    ]
    constants = {**weights("GRU", 3, 5), "zero": np.array([0])}
    inputs: dict[str, list[int | str]] = {"x": ["B", 3], "h0": [1, "B", 5]}
    path = file(tmp_path, nodes, constants, inputs, ["y", "Y_h"])
    by_graph, by_name = import_onnx(path), import_onnx(path, states={"h0": "Y_h"})
    assert [s.name for s in by_graph.states] == [s.name for s in by_name.states] == ["gru1_h"]
    with pytest.raises(StepcellError, match="h0"):
        import_onnx(path, states={"h0": "y"})


def test_every_node_that_cannot_be_imported_is_one_line(tmp_path: Path) -> None:
    head = [
        node("Det", ["s"], ["a"], name="first"),
        node("Relu", ["a"], ["b"]),
        node("NonZero", ["s"], ["c"], name="second"),
        node("Add", ["b", "c"], ["y"]),
    ]
    path = with_head(tmp_path, head, {})
    problems = diagnose(path)
    assert ["first" in problems[0], "second" in problems[1]] == [True, True]
    assert len(problems) == 2


def test_inspect_lists_what_stands_in_the_way_and_exits_with_two(tmp_path: Path) -> None:
    head = [node("Det", ["s"], ["a"], name="first"), node("NonZero", ["a"], ["y"], name="second")]
    found = call("inspect", with_head(tmp_path, head, {}))
    assert found.exit_code == 2
    assert "'first' (Det) is an unsupported operator" in found.output
    told = call("inspect", with_head(tmp_path, head, {}), "--json")
    assert (told.exit_code, json.loads(told.stdout)["supported"]) == (2, False)


def test_inspect_prints_the_step_of_a_loop(tmp_path: Path) -> None:
    found = call("inspect", loop_file(tmp_path, "count", reverse=False))
    assert found.exit_code == 0, found.output
    assert "lstm1_h_next" in found.output
    assert "MACs a step" in found.output
