"""The promise: integer reference = C, by every compiler, on the host and on emulated chips, bit for bit.

Every state and output after every step of 220 random models. They are built in batches, an image each;
a batch's models are drawn again by every test process, so that tests may run side by side.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from random_bundles import M4, Case, compile_case, make_case, preferring, run_cases, run_selftests
from random_models import random_qmodel
from stepcell.build import Bundle, build_firmware, build_host
from stepcell.ir.qmodel import QLstm
from stepcell.lower.kernels import kernels_of
from stepcell.paths import runtime_dir
from stepcell.quantize.context import Activations, Weights
from stepcell.run import Job, JobResult, run_host, run_qemu, run_unicorn
from stepcell.target import load_board, load_core
from tools import require_tool

MODELS, BATCHES = 220, 4
KERNELS = kernels_of(M4)
BOARDS = {"M4": load_board("mps2-an386"), "M0+": load_board("emulated-cortex-m0plus")}
Batch = Callable[[int], list[Case]]


@pytest.fixture(scope="session")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """The models of one batch: every fourth seed, so that all batches are alike."""
    folder = tmp_path_factory.mktemp("bundles")
    return cache(lambda number: [draw(folder, seed) for seed in range(number, MODELS, BATCHES)])


def draw(folder: Path, seed: int) -> Case:
    """Model `seed`; every second one as a user would get it, the others with a kernel forced."""
    turn = seed // BATCHES
    if turn % 2 == 0:
        return make_case(folder, seed, attention=None)
    kernel = KERNELS[turn // 2 % len(KERNELS)]
    rng = np.random.default_rng(seed)
    weights: Weights = "int4" if kernel.weight_limit == 7 else "int8"
    activations: Activations = "int8" if kernel.input_bits == 8 else "int16"
    qmodel, _ = random_qmodel(rng, activations, weights, name=f"m{seed}", attention=None)
    return compile_case(folder, qmodel, rng, preferring(M4, kernel))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of objects that nobody needs again would push the user's out of the cache."""
    monkeypatch.setenv("STEPCELL_CACHE_DIR", str(tmp_path / "cache"))


def bundles(cases: Sequence[Case]) -> list[Bundle]:
    return [case.bundle for case in cases]


@pytest.mark.parametrize("number", range(BATCHES))
@pytest.mark.parametrize("compiler", ["gcc", "clang", "zig"])
def test_host_c_equals_the_reference(tmp_path: Path, batch: Batch, compiler: str, number: int) -> None:
    require_tool(compiler, "cffi")
    cases = batch(number)
    library = build_host(bundles(cases), tmp_path, compiler)

    def run(jobs: Sequence[Job]) -> list[JobResult]:
        return run_host(library, jobs)

    assert run_cases(cases, run) == {}
    assert run_selftests(bundles(cases), run) == {}


@pytest.mark.parametrize("number", range(BATCHES))
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_sanitized_c_equals_the_reference(tmp_path: Path, batch: Batch, compiler: str, number: int) -> None:
    require_tool(compiler)
    cases = batch(number)
    program = build_host(bundles(cases), tmp_path, compiler, sanitize=True)
    assert run_cases(cases, lambda jobs: run_host(program, jobs)) == {}
    assert run_selftests(bundles(cases), lambda jobs: run_host(program, jobs)) == {}


@pytest.mark.parametrize("number", range(BATCHES))
@pytest.mark.parametrize("compiler", ["arm-gcc", "zig"])
def test_one_firmware_equals_the_reference_in_unicorn_and_qemu(
    tmp_path: Path, batch: Batch, compiler: str, number: int
) -> None:
    require_tool(compiler, "unicorn", "elftools", "qemu")
    cases, board = batch(number), BOARDS["M4"]
    elf = build_firmware(bundles(cases), board, tmp_path, compiler)
    runners: dict[str, Callable[[Sequence[Job]], list[JobResult]]] = {
        "unicorn": lambda jobs: run_unicorn(elf, load_core(board.core), jobs),
        "qemu": lambda jobs: run_qemu(elf, board, jobs),
    }
    for run in runners.values():
        assert run_cases(cases, run) == {}
        assert run_selftests(bundles(cases), run) == {}


@pytest.mark.parametrize("number", range(BATCHES))
def test_firmware_of_a_cortex_m0plus_equals_the_reference(tmp_path: Path, batch: Batch, number: int) -> None:
    require_tool("zig", "unicorn", "elftools")
    cases, board = batch(number), BOARDS["M0+"]
    core = load_core(board.core)
    elf = build_firmware(bundles(cases), board, tmp_path, "zig")

    def run(jobs: Sequence[Job]) -> list[JobResult]:
        return run_unicorn(elf, core, jobs)

    assert run_cases(cases, run, aligned=True) == {}
    assert run_selftests(bundles(cases), run) == {}
    smallest = sorted(cases, key=lambda case: case.plan.macs)[:20]  # misaligned access traps, found slowly
    assert run_cases(smallest, run) == {}


def test_the_models_use_the_whole_runtime_and_reach_the_extremes(batch: Batch) -> None:
    cases = [case for number in range(BATCHES) for case in batch(number)]
    used = {name for case in cases for name in case.functions}
    kernels = {kernel.name for kernel in kernels_of(M4)}
    layers = {path.stem for path in (runtime_dir() / "src").glob("*.c") if "matvec" not in path.name}
    of_delta = {name for name in layers if "hold" in name or "delta" in name}  # tests/test_delta.py
    of_sources = {name for name in layers if "tflite" in name}  # tests/test_tflite_int8.py
    of_tokens = {"sc_embed_s8", "sc_embed_s16", "sc_argmax"}  # tests/test_functions_tokens.py
    of_functions = {"sc_abs", "sc_relu"}  # tests/test_functions_bundles.py
    of_other_cores = {"sc_view_s32", "sc_widen_s8_s32", "sc_widen_s16_s32"}
    assert (kernels | layers) - used == {
        "sc_checksum8",
        "sc_checksum16",
        "sc_checksum32",
        "sc_sigmoid_table",
        *of_other_cores,
        *of_delta,
        *of_sources,
        *of_tokens,
        *of_functions,
    }
    sizes = Counter(state.value.size for case in cases for state in case.qmodel.states)
    assert sizes[1] > 20
    assert sum(n for size, n in sizes.items() if size % 4) > 200
    assert sum(n for size, n in sizes.items() if size >= 120) > 10
    assert {case.qmodel.main.inputs[0].bits for case in cases} == {8, 16}
    cells = [op.c for case in cases for op in case.qmodel.all_ops if isinstance(op, QLstm)]
    assert len(cells) > 20
    saturated = sum(any(case.reference.saturations.values()) for case in cases)
    assert saturated >= 5
