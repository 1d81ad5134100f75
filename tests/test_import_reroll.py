"""Cells written as matrix products and activations are found again by their equations."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from cell_graphs import Cells
from import_graphs import file
from stepcell.errors import StepcellError
from stepcell.importers.onnx import import_onnx
from stepcell.importers.reroll import reroll
from stepcell.ir import Model
from stepcell.ir.ops import Gru, Lstm, Op, Rnn, Take
from stepcell.reference.float_model import run_float
from stepcell.reference.onnx_runtime import run_source


def step_file(folder: Path, cells: Cells, states: dict[str, str]) -> Path:
    """One step: x [B, 3] and the states in; the states out, and y, which reads h'."""
    cells.add("Relu", ["h_next"], "y")
    inputs: dict[str, list[int | str]] = {"x": ["B", 3], **{name: ["B", 5] for name in states}}
    return file(folder, cells.nodes, cells.constants, inputs, ["y", *states.values()])


def only(model: Model) -> Op:
    """The one recurrent operation, of a step that has no other arithmetic but the head."""
    ops = [op for op in model.main.stages[0].ops if not isinstance(op, Take)]
    (found,) = [op for op in ops if isinstance(op, Lstm | Gru | Rnn)]
    assert len(ops) == 2, ops
    return found


@pytest.mark.parametrize("order", ["ifgo", "iofg", "gifo", "ogfi"])
@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("slices", [False, True])
def test_an_lstm_is_found_in_any_order_of_gates(
    order: str, joined: bool, slices: bool, tmp_path: Path
) -> None:
    cells = Cells()
    cells.lstm("x", "h", "c", order=order, joined=joined, slices=slices)
    states = {"h": "h_next", "c": "c_next"}
    model = import_onnx(step_file(tmp_path, cells, states), states=states)
    assert isinstance(only(model), Lstm)
    assert [state.name for state in model.states] == ["lstm1_h", "lstm1_c"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("form", ["(1-z)n+zh", "n+z(h-n)", "(1-z)h+zn", "h+z(n-h)"])
def test_a_gru_is_found_in_both_forms(after: bool, form: str, tmp_path: Path) -> None:
    cells = Cells()
    cells.gru("x", "h", after=after, form=form)
    model = import_onnx(step_file(tmp_path, cells, {"h": "h_next"}), states={"h": "h_next"})
    found = only(model)
    assert isinstance(found, Gru)
    assert found.linear_before_reset == after


@pytest.mark.parametrize("function", ["Tanh", "Relu"])
@pytest.mark.parametrize("joined", [False, True])
def test_a_plain_cell_is_found(function: str, joined: bool, tmp_path: Path) -> None:
    cells = Cells()
    cells.rnn("x", "h", function=function, joined=joined)
    found = only(import_onnx(step_file(tmp_path, cells, {"h": "h_next"}), states={"h": "h_next"}))
    assert isinstance(found, Rnn)
    assert found.gate.function == function


def test_coupled_gates_are_an_lstm_with_a_negated_gate(tmp_path: Path) -> None:
    """c' = f*c + (1 - f)*g."""
    cells = Cells()
    f, o, g = cells.split(cells.gates("x", "h", "", 3, joined=False), "", 3)
    f, o, g = (cells.add(op, [p], f"{p}a") for op, p in (("Sigmoid", f), ("Sigmoid", o), ("Tanh", g)))
    cells.constants["unit"] = np.array(1.0, np.float32)
    rest = cells.add("Sub", ["unit", f], "rest")
    c = cells.add("Add", [cells.add("Mul", [f, "c"], "fc"), cells.add("Mul", [rest, g], "ig")], "c_next")
    cells.add("Mul", [o, cells.add("Tanh", [c], "tc")], "h_next")
    states = {"h": "h_next", "c": "c_next"}
    assert isinstance(only(import_onnx(step_file(tmp_path, cells, states), states=states)), Lstm)


def test_layers_and_packed_states_are_taken_apart(tmp_path: Path) -> None:
    """state [B, 2, 5, 2] holds h and c of two layers as its last axis, as DTLN does."""
    cells = Cells()
    cells.constants |= {f"at{k}": np.array(k) for k in range(2)}
    for n in range(2):
        cells.add("Gather", ["state", f"at{n}"], f"layer{n}", axis=1)
        for k, letter in enumerate("hc"):
            cells.add("Gather", [f"layer{n}", f"at{k}"], f"{letter}{n}", axis=2)
    h, c = cells.lstm("x", "h0", "c0", prefix="a_")
    second = Cells(inputs=5, seed=1)
    h2, c2 = second.lstm(h, "h1", "c1", prefix="b_", order="gofi")
    cells.nodes += _renamed(second)
    cells.constants |= {f"second_{name}": array for name, array in second.constants.items()}
    cells.constants |= {"axis1": np.array([1]), "axis3": np.array([3])}
    for name, value in (("h", (h, h2)), ("c", (c, c2))):
        parts = [cells.add("Unsqueeze", [v, "axis1"], f"{name}{k}u") for k, v in enumerate(value)]
        cells.add("Unsqueeze", [cells.add("Concat", parts, f"{name}s", axis=1), "axis3"], f"{name}su")
    cells.add("Concat", ["hsu", "csu"], "state_next", axis=3)
    cells.add("Relu", [h2], "y")
    inputs: dict[str, list[int | str]] = {"x": ["B", 3], "state": ["B", 2, 5, 2]}
    path = file(tmp_path, cells.nodes, cells.constants, inputs, ["y", "state_next"])
    model = import_onnx(path, states={"state": "state_next"})
    assert [type(op) for op in model.main.stages[0].ops] == [Lstm, Lstm, type(model.main.stages[0].ops[-1])]
    assert model.source is not None
    assert {state.state: state.index for state in model.source.states} == {
        "lstm1_h": (None, 0, (0, 5, 1), 0),
        "lstm1_c": (None, 0, (0, 5, 1), 1),
        "lstm2_h": (None, 1, (0, 5, 1), 0),
        "lstm2_c": (None, 1, (0, 5, 1), 1),
    }


def _renamed(cells: Cells) -> list[onnx.NodeProto]:
    """The nodes with constants called second_*."""
    for node in cells.nodes:
        for k, name in enumerate(node.input):
            if name in cells.constants:
                node.input[k] = f"second_{name}"
    return cells.nodes


def test_a_cell_of_another_kind_stays_as_it_is(tmp_path: Path) -> None:
    """h' = tanh(W x + R h) * sigmoid(U x) is none of the three; it runs as it is written."""
    cells = Cells()
    cells.add("Tanh", [cells.gates("x", "h", "", 1, joined=False)], "t")
    cells.add("Sigmoid", [cells.add("MatMul", ["x", cells.weight("U", 3, 5)], "u")], "s")
    cells.add("Mul", ["t", "s"], "h_next")
    model = import_onnx(step_file(tmp_path, cells, {"h": "h_next"}), states={"h": "h_next"})
    assert not any(isinstance(op, Lstm | Gru | Rnn) for op in model.main.stages[0].ops)


def test_a_wrong_cell_would_not_be_proven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof runs both Models; a gate taken for another does not pass it."""
    cells = Cells()
    cells.gru("x", "h")
    monkeypatch.setattr("stepcell.importers.lift.reroll", lambda model: model)
    model = import_onnx(step_file(tmp_path, cells, {"h": "h_next"}), states={"h": "h_next"})
    from stepcell.importers.reroll import build

    right = build.input_weights
    monkeypatch.setattr(build, "input_weights", lambda cell, columns: right(cell, columns)[::-1])
    with pytest.raises(ValueError, match="re-rolling changed"):
        reroll(model)


# --- unrolled over a fixed number of steps ---


def unrolled_file(folder: Path, kind: str, head: str, steps: int = 5) -> Path:
    """x [B, T, 3] -> the cell T times, from zeros: of the first step constant folding leaves less."""
    cells = Cells()
    cells.constants |= {f"t{t}": np.array(t) for t in range(steps)}
    cells.constants |= {"zeros": np.zeros((1, 5), np.float32), "axis1": np.array([1])}
    h, c, hs = "zeros", "zeros", []
    for t in range(steps):
        x = cells.add("Gather", ["x", f"t{t}"], f"x{t}", axis=1)
        prefix = f"step{t}_"
        if kind == "LSTM":
            h, c = cells.lstm(x, h, c, prefix)
        else:
            h = cells.gru(x, h, prefix) if kind == "GRU" else cells.rnn(x, h, prefix)
        out = h if head != "own" else cells.add("MatMul", [h, cells.weight("H", 5, 2)], f"{prefix}out")
        hs.append(cells.add("Unsqueeze", [out, "axis1"], f"{prefix}u"))
    if head == "last":
        cells.add("Gemm", [h, cells.weight("H", 5, 2), cells.weight("bh", 2)], "y")
    elif head == "own":
        cells.add("Concat", hs, "y", axis=1)
    else:
        cells.add("MatMul", [cells.add("Concat", hs, "all", axis=1), cells.weight("H", 5, 2)], "y")
    return file(folder, cells.nodes, cells.constants, {"x": ["B", steps, 3]})


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("head", ["every", "own", "last"])
def test_an_unrolled_network_is_rolled_up(kind: str, head: str, tmp_path: Path) -> None:
    path = unrolled_file(tmp_path, kind, head)
    model = import_onnx(path)
    (found,) = [op for op in model.main.stages[0].ops if isinstance(op, Lstm | Gru | Rnn)]
    assert type(found).__name__.upper() == kind
    assert model.main.inputs[0].shape == (3,)
    assert model.source is not None
    assert model.source.inputs[0].axes == ("batch", "time", "inner")
    assert (model.main.finish is not None) == (head == "last")
    x = np.random.default_rng(0).standard_normal((3, 5, 3))
    (wanted,) = run_source(path, model.source, x).values()
    (mine,) = run_float(model, x).outputs(model.main).values()
    np.testing.assert_allclose(mine, wanted, atol=1e-5)


def test_steps_with_different_weights_are_no_loop(tmp_path: Path) -> None:
    h, cells = "x", Cells(inputs=5)
    for t in range(4):
        h = cells.add("Tanh", [cells.add("MatMul", [h, cells.weight(f"W{t}", 5, 5)], f"m{t}")], f"h{t}")
    cells.add("Relu", [h], "y")
    with pytest.raises(StepcellError, match="nothing recurs"):
        import_onnx(file(tmp_path, cells.nodes, cells.constants, {"x": ["B", 5]}))
