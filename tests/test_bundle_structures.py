"""The promise beyond one step function: several functions, stages, inputs and outputs, tokens, frames a step.

Every state and output after every call of random structures: integer reference = C on the host by two
compilers and under sanitizers, and on emulated chips.
"""

import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from random_bundles import M4, run_selftests
from random_structures import random_data, random_feeds, random_quantized, random_structure
from stepcell.build import Bundle, build_firmware, build_host, load_bundle
from stepcell.build.flags import STRICT
from stepcell.build.toolchains import device_module
from stepcell.emit import emit
from stepcell.ir.qmodel import QModel
from stepcell.lower import Plan, lower
from stepcell.quantize import quantize
from stepcell.quantize.context import Activations
from stepcell.reference.integer_data import Feed
from stepcell.reference.integer_model import run_functions
from stepcell.reference.integer_ops import quantize_input
from stepcell.run import Job, JobResult, emulator, lane, run_host, run_qemu, run_unicorn, split_state
from stepcell.target import Core, load_board, load_core
from stepcell.validate.backends import lanes, mismatches
from tools import require_tool

MODELS, BATCHES, MAX_STEPS = 40, 2, 6
BOARDS = {"M4": load_board("mps2-an386"), "M0+": load_board("emulated-cortex-m0plus")}
Run = Callable[[Sequence[Job]], list[JobResult]]


@dataclass(frozen=True, eq=False)
class Structure:
    """A bundle, and what its functions are fed: up to 5 of at most 6 steps."""

    qmodel: QModel
    plan: Plan
    bundle: Bundle
    feeds: Mapping[str, Feed]

    def jobs(self) -> list[Job]:
        """One a sequence, every second one misaligned."""
        return [Job((one,), misaligned=i % 2 == 1) for i, one in enumerate(lanes(self.bundle, self.feeds))]

    def mismatches(self, results: list[JobResult]) -> int:
        """States and outputs that differ from the reference."""
        return mismatches(self.bundle, results, run_functions(self.qmodel, self.feeds), self.feeds)


Batch = Callable[[int], list[Structure]]


def draw(folder: Path, seed: int, core: Core = M4, **overrides: object) -> Structure:
    """Structure `seed` (even: int8, odd: int16 activations)."""
    rng = np.random.default_rng([seed, 7])
    activations: Activations = "int8" if seed % 2 == 0 else "int16"
    _, qmodel, _ = random_quantized(rng, activations, name=f"structure{seed}", **overrides)
    return compiled(folder, qmodel, random_feeds(rng, qmodel), core)


def compiled(folder: Path, qmodel: QModel, feeds: Mapping[str, Feed], core: Core = M4) -> Structure:
    """A bundle in a folder of its name."""
    whole = any(not function.is_step for function in qmodel.functions)
    plan = lower(qmodel, core, max_steps=MAX_STEPS if whole else None)
    return Structure(qmodel, plan, load_bundle(emit(plan, folder / qmodel.name, {}, {})), feeds)


@pytest.fixture(scope="session")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """The models of one batch: every second seed, so that both are alike."""
    folder = tmp_path_factory.mktemp("structures")
    return cache(lambda number: [draw(folder, seed) for seed in range(number, MODELS, BATCHES)])


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects that nobody needs again would push the user's out of the cache."""
    monkeypatch.setenv("STEPCELL_CACHE_DIR", str(tmp_path / "cache"))


def bundles(structures: Sequence[Structure]) -> list[Bundle]:
    return [structure.bundle for structure in structures]


def wrong(structures: Sequence[Structure], run: Run) -> dict[str, int]:
    """Model -> mismatches, of those that have any, or the answer of a self-test that fails."""
    jobs = [structure.jobs() for structure in structures]
    results = run([job for part in jobs for job in part])
    found = {}
    for structure, part in zip(structures, jobs, strict=True):
        mine, results = results[: len(part)], results[len(part) :]
        if count := structure.mismatches(mine):
            found[structure.bundle.name] = count
    return found | run_selftests(bundles(structures), run)


@pytest.mark.parametrize("number", range(BATCHES))
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_host_c_equals_the_reference(tmp_path: Path, batch: Batch, compiler: str, number: int) -> None:
    require_tool(compiler, "cffi")
    structures = batch(number)
    library = build_host(bundles(structures), tmp_path, compiler)
    assert wrong(structures, lambda jobs: run_host(library, jobs)) == {}


