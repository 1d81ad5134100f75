"""The float ONNX export: what it computes, and what its file looks like."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from random_models import HEADS, LAYERS, PRELUDES, random_model
from stepcell.exporters.float_onnx import export_float
from stepcell.importers.onnx import import_onnx
from stepcell.ir import Function, Model, Stage, State, to_text, verify
from stepcell.ir.ops import Binary, Gru, Lstm, Value
from stepcell.reference.float_model import run_float
from stepcell.reference.onnx_runtime import open_session


def worst_difference(model: Model, batch: int = 3, steps: int = 9) -> float:
    """The export in ONNX Runtime against the interpreter, relative where the output is above one."""
    random = np.random.default_rng(1)
    shapes = {value.name: (batch, steps, *value.shape) for value in model.main.inputs}
    x = {name: random.standard_normal(shape) for name, shape in shapes.items()}
    session = open_session("export", export_float(model).SerializeToString())
    found = session.run(list(model.main.outputs), {name: a.astype(np.float32) for name, a in x.items()})
    wanted = run_float(model, x).outputs(model.main)
    pairs = zip(wanted.values(), found, strict=True)
    return max(float(np.max(np.abs(w - f) / np.maximum(1, np.abs(w)))) for w, f in pairs)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_random_models_compute_the_same_in_onnx_runtime(seed: int) -> None:
    model = random_model(np.random.default_rng(seed), max_units=12, style="gaussian")
    assert worst_difference(model) < 1e-5


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("head", HEADS)
def test_every_layer_with_every_head_computes_the_same(layer: str, head: str) -> None:
    model = random_model(
        np.random.default_rng(2), layers=(layer, layer), max_units=9, head=head, style="gaussian"
    )
    assert worst_difference(model, batch=2, steps=5) < 1e-5


@pytest.mark.parametrize("prelude", PRELUDES)
def test_every_prelude_computes_the_same(prelude: str) -> None:
    model = random_model(np.random.default_rng(3), max_units=9, prelude=prelude, style="gaussian")
    assert worst_difference(model) < 1e-5


def test_a_file_is_the_same_bytes_every_time() -> None:
    model = random_model(np.random.default_rng(4), max_units=9)
    assert export_float(model).SerializeToString() == export_float(model).SerializeToString()


@pytest.mark.parametrize("head", ["every_step", "last", "mean", "max"])
def test_an_export_comes_back_as_it_was(head: str, tmp_path: Path) -> None:
    """import(export(model)) has the text and the weights of the model, where the model was imported."""
    random = np.random.default_rng(5)
    first = random_model(
        random,
        layers=("gru_before", "lstm"),
        max_units=9,
        prelude="none",
        head=head,
        softmax=False,
        initial=False,
    )
    model = through_file(first, tmp_path)
    again = through_file(model, tmp_path)
    assert to_text(again).splitlines()[2:] == to_text(model).splitlines()[2:]
    assert all(np.array_equal(again.weights[name], array) for name, array in model.weights.items())


def through_file(model: Model, folder: Path) -> Model:
    """The model exported and imported."""
    proto = export_float(model)
    assert not {"Scan", "Loop"} & {node.op_type for node in proto.graph.node}
    onnx.save(proto, folder / "model.onnx")
    return import_onnx(folder / "model.onnx")


def cell_state_output() -> Model:
    """An LSTM whose cell state leaves at every step, which no ONNX LSTM gives."""
    random = np.random.default_rng(6)
    weights = {"w": random.standard_normal((12, 2)), "r": random.standard_normal((12, 3)), "b": np.ones(12)}
    h, c = Value("h_next", (3,)), Value("c_next", (3,))
    op = Lstm("x", "h", "c", h, c, "w", "r", "b", "b")
    stage = Stage("forward", (Value("x", (2,)),), (op,), (("h", "h_next"), ("c", "c_next")), ("c_next",))
    function = Function("main", stage.inputs, (stage,), None, ("c_next",))
    states = (State("h", np.full(3, 0.5)), State("c", np.zeros(3)))
    return verify(Model("cells", (function,), states, weights))


def feedback() -> Model:
    """s' = s * x + s, which only a Scan computes; a GRU reads s."""
    random = np.random.default_rng(7)
    weights = {"w": random.standard_normal((9, 2)), "r": random.standard_normal((9, 3)), "b": np.zeros(9)}
    ops = (
        Binary("s", "x", Value("product", (2,)), "mul"),
        Binary("product", "s", Value("s_next", (2,)), "add"),
        Gru("s", "h", Value("h_next", (3,)), "w", "r", "b", "b", True),
    )
    stage = Stage("forward", (Value("x", (2,)),), ops, (("s", "s_next"), ("h", "h_next")), ("h_next",))
    function = Function("main", stage.inputs, (stage,), None, ("h_next",))
    return verify(
        Model("feedback", (function,), (State("s", np.full(2, 0.1)), State("h", np.zeros(3))), weights)
    )


@pytest.mark.parametrize("make", [cell_state_output, feedback])
def test_other_feedback_becomes_a_scan(make: Callable[[], Model]) -> None:
    model = make()
    assert "Scan" in [node.op_type for node in export_float(model).graph.node]
    assert worst_difference(model) < 1e-5


def test_a_backward_stage_runs_from_the_end() -> None:
    model = cell_state_output()
    backward = replace(model.main.stages[0], direction="backward")
    model = replace(model, functions=(replace(model.main, stages=(backward,)),))
    assert worst_difference(model) < 1e-5
