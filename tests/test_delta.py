"""Delta: held inputs and views, in every link of the chain, and what they save."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import scalar_contract
from command_line import assert_mistake, call, call_json, small_files
from random_bundles import M4, Case, compile_case, run_cases, run_selftests, sized_model
from random_models import random_frames, random_model, random_sequences
from runtime_library import Runtime
from stepcell.build import build_firmware, build_host
from stepcell.build.elf import Firmware
from stepcell.errors import StepcellError
from stepcell.exporters.integer_onnx import export_integer
from stepcell.ir import Model
from stepcell.ir.files import dump_qmodel, load_qmodel
from stepcell.ir.qmodel import IntArray, QHold, QModel
from stepcell.ir.qtext import qmodel_to_text
from stepcell.lower import delta, lower
from stepcell.lower.kernels import Kernel
from stepcell.quantize import quantize
from stepcell.quantize.context import Activations
from stepcell.quantize.delta import hold_inputs
from stepcell.reference.integer_model import run_integer
from stepcell.reference.integer_session import run_integer_in_onnx_runtime
from stepcell.report.distribution import skipped_columns, spread
from stepcell.run import Job, JobResult, lane, profile_each_step, profile_step, run_host, run_unicorn
from stepcell.run.counts import Watch
from stepcell.run.unicorn_machine import count_unicorn
from stepcell.target import load_board, load_core
from tools import require_tool

LAYERS = ("lstm", "gru_after", "rnn_tanh")
THRESHOLDS = (0, 1, 5, 30, 127)
M4_BOARD = load_board("mps2-an386")
WITHOUT_PAIRS = replace(M4, kernels=("portable",))
SEEDS = range(16)
BEFORE = (None, "none", "standardize", "dense_relu")
"""Preludes: any, and those whose layers hold an input, an int16 value or the result of another layer."""


def drawn(seed: int, max_units: int = 40) -> tuple[np.random.Generator, Model, QModel]:
    """A random model of layers that delta takes, and its integers without delta."""
    rng = np.random.default_rng([seed, 7])
    layers = tuple(str(kind) for kind in rng.choice(LAYERS, size=1 + seed % 3))
    prelude = BEFORE[seed % len(BEFORE)]
    model = random_model(rng, name=f"delta{seed}", layers=layers, prelude=prelude, max_units=max_units)
    return rng, model, quantize(model, random_sequences(rng, model))


def slow_frames(rng: np.random.Generator, qmodel: QModel, count: int = 4, steps: int = 12) -> np.ndarray:
    """x [N, T, ...] that changes little from step to step, but for a sequence of extremes."""
    steep = random_frames(rng, qmodel, count, steps)
    slow = np.cumsum(rng.integers(-3, 4, steep.shape) * (rng.random(steep.shape) < 0.4), axis=1)
    return np.asarray(np.concatenate([steep[:1], slow.clip(-100, 100)[1:]]))


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    folder = tmp_path_factory.mktemp("bundles")
    found = []
    for seed in SEEDS:
        rng, _, qmodel = drawn(seed)
        core = M4 if seed % 3 else WITHOUT_PAIRS
        case = compile_case(folder, hold_inputs(qmodel, THRESHOLDS[seed % len(THRESHOLDS)]), rng, core)
        found.append(replace(case, x=slow_frames(rng, qmodel)))
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_at_threshold_0_every_state_and_output_is_that_without_delta(seed: int) -> None:
    rng, _, qmodel = drawn(seed)
    x = slow_frames(rng, qmodel)
    without, held = run_integer(qmodel, x), run_integer(hold_inputs(qmodel, 0), x)
    np.testing.assert_array_equal(held.output, without.output)
    for name, states in without.states.items():
        np.testing.assert_array_equal(held.states[name], states)


def test_a_higher_threshold_skips_more_columns() -> None:
    rng, _, qmodel = drawn(0)
    x = slow_frames(rng, qmodel)
    lengths = np.full(len(x), x.shape[1])
    runs = [(q := hold_inputs(qmodel, t), run_integer(q, x)) for t in (0, 2, 127)]
    shares = [skipped_columns(q, run, lengths)[0] or 0.0 for q, run in runs]
    assert 0.1 < shares[0] < shares[1] < shares[2]


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("layer", LAYERS)
def test_plain_python_agrees_within_int32(layer: str, threshold: int) -> None:
    rng = np.random.default_rng([LAYERS.index(layer), threshold])
    model = random_model(rng, layers=(layer, layer), max_units=12)
    qmodel = quantize(model, random_sequences(rng, model), delta=threshold)
    x = slow_frames(rng, qmodel, count=3, steps=6)
    run = run_integer(qmodel, x)
    for i, sequence in enumerate(x):
        frames = [[int(v) for v in frame.flat] for frame in sequence]
        for t, (states, output) in enumerate(scalar_contract.run(qmodel, frames)):
            assert output == run.output[i, t].ravel().tolist()
            assert all(states[name] == run.states[name][i, t].ravel().tolist() for name in states)


@pytest.mark.parametrize("seed", SEEDS)
def test_onnx_runtime_agrees_and_a_file_holds_the_model(seed: int) -> None:
    rng, model, _ = drawn(seed)
    data = random_sequences(rng, model)
    qmodel = quantize(model, data, delta=THRESHOLDS[seed % len(THRESHOLDS)])
    x = slow_frames(rng, qmodel)
    run = run_integer(load_qmodel(dump_qmodel(qmodel), "file"), x)
    outputs, states = run_integer_in_onnx_runtime(export_integer(qmodel), x)
    (output,) = outputs.values()
    np.testing.assert_array_equal(output, run.output)
    assert states.keys() == run.states.keys()
    for name in states:
        np.testing.assert_array_equal(states[name], run.states[name])


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("sanitize", [False, True])
def test_host_c_equals_the_reference(
    tmp_path: Path, cases: list[Case], compiler: str, sanitize: bool
) -> None:
    require_tool(compiler, "cffi")
    bundles = [case.bundle for case in cases]
    library = build_host(bundles, tmp_path, compiler, sanitize=sanitize)

    def run(jobs: Sequence[Job]) -> list[JobResult]:
        return run_host(library, jobs)

    assert run_cases(cases, run) == {}
    assert run_selftests(bundles, run) == {}


@pytest.mark.parametrize("compiler", ["arm-gcc", "zig"])
@pytest.mark.parametrize("board", ["mps2-an386", "emulated-cortex-m0plus"])
def test_firmware_equals_the_reference(tmp_path: Path, cases: list[Case], board: str, compiler: str) -> None:
    """Bundles for the other core are portable C."""
    require_tool(compiler, "unicorn", "elftools")
    bundles, core = [case.bundle for case in cases], load_core(load_board(board).core)
    elf = build_firmware(bundles, load_board(board), tmp_path, compiler)

    def run(jobs: Sequence[Job]) -> list[JobResult]:
        return run_unicorn(elf, core, jobs)

    assert run_cases(cases, run, aligned=True) == {}
    assert run_selftests(bundles, run) == {}


def test_the_random_models_reach_every_function_and_both_ends(cases: list[Case]) -> None:
    used = {name for case in cases for name in case.functions}
    assert used >= {"sc_lstm_delta", "sc_gru_delta", "sc_rnn_tanh_delta", "sc_delta_rows8", "sc_delta_hilo"}
    assert used >= {f"sc_hold_{kind}" for kind in ("s8", "s16", "pairs_s8", "pairs_s16")}
    assert not {"sc_lstm", "sc_gru", "sc_rnn_tanh"} & used
    held = [op.held for case in cases for op in case.qmodel.all_ops if isinstance(op, QHold)]
    assert len(held) > 60
    largest = [
        np.abs(np.diff(case.reference.states[op.held], axis=1)).max(initial=0)
        for case in cases
        for op in case.qmodel.all_ops
        if isinstance(op, QHold)
    ]
    assert max(largest) == 255


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_kernels_add_changes_modulo_2_to_the_32(tmp_path: Path, compiler: str) -> None:
    require_tool(compiler, "cffi")
    runtime = Runtime(tmp_path, compiler)
    rng = np.random.default_rng(0)
    for groups, cols, changed in ((1, 1, 1), (2, 7, 0), (3, 40, 13), (4, 300, 300)):
        weights = rng.choice([-127, 0, 5, 127], (8 * groups, cols))
        at = np.sort(rng.permutation(cols)[:changed])
        by = np.zeros(cols + cols % 2, np.int64)
        by[at] = rng.choice([-255, -1, 1, 255], changed)
        after = weights @ by[:cols]
        columns = np.array([*((by % 65536) << 16 | 8 * np.arange(len(by)))[by != 0], 0], np.uint32)
        _check_kernel(
            runtime, delta.COLUMNS, weights, columns, rng.integers(-(2**31), 2**31, len(after)), after
        )

        pairs = np.flatnonzero(by.reshape(-1, 2).any(axis=1))
        low, high = by.reshape(-1, 2)[pairs].T % 65536
        listed = np.array([*np.stack([16 * pairs, high << 16 | low], axis=1).flat, 0, 0, 0, 0], np.uint32)
        final = rng.integers(-(2**23) + 1, 2**23, len(after))  # whose highs are proven, not those on the way
        _check_kernel(runtime, delta.PAIRS, weights, listed, final - after, after)


def _check_kernel(
    runtime: Runtime, kernel: Kernel, weights: IntArray, changes: np.ndarray, sums: IntArray, by: IntArray
) -> None:
    acc, packed = sums.astype(np.int32), kernel.pack(weights, np.zeros(len(weights), np.int64))
    cursor = runtime.cursor(packed, -(-weights.shape[1] // kernel.multiple) * kernel.multiple)
    getattr(runtime, kernel.name)(cursor, changes, acc, len(weights))
    np.testing.assert_array_equal(acc, (sums + by).astype(np.uint64).astype(np.int32))
    assert cursor.weights == runtime.argument(packed.words) + len(packed.words)


def test_a_constant_input_costs_less_than_the_dense_layers(tmp_path: Path) -> None:
    require_tool("arm-gcc", "unicorn", "elftools", "capstone")
    for layer in LAYERS:
        qmodel = sized_model(layer, (layer,), 16, 64, 4, "last")
        rng = np.random.default_rng(0)
        held, dense = (compile_case(tmp_path / layer / n, q, rng) for n, q in
                       (("held", hold_inputs(qmodel, 0)), ("dense", qmodel)))  # fmt: skip
        images = [build_firmware([c.bundle], M4_BOARD, c.bundle.folder, "arm-gcc") for c in (held, dense)]
        still = np.full((40, 16), 30)
        counts = profile_each_step(images[0], held.bundle, M4_BOARD, [Job((lane(held.bundle, still),))])
        always = profile_step(images[1], dense.bundle, M4_BOARD).instructions
        assert counts[-1] < 0.7 * always
        assert len(set(counts.tolist())) > 1


def test_steps_are_counted_exactly_and_alike_in_unicorn_and_qemu(tmp_path: Path, cases: list[Case]) -> None:
    require_tool("arm-gcc", "unicorn", "qemu", "elftools", "capstone")
    case = max(cases[1::3], key=lambda case: case.plan.macs)
    elf = build_firmware([case.bundle], M4_BOARD, tmp_path, "arm-gcc")
    jobs = case.jobs(aligned=True)
    counts = profile_each_step(elf, case.bundle, M4_BOARD, jobs, "unicorn")
    np.testing.assert_array_equal(counts, profile_each_step(elf, case.bundle, M4_BOARD, jobs, "qemu"))
    assert len(set(counts.tolist())) > 3

    firmware, steps = Firmware(elf), case.x.shape[1]

    def whole_run(frames: int) -> int:
        job = Job((lane(case.bundle, case.x[1, :frames]),))
        executed = count_unicorn(elf, M4, [job], Watch(())).instructions.items()
        return sum(n for (_, pc), n in executed if firmware.in_section(pc, ".model_text", ".library"))

    of_sequence = counts[steps : 2 * steps]
    assert whole_run(steps) - whole_run(1) == of_sequence[1:].sum()
    assert whole_run(2) - whole_run(1) == of_sequence[1]


def test_spread_names_counts_of_real_steps() -> None:
    found = spread(np.array([7, 1, 3, 100]))
    assert (found.min, found.median, found.mean, found.p95, found.max) == (1, 3, 27.75, 100, 100)


def test_sums_stay_in_the_state_and_start_as_accumulators_do() -> None:
    qmodel = hold_inputs(sized_model("gru", ("gru_after",), 10, 20, 3, "last"), 1)
    plan = lower(qmodel, M4)
    fields = {field.name: field for field in plan.state}
    (sums,) = (field for field in plan.state if field.name.endswith("_sums"))
    assert (sums.ctype, sums.count) == ("int32_t", 2 * 3 * 24)  # 20 units, padded to 24
    assert sums.initial is not None
    assert [f.ctype for f in plan.state] == ["int32_t", "int16_t", "int8_t", "int8_t"]
    assert {fields[op.held].count for op in qmodel.main.stages[0].ops if isinstance(op, QHold)} == {10, 20}
    assert not any(table.name.startswith("gru1") and table.name.endswith("_start") for table in plan.tables)
    assert "depend on the data" in plan.choices["delta"]
    assert "hold(" in qmodel_to_text(qmodel)


@pytest.mark.parametrize(
    ("layer", "activations", "reason"),
    [
        ("gru_before", "int8", "reset gate acts on h"),
        ("rnn_relu", "int8", "relu state of 16 bits"),
        ("lstm", "int16", "input matrix reads 16 bits"),
    ],
)
def test_layers_that_cannot_be_held_are_refused(layer: str, activations: Activations, reason: str) -> None:
    rng = np.random.default_rng(0)
    model = random_model(rng, layers=(layer,), max_units=8)
    with pytest.raises(StepcellError, match=reason):
        quantize(model, random_sequences(rng, model), activations, delta=1)


@pytest.mark.parametrize("threshold", [-1, 128])
def test_thresholds_out_of_range_are_refused(threshold: int) -> None:
    with pytest.raises(StepcellError, match="0 to 127"):
        hold_inputs(drawn(0)[2], threshold)


def test_a_layer_that_is_too_wide_is_refused() -> None:
    qmodel = sized_model("wide", ("rnn_tanh",), 8200, 2, 2, "last")
    with pytest.raises(StepcellError, match="columns end at 8,192"):
        lower(hold_inputs(qmodel, 0), M4)


def test_a_held_model_goes_through_all_commands(tmp_path: Path) -> None:
    require_tool("zig", "unicorn", "elftools", "capstone", "cffi")
    model, data = small_files(tmp_path)
    folder = tmp_path / "c"
    manifest = call_json("compile", model, "--calibration", data, "-o", folder, "--delta", "2")
    assert "more than 2" in manifest["choices"]["delta"]
    found = call_json("validate", folder, "--data", data, "--on", "host,unicorn")
    assert found["c_vs_integer_mismatches"] == {"host": 0, "unicorn": 0}
    assert found["integer_vs_ort_mismatches"] == 0
    assert "distribution" not in call_json("profile", folder, "--compiler", "zig")
    measured = call_json("profile", folder, "--compiler", "zig", "--data", data)["distribution"]
    assert list(measured) == ["steps", "instructions", "columns_skipped", "skipped"]
    assert list(measured["instructions"]) == ["min", "median", "mean", "p95", "max"]
    assert measured["steps"] == np.load(data)["lengths"].sum()
    assert 0 < measured["columns_skipped"] < 1
    assert len(measured["skipped"]) == 2
    assert "columns skipped" in call("profile", folder, "--compiler", "zig", "--data", data).stdout


@pytest.mark.parametrize("more", [("--density", "0.5"), ("--format", "dense")])
def test_options_that_store_matrices_otherwise_are_refused(tmp_path: Path, more: tuple[str, str]) -> None:
    model, data = small_files(tmp_path)
    result = call("compile", model, "--calibration", data, "-o", tmp_path / "c", "--delta", "0", *more)
    assert_mistake(result, more[0], "--delta")