@pytest.mark.parametrize("number", range(BATCHES))
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_sanitized_c_equals_the_reference(tmp_path: Path, batch: Batch, compiler: str, number: int) -> None:
    require_tool(compiler)
    structures = batch(number)
    program = build_host(bundles(structures), tmp_path, compiler, sanitize=True)
    assert wrong(structures, lambda jobs: run_host(program, jobs)) == {}


@pytest.mark.parametrize("number", range(BATCHES))
@pytest.mark.parametrize("compiler", ["arm-gcc", "zig"])
def test_one_firmware_equals_the_reference_in_unicorn_and_qemu(
    tmp_path: Path, batch: Batch, compiler: str, number: int
) -> None:
    require_tool(compiler, "unicorn", "elftools", "qemu")
    structures, board = batch(number), BOARDS["M4"]
    elf = build_firmware(bundles(structures), board, tmp_path, compiler)
    assert wrong(structures, lambda jobs: run_unicorn(elf, load_core(board.core), jobs)) == {}
    assert wrong(structures, lambda jobs: run_qemu(elf, board, jobs)) == {}


@pytest.mark.parametrize("number", range(BATCHES))
def test_firmware_of_a_cortex_m0plus_equals_the_reference(tmp_path: Path, batch: Batch, number: int) -> None:
    require_tool("zig", "unicorn", "elftools")
    structures, board = batch(number), BOARDS["M0+"]
    elf = build_firmware(bundles(structures), board, tmp_path, "zig")
    core = load_core(board.core)
    assert wrong(structures, lambda jobs: run_unicorn(elf, core, jobs, check_alignment=False)) == {}
    smallest = sorted(structures, key=lambda structure: structure.plan.macs)[:8]  # traps are found slowly
    assert wrong(smallest, lambda jobs: run_unicorn(elf, core, jobs)) == {}


@pytest.mark.parametrize(
    ("board", "backend", "tools"),
    [
        ("atmega2560", "simavr", ("avr-gcc", "simavr")),
        ("qemu-rv32", "qemu", ("riscv-gcc", "qemu-riscv")),
        ("mps3-an547", "qemu", ("arm-gcc", "qemu")),
        ("qemu-cortex-a53", "qemu-user", ("aarch64-gcc", "qemu-user")),
    ],
)
def test_firmware_of_other_cores_equals_the_reference(
    tmp_path: Path, board: str, backend: str, tools: tuple[str, ...]
) -> None:
    require_tool(*tools, "elftools")
    chip = load_board(board)
    structures = [draw(tmp_path, seed, load_core(chip.core), max_units=6) for seed in range(200, 208)]
    elf = build_firmware(bundles(structures), chip, tmp_path / "out")
    assert wrong(structures, emulator(backend, elf, chip)) == {}


def test_the_structures_are_of_every_kind(batch: Batch) -> None:
    structures = [structure for number in range(BATCHES) for structure in batch(number)]
    functions = [function for structure in structures for function in structure.plan.functions]
    assert {len(structure.plan.functions) for structure in structures} == {1, 2}
    assert Counter(function.is_step for function in functions)[False] > 10
    assert any(stage.backward for function in functions for stage in function.stages)
    assert any(len(function.inputs) == 2 for function in functions)
    assert any(len(function.outputs) == 2 and function.each_step for function in functions)
    assert any(function.finished and not function.is_step for function in functions)
    assert {function.frames_per_step for function in functions} == {1, 2, 3}
    assert any(port.token for function in functions for port in function.inputs)


def test_forward_stages_give_the_same_in_two_runs_as_in_one(tmp_path: Path) -> None:
    """A run goes on from the states as they are."""
    require_tool("gcc", "cffi")
    rng = np.random.default_rng(5)
    model = random_structure(rng, structure="bidirectional", inputs="one", functions="one", frames=1)
    forward = [replace(stage, direction="forward") for stage in model.main.stages]
    model = replace(model, functions=(replace(model.main, stages=tuple(forward)),))
    qmodel = quantize(model, random_data(rng, model))
    structure = compiled(tmp_path, qmodel, random_feeds(rng, qmodel, steps=MAX_STEPS))
    library = build_host([structure.bundle], tmp_path / "host", "gcc")
    ((name, feed),) = structure.feeds.items()
    (x,) = (array[0] for array in feed.inputs.values())
    parts = [lane(structure.bundle, x[:2]).parts[0], lane(structure.bundle, x[2:]).parts[0]]
    halves = replace(lane(structure.bundle, x), parts=tuple(parts))
    (((whole,), (cut,))) = run_host(library, [Job((lane(structure.bundle, x),)), Job((halves,))])
    (output,) = whole.outputs
    joined = np.concatenate([part.outputs[output] for part in cut.parts])
    np.testing.assert_array_equal(joined, whole.outputs[output])
    ends = [split_state(structure.bundle, part.states) for part in (whole.only, cut.parts[-1])]
    for state in qmodel.states:
        np.testing.assert_array_equal(ends[0][state.value.name], ends[1][state.value.name])
    assert len(qmodel.main.stages) > 2
    assert name == "main"


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_every_c_file_is_clean(batch: Batch, compiler: str) -> None:
    require_tool(compiler)
    for bundle in bundles(batch(0))[:12]:
        includes = [f"-I{bundle.folder / folder}" for folder in bundle.include_dirs]
        sources = [path.name for path in bundle.folder.glob("*.c")]
        command = [compiler, *STRICT, "-O1", *includes, "-c", *sources]
        subprocess.run(command, cwd=bundle.folder, check=True)
        for path in bundle.folder.glob("*.o"):
            path.unlink()
    assert len(sources) == 4


