"""The 18 recurrent cases of ONNX's conformance suite, imported and evaluated to the suite's outputs.

In float to 1e-5 (the suite asks for 1e-3), and as integer C on the host. There the largest error measured
is 3.4e-3 of outputs within 1: the suite's networks are untrained (inputs up to 18, all weights alike).
"""

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.backend.test.case.node import collect_testcases

from random_bundles import M4, Case, run_cases
from stepcell.build import build_host, load_bundle
from stepcell.emit import emit
from stepcell.importers.onnx import import_onnx
from stepcell.ir import Model
from stepcell.ir.sequences import Sequences
from stepcell.lower import lower
from stepcell.quantize import quantize
from stepcell.quantize.context import Activations
from stepcell.reference.float_model import run_float
from stepcell.run import run_host
from tools import require_tool

NAMES = (
    "gru_batchwise",
    "gru_bidirectional",
    "gru_defaults",
    "gru_reverse",
    "gru_seq_length",
    "gru_with_initial_bias",
    "lstm_batchwise",
    "lstm_bidirectional",
    "lstm_defaults",
    "lstm_reverse",
    "lstm_with_initial_bias",
    "lstm_with_peepholes",
    "rnn_seq_length",
    "simple_rnn_batchwise",
    "simple_rnn_bidirectional",
    "simple_rnn_defaults",
    "simple_rnn_reverse",
    "simple_rnn_with_initial_bias",
)
WEIGHTS = ("W", "R", "B", "P")
INTEGER_ERROR = 5e-3


@cache
def cases() -> dict[str, Any]:
    """Every node test of ONNX, generated once: collecting a part leaves global state behind."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the overflows that other operators' cases provoke
        return {case.name.removeprefix("test_"): case for case in collect_testcases(None)}


def given(name: str) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, np.ndarray[Any, Any]]]:
    """The suite's inputs and outputs by name."""
    graph, (arrays, results) = cases()[name].model.graph, cases()[name].data_sets[0]
    inputs = {info.name: array for info, array in zip(graph.input, arrays, strict=True)}
    return inputs, {info.name: array for info, array in zip(graph.output, results, strict=True)}


def saved(name: str, folder: Path) -> Path:
    """The case as a file whose weights are constants, as in any model; all else stays an input."""
    model = onnx.ModelProto()
    model.CopyFrom(cases()[name].model)
    graph, inputs = model.graph, given(name)[0]
    free = [info for info in graph.input if info.name not in WEIGHTS]
    fixed = [onnx.numpy_helper.from_array(inputs[w], w) for w in WEIGHTS if w in inputs]
    del graph.input[:]
    graph.input.extend(free)
    graph.initializer.extend(fixed)
    onnx.save(model, folder / "case.onnx")
    return folder / "case.onnx"


def frames(model: Model, name: str) -> np.ndarray[Any, Any]:
    """The case's X as [N, T, I], whatever its layout."""
    assert model.source is not None
    axes = model.source.inputs[0].axes
    return np.moveaxis(given(name)[0]["X"], [axes.index("batch"), axes.index("time")], [0, 1])


def initial_states(model: Model, name: str) -> dict[str, np.ndarray[Any, Any]]:
    """[N, H] by name: what the case's state inputs hold."""
    assert model.source is not None
    inputs = given(name)[0]
    return {
        s.state: np.moveaxis(inputs[s.tensor_in][s.key], s.batch_axis or 0, 0) for s in model.source.states
    }


@pytest.mark.parametrize("name", NAMES)
def test_conformance_case_gives_the_suites_outputs(name: str, tmp_path: Path) -> None:
    model = import_onnx(saved(name, tmp_path))
    run = run_float(model, frames(model, name), initial=initial_states(model, name))
    compare(model, name, run.outputs(model.main), relative=1e-5)


def compare(
    model: Model, name: str, results: dict[str, np.ndarray[Any, Any]], relative: float, absolute: float = 1e-6
) -> None:
    """The results hold what the suite wants, in the model's order of axes: batch, time, the others."""
    assert model.source is not None
    wanted = given(name)[1]
    for tensor, found in zip(model.source.outputs, results.values(), strict=True):
        order = sorted(
            range(len(tensor.axes)), key=lambda i: ("batch", "time", "inner").index(tensor.axes[i])
        )
        expected = wanted[tensor.name].transpose(order)
        assert np.allclose(found.reshape(expected.shape), expected, rtol=relative, atol=absolute)


@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_conformance_cases_in_integer_c_on_the_host(activations: Activations, tmp_path: Path) -> None:
    """Bit for bit the integer reference, whose outputs are the suite's within the stated error."""
    require_tool("gcc", "cffi")
    found = {name: compiled(name, activations, tmp_path) for name in NAMES}
    library = build_host([case.bundle for _, case in found.values()], tmp_path, "gcc")
    assert run_cases([case for _, case in found.values()], lambda jobs: run_host(library, jobs)) == {}
    for name, (model, case) in found.items():
        results = {}
        for output in case.qmodel.main.outputs:
            array = case.reference.outputs[output.value.name] * output.value.scale
            results[output.value.name] = array[:, -1] if output.finished else array
        compare(model, name, results, relative=0.0, absolute=INTEGER_ERROR)


def compiled(name: str, activations: Activations, folder: Path) -> tuple[Model, Case]:
    """The case's model, calibrated on its own X, as a bundle, and X in integers."""
    model = import_onnx(saved(name, folder), name=name)
    x = frames(model, name)
    assert not any(array.any() for array in initial_states(model, name).values())
    qmodel = quantize(model, Sequences(x, np.full(len(x), x.shape[1])), activations)
    value = qmodel.main.inputs[0]
    limit = (1 << (value.bits - 1)) - 1
    stored = np.clip(np.floor(x / value.scale + 0.5), -limit, limit).astype(np.int64)
    plan = lower(qmodel, M4, max_steps=x.shape[1])
    return model, Case(qmodel, plan, load_bundle(emit(plan, folder / name, {}, {})), stored)


def test_conformance_cases_are_all_named_here() -> None:
    recurrent = {
        name
        for name, case in cases().items()
        if any(node.op_type in ("LSTM", "GRU", "RNN") for node in case.model.graph.node)
    }
    assert recurrent == set(NAMES)
