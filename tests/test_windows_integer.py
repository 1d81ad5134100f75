"""Integer layers over windows: equal in the reference, ONNX Runtime and C, and close to the float network."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from random_bundles import M4, Case, compile_case, preferring, run_cases, run_selftests
from random_models import random_frames, random_qmodel, random_sequences
from random_windows import WINDOWS
from runtime_library import Runtime
from stepcell.build import build_host
from stepcell.compress import prune
from stepcell.exporters.integer_onnx import export_integer
from stepcell.ir import Finish, Function, Model, Stage, State, verify
from stepcell.ir.model import FloatArray
from stepcell.ir.ops import Activate, Concat, Conv, Dense, Gru, Take, Value
from stepcell.ir.qmodel import QConcat, QConv, QRescale
from stepcell.ir.sequences import Sequences
from stepcell.lower import lower
from stepcell.lower.kernels import kernels_of
from stepcell.quantize import quantize
from stepcell.quantize.context import Activations
from stepcell.reference.float_model import run_float
from stepcell.reference.integer_model import run_integer
from stepcell.reference.integer_ops import quantize_input
from stepcell.reference.integer_session import run_integer_in_onnx_runtime
from stepcell.run import run_host
from tools import require_tool

KERNELS = kernels_of(M4)


def draw(folder: Path, kind: str, seed: int) -> Case:
    """A random model after a layer of this kind, compiled with one kernel or another."""
    rng = np.random.default_rng([seed, WINDOWS.index(kind)])
    activations: Activations = "int8" if seed % 2 else "int16"
    name = f"{kind}_{seed}"
    qmodel, _ = random_qmodel(rng, activations, name=name, prelude=kind, max_units=24)
    core = M4 if seed % 3 == 0 else preferring(M4, KERNELS[seed % len(KERNELS)])
    return compile_case(folder, qmodel, rng, core)


@pytest.mark.parametrize("kind", WINDOWS)
def test_a_layer_over_windows_is_the_same_in_onnx_runtime_and_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    require_tool("gcc", "cffi")
    monkeypatch.setenv("STEPCELL_CACHE_DIR", str(tmp_path / "cache"))
    cases = [draw(tmp_path, kind, seed) for seed in range(6)]
    for case in cases:
        outputs, states = run_integer_in_onnx_runtime(
            export_integer(case.qmodel), case.x, np.full(len(case.x), case.x.shape[1])
        )
        (output,) = outputs.values()
        assert np.array_equal(output, case.reference.output)
        assert all(np.array_equal(states[name], case.reference.states[name]) for name in states)
    bundles = [case.bundle for case in cases]
    library = build_host(bundles, tmp_path, "gcc")
    assert run_cases(cases, lambda jobs: run_host(library, jobs)) == {}
    assert run_selftests(bundles, lambda jobs: run_host(library, jobs)) == {}


def network(rng: np.random.Generator, depthwise: bool = False, rows: int = 8) -> Model:
    """Frames 8 x 4, one earlier frame kept, a convolution over both with a relu, a GRU, the last state."""
    channels = rows if depthwise else 4
    weights = {
        "w": rng.normal(size=(rows, 2, 3, 1 if depthwise else channels)) / 4,
        "b": rng.normal(size=rows) / 4,
        "gw": rng.normal(size=(24, 8 * rows)) / 8,
        "gr": rng.normal(size=(24, 8)) / 3,
        "gb": np.zeros(24),
        "rb": np.zeros(24),
    }
    size = 8 * channels
    newest = tuple(range(size, 2 * size))
    ops = (
        Concat(("before", "x"), Value("frames", (2, 8, channels))),
        Take("frames", Value("newest", (size,)), newest),
        Conv(
            "frames",
            Value("conv", (1, 8, rows)),
            "w",
            "b",
            (1, 1),
            (1, 1),
            ((0, 0), (1, 1)),
            channels if depthwise else 1,
        ),
        Activate("conv", Value("relu", (1, 8, rows)), "relu"),
        Gru("relu", "h", Value("h_next", (8,)), "gw", "gr", "gb", "rb", True),
    )
    stage = Stage("main", (Value("x", (8, channels)),), ops, (("before", "newest"), ("h", "h_next")))
    function = Function("main", stage.inputs, (stage,), Finish((), ("h",)), ("h",))
    states = (State("before", np.zeros(size)), State("h", np.zeros(8)))
    return verify(Model("windows", (function,), states, weights))


def data(rng: np.random.Generator, model: Model) -> Sequences:
    return random_sequences(rng, model, count=8, steps=20)


def integer_output(
    model: Model, sequences: Sequences, activations: Activations = "int8"
) -> tuple[FloatArray, FloatArray]:
    """(float, integer) outputs of the last step of every sequence."""
    qmodel = quantize(model, sequences, activations)
    (value,), (output,) = qmodel.main.inputs, qmodel.main.outputs
    x = quantize_input(sequences.x, value.scale, value.bits)
    last = run_integer(qmodel, x, sequences.lengths).output[:, -1]
    found = np.asarray(last * output.value.scale, np.float64)
    (wanted,) = run_float(model, sequences.x, sequences.lengths).outputs(model.main).values()
    return wanted, found


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_the_integers_stay_close_to_the_float_network(depthwise: bool, activations: Activations) -> None:
    rng = np.random.default_rng(0)
    model = network(rng, depthwise)
    wanted, found = integer_output(model, data(rng, model), activations)
    noise = np.sqrt(np.mean((wanted - found) ** 2))
    assert noise < (
        0.02 if activations == "int8" else 0.012
    )  # of states in -1..1; int8 rows alone give 0.008


def test_kept_frames_have_the_format_of_new_ones_so_that_nothing_is_rescaled() -> None:
    rng = np.random.default_rng(0)
    model = network(rng)
    qmodel = quantize(model, data(rng, model))
    (join,) = (op for op in qmodel.all_ops if isinstance(op, QConcat))
    formats = {v.name: (v.bits, v.scale) for v in (*qmodel.main.inputs, *(s.value for s in qmodel.states))}
    assert formats["x"] == formats["before"] == (join.y.bits, join.y.scale)
    assert not any(isinstance(op, QRescale) for op in qmodel.all_ops)


def test_a_relu_becomes_part_of_the_convolution() -> None:
    rng = np.random.default_rng(0)
    model = network(rng)
    (conv,) = (op for op in quantize(model, data(rng, model)).all_ops if isinstance(op, QConv))
    assert conv.relu
    assert conv.y.name == "relu"


@pytest.mark.parametrize(("outlier", "view"), [(1.0, True), (3000.0, False)])
def test_int8_is_read_only_where_it_costs_little_and_the_choice_says_so(outlier: float, view: bool) -> None:
    rng = np.random.default_rng(0)
    model = network(rng)
    sequences = data(rng, model)
    x = np.sign(sequences.x)
    x[0, 0, 0, 0] *= outlier
    qmodel = quantize(model, Sequences(x, sequences.lengths))
    (conv,) = (op for op in qmodel.all_ops if isinstance(op, QConv))
    assert conv.matrix.reads_view is view
    assert ("int8 view" in qmodel.choices["conv.input"].split(":")[0]) is view


def test_a_pruned_convolution_is_stored_in_blocks() -> None:
    rng = np.random.default_rng(0)
    model = prune(network(rng, rows=16), 0.8, pattern="4x1", matrices=["w"])
    assert model.masks["w"].keep.shape == model.weights["w"].shape
    assert model.masks["w"].keep.mean() == pytest.approx(0.2, abs=0.02)
    plan = lower(quantize(model, data(rng, model)), M4)
    (conv,) = (call for call in plan.calls if call.function == "sc_conv")
    assert "blocks" in conv.comment


def test_multiplications_and_positions_are_counted() -> None:
    rng = np.random.default_rng(0)
    model = network(rng)
    (conv,) = (
        call for call in lower(quantize(model, data(rng, model)), M4).calls if call.function == "sc_conv"
    )
    assert conv.macs == 8 * 8 * 2 * 3 * 4
    assert ("sc_conv", "position", 8) in conv.work


def test_a_dense_layer_over_several_vectors_equals_one_over_each() -> None:
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(3, 4)), "b": rng.normal(size=3)}
    ops = (Dense("x", Value("y", (5, 3)), "w", "b"),)
    stage = Stage("main", (Value("x", (5, 4)),), ops, (), ("y",))
    model = verify(Model("vectors", (Function("main", stage.inputs, (stage,), None, ("y",)),), (), weights))
    sequences = random_sequences(rng, model)
    qmodel = quantize(model, sequences)
    x = random_frames(rng, qmodel)
    (conv,) = qmodel.all_ops
    assert isinstance(conv, QConv)
    found = run_integer(qmodel, x).output
    for k in range(5):
        one = np.zeros_like(x)
        one[:, :, 0] = x[:, :, k]
        np.testing.assert_array_equal(run_integer(qmodel, one).output[:, :, 0], found[:, :, k])


@pytest.mark.parametrize("bits", [8, 16])
def test_taking_gives_zero_where_the_index_says_so(tmp_path: Path, bits: int) -> None:
    require_tool("gcc", "cffi")
    runtime = Runtime(tmp_path, "gcc")
    x = np.arange(1, 9).astype(f"int{bits}")
    indices = np.array([7, 0xFFFF, 0, 0xFFFF], np.uint16)
    y = np.full(4, 99, f"int{bits}")
    getattr(runtime, f"sc_take_or_zero_s{bits}")(y, x, indices, 4)
    assert y.tolist() == [8, 0, 1, 0]


@pytest.mark.parametrize("depthwise", [False, True])
def test_the_training_module_computes_the_same(depthwise: bool) -> None:
    torch = pytest.importorskip("torch")
    train = importlib.import_module("stepcell.train")
    rng = np.random.default_rng(0)
    model = network(rng, depthwise)
    x = rng.standard_normal((3, 5, *model.main.inputs[0].shape))
    (wanted,) = run_float(model, x).outputs(model.main).values()
    found = train.to_module(model)(torch.from_numpy(x).float())
    np.testing.assert_allclose(found.detach().numpy(), wanted, atol=1e-5)