@pytest.mark.needs("g++")
def test_every_header_is_clean_cpp(tmp_path: Path, batch: Batch) -> None:
    for bundle in bundles(batch(1))[:12]:
        source = tmp_path / "main.cpp"
        source.write_text(f'#include "{bundle.name}_float.h"\n#include "{bundle.name}_weights.h"\n')
        includes = [f"-I{bundle.folder / folder}" for folder in bundle.include_dirs]
        flags = ("-std=c++11", "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only")
        subprocess.run(["g++", *flags, *includes, str(source)], check=True)


@pytest.mark.parametrize("seed", [0, 1])  # int8 and int16
def test_float_helpers_of_several_inputs_equal_the_reference(tmp_path: Path, seed: int) -> None:
    require_tool("gcc", "cffi")
    structure = draw(tmp_path, seed, structure="step", inputs="two", functions="one", frames=1)
    folder, name = structure.bundle.folder, structure.bundle.name
    command = ["gcc", *STRICT, "-O2", "-fPIC", "-shared", f"-I{folder}", f"-I{folder}/stepcell"]
    subprocess.run([*command, str(folder / f"{name}_float.c"), "-o", str(tmp_path / "float.so")], check=True)
    ffi = device_module("cffi").FFI()
    ports = structure.bundle.inputs
    ffi.cdef("".join(f"void {name}_quantize_{port.name}(const float *, void *);" for port in ports))
    library = ffi.dlopen(str(tmp_path / "float.so"))
    for port, value in zip(ports, structure.qmodel.main.inputs, strict=True):
        real = np.resize(np.asarray([0.5, -0.5, 1.5, 1e9, -1e9, np.nan, 126.5, -127.6]), port.count)
        real = (real * value.scale).astype(np.float32)
        found = np.zeros(port.count, port.dtype)
        getattr(library, f"{name}_quantize_{port.name}")(
            ffi.from_buffer("float[]", real), ffi.from_buffer(found)
        )
        np.testing.assert_array_equal(found, quantize_input(real, value.scale, value.bits))


def test_a_run_leaves_out_what_is_beyond_its_longest_sequence(tmp_path: Path) -> None:
    require_tool("gcc", "cffi")
    structure = draw(tmp_path, 0, structure="bidirectional", inputs="one", functions="one")
    name = structure.bundle.name
    library = build_host([structure.bundle], tmp_path / "host", "gcc")
    ffi = device_module("cffi").FFI()
    ffi.cdef(f"void {name}_init(void *); void {name}_run(void *, const void *, uint16_t, void *);")
    loaded = ffi.dlopen(str(library))
    ((x, y), state) = (structure.bundle.inputs + structure.bundle.outputs, structure.bundle.state_bytes)
    frames = np.random.default_rng(0).integers(-9, 9, 2 * x.rows * x.count).astype(x.dtype)
    answers = []
    for steps in (MAX_STEPS, 2 * MAX_STEPS):
        memory, out = ffi.new("uint32_t[]", state // 4), np.full(2 * y.rows * y.count, 77, y.dtype)
        getattr(loaded, f"{name}_init")(memory)
        getattr(loaded, f"{name}_run")(memory, ffi.from_buffer(frames), steps, ffi.from_buffer(out))
        answers.append((bytes(ffi.buffer(memory)), out.tolist()))
    assert answers[0] == answers[1]
    assert answers[0][1][y.rows * y.count :] == [77] * (y.rows * y.count)
