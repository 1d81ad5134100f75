"""Fully quantized TensorFlow Lite files keep their own integers, to the bit, from the file to the C.

The interpreter's results were recorded by scripts/make_tflite_fixtures.py. Its LSTM is met exactly; its dense
layers, of which it has several implementations, to one unit of the output (docs/numerics.md).
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from random_bundles import compile_case, run_cases
from runtime_library import Runtime
from stepcell.build import build_host
from stepcell.errors import StepcellError
from stepcell.exporters.integer_onnx import export_integer
from stepcell.importers import import_model
from stepcell.importers.tflite.integers import with_integers
from stepcell.importers.tflite.runtime import find_interpreter, run_integer_file
from stepcell.importers.tflite.schema import read_tflite
from stepcell.ir import Model
from stepcell.ir.files import dump_model, dump_qmodel, load_model, load_qmodel
from stepcell.ir.ops import Quant
from stepcell.ir.qmodel import IntArray, QModel
from stepcell.ir.qtflite import QTfliteDense, QTfliteLstm
from stepcell.ir.sequences import Sequences
from stepcell.quantize import quantize
from stepcell.quantize.tflite import fixed, quantize_as_source
from stepcell.reference import tflite_arithmetic as arithmetic
from stepcell.reference.integer_model import run_integer
from stepcell.reference.integer_ops import quantize_input
from stepcell.reference.integer_session import run_integer_in_onnx_runtime
from stepcell.run.host import run_host
from stepcell.target import load_core
from tools import require_tool

FIXTURES = Path(__file__).parent / "fixtures" / "tflite"
INT8 = sorted(path.stem for path in FIXTURES.glob("*_int8.tflite"))
STEP_FUNCTIONS = [name for name in INT8 if not name.startswith("bilstm")]


def made(name: str) -> QModel:
    return quantize_as_source(import_model(FIXTURES / f"{name}.tflite"))


def recorded(name: str) -> dict[str, np.ndarray]:
    with np.load(FIXTURES / f"{name}.npz") as stored:
        return {key: stored[key] for key in stored.files}


def outputs(qmodel: QModel, x: IntArray, rank: int) -> IntArray:
    found = run_integer(qmodel, x).output
    return found if found.ndim == rank else found[:, -1]


@pytest.mark.parametrize("name", INT8)
def test_labels_equal_the_interpreters_and_numbers_differ_by_one_at_most(name: str) -> None:
    stored = recorded(name)
    found = outputs(made(name), stored["x"].astype(np.int64), stored["logits"].ndim)
    assert np.abs(found - stored["logits"]).max() <= 1
    assert np.array_equal(found.argmax(-1), stored["y"].argmax(-1))


@pytest.mark.parametrize("name", INT8)
def test_random_integers_give_what_the_installed_interpreter_gives(name: str) -> None:
    interpreter = find_interpreter()
    if interpreter is None:
        pytest.skip("no interpreter is installed")
    file = read_tflite(FIXTURES / f"{name}.tflite")
    x = np.random.default_rng(0).integers(-128, 128, (60, 8, 4))
    expected = run_integer_file(interpreter, file, x)
    difference = np.abs(outputs(made(name), x, expected.ndim) - expected)
    assert difference.max() <= 1
    assert (difference != 0).mean() < 0.01


@pytest.mark.parametrize("name", STEP_FUNCTIONS)
def test_integer_onnx_equals_the_reference(name: str) -> None:
    qmodel = made(name)
    x = recorded(name)["x"].astype(np.int64)[:16]
    run = run_integer(qmodel, x)
    found, states = run_integer_in_onnx_runtime(export_integer(qmodel), x, np.full(len(x), x.shape[1]))
    (output,) = found.values()
    assert np.array_equal(output, run.output)
    assert all(np.array_equal(states[key], run.states[key]) for key in run.states)


@pytest.mark.parametrize("target", ["cortex-m4", "cortex-m0plus", "host"])
def test_c_equals_the_reference_in_every_state(target: str, tmp_path: Path) -> None:
    cases = []
    for name in STEP_FUNCTIONS:
        case = compile_case(tmp_path, made(name), np.random.default_rng(0), load_core(target))
        cases.append(replace(case, x=recorded(name)["x"].astype(np.int64)[:8]))
    library = build_host([case.bundle for case in cases], tmp_path / "host")
    assert run_cases(cases, partial(run_host, library)) == {}


def test_c_tanh_and_sigmoid_equal_the_reference_everywhere(tmp_path: Path) -> None:
    require_tool("gcc", "cffi")
    runtime = Runtime(tmp_path, "gcc")
    p = np.arange(-32768, 32768)
    sigmoid, tanh = runtime.library.sc_tflite_sigmoid, runtime.library.sc_tflite_tanh
    assert np.array_equal([sigmoid(v) for v in p.tolist()], arithmetic.sigmoid(p))
    for integer_bits in range(7):
        found = [tanh(v, integer_bits) for v in p.tolist()]
        assert np.array_equal(found, arithmetic.tanh(p, integer_bits))


@pytest.mark.parametrize("integer_bits", range(7))
def test_tanh_and_sigmoid_are_close_to_the_functions(integer_bits: int) -> None:
    p = np.arange(-32768, 32768)
    real = p / 2.0 ** (15 - integer_bits)
    assert np.abs(arithmetic.tanh(p, integer_bits) / 32768 - np.tanh(real)).max() < 4e-4
    if integer_bits == 3:
        assert np.abs(arithmetic.sigmoid(p) / 32768 - 1 / (1 + np.exp(-real))).max() < 4e-4


def test_factors_are_multipliers_of_31_bits() -> None:
    real = np.array([1.0, 0.75, 1 / 3, 1e-3, 2.5, 0.0])
    factors = fixed(*real)
    assert np.abs(factors.multipliers * 2.0 ** (factors.shifts - 31) - real).max() < 1e-9
    assert all(m == 0 or 2**30 <= m < 2**31 for m in factors.multipliers)


def test_ties_go_away_from_zero_in_gates_and_up_in_dense_layers() -> None:
    v = np.array([-3, -1, 1, 3])
    assert arithmetic.away(v, 1).tolist() == [-2, -1, 1, 2]
    half = fixed(0.5)
    assert arithmetic.multiply(v, half.multipliers, half.shifts).tolist() == [-1, 0, 1, 2]


def test_zero_points_are_the_files() -> None:
    qmodel = made("lstm_int8")
    file = read_tflite(FIXTURES / "lstm_int8.tflite")
    source = file.graphs[0].tensors[file.graphs[0].inputs[0]].quantization
    assert source is not None
    (value,) = qmodel.main.inputs
    assert (value.scale, value.zero_point) == (source.scale, source.zero_point)
    real = np.array([0.0, source.scale, 1e9, -1e9, np.nan])
    stored = quantize_input(real, value.scale, 8, value.zero_point) - source.zero_point
    assert stored.tolist() == [0, 1, 127 - source.zero_point, -128 - source.zero_point, 0]


def test_nothing_is_calibrated_and_other_formats_are_refused() -> None:
    model = import_model(FIXTURES / "lstm_int8.tflite")
    data = Sequences(np.ones((1, 8, 4)), np.array([8]))
    assert isinstance(quantize(model, data).all_ops[0], QTfliteLstm)
    with pytest.raises(StepcellError, match="quantized already"):
        quantize(model, data, activations="int16")


def test_pruning_gives_up_the_files_integers() -> None:
    model = import_model(FIXTURES / "lstm_int8.tflite")
    assert model.quantized
    assert not model.with_weights({}).quantized


def test_model_and_qmodel_survive_their_files() -> None:
    model = import_model(FIXTURES / "lstm_int8.tflite")
    again = load_model(dump_model(replace(model, source=None)), "model")
    qmodel = load_qmodel(dump_qmodel(quantize_as_source(again)), "model")
    x = recorded("lstm_int8")["x"].astype(np.int64)[:4]
    assert np.array_equal(run_integer(qmodel, x).output, run_integer(quantize_as_source(model), x).output)
    assert any(isinstance(op, QTfliteDense) for op in qmodel.all_ops)


def test_a_layer_that_is_read_in_another_scale_is_refused() -> None:
    model = import_model(FIXTURES / "lstm_int8.tflite")
    with pytest.raises(StepcellError, match="in another scale than it has"):
        quantize_as_source(_with_input(model, Quant(0.5, 3, 8)))


def _with_input(model: Model, quant: Quant) -> Model:
    return replace(model, quantized={**model.quantized, model.main.inputs[0].name: quant})


def test_weights_that_are_not_the_files_are_refused() -> None:
    path = FIXTURES / "lstm_int8.tflite"
    model = import_model(path)
    changed = model.with_weights({"dense1_weights": model.weights["dense1_weights"] * 2})
    with pytest.raises(StepcellError, match="is not one of the file's own"):
        with_integers(read_tflite(path), changed)
