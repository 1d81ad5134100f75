"""The same image content on every backend: equal states, faults with a name, measured stacks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bundles import changed_bundle, fixture_bundle
from stepcell.build import Bundle, build_firmware, build_host
from stepcell.run import (
    FirmwareFault,
    Job,
    JobResult,
    Kind,
    lane,
    run_host,
    run_qemu,
    run_unicorn,
    worst_stack,
)
from stepcell.target import Board, load_board, load_core
from tools import require_tool

COUNTER = fixture_bundle("counter")
MIXER = fixture_bundle("mixer")
M4 = load_board("mps2-an386")
M0PLUS = load_board("emulated-cortex-m0plus")
BOARDS = {
    board.name: board
    for board in map(
        load_board, ("emulated-cortex-m0plus", "mps2-an385", "mps2-an386", "mps2-an500", "mps2-an505")
    )
}


def random_jobs(steps: int = 9) -> list[Job]:
    random = np.random.default_rng(3)
    counter = lane(COUNTER, random.integers(-128, 128, (steps, 3)))
    mixer = lane(MIXER, random.integers(-128, 128, (steps, 1)), random.integers(-32768, 32768, (steps, 2)))
    return [Job((counter,)), Job((mixer, counter, mixer)), Job((counter, mixer), misaligned=True)]


def run_on(backend: str, elf: Path, board: Board, jobs: Sequence[Job]) -> list[JobResult]:
    if backend == "unicorn":
        return run_unicorn(elf, load_core(board.core), jobs)
    return run_qemu(elf, board, jobs)


def assert_equal(ours: Sequence[JobResult], theirs: Sequence[JobResult]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        for left, right in zip(a, b, strict=True):
            np.testing.assert_array_equal(left.states, right.states)
            for name, values in left.outputs.items():
                np.testing.assert_array_equal(values, right.outputs[name])


@pytest.mark.parametrize("compiler", ["arm-gcc", "zig"])
@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS.keys())
def test_every_backend_gives_the_states_of_the_host(tmp_path: Path, board: Board, compiler: str) -> None:
    require_tool("gcc", compiler, "qemu", "unicorn", "elftools", "cffi")
    bundles = [COUNTER, MIXER]
    expected = run_host(build_host(bundles, tmp_path / "host", "gcc"), random_jobs())
    elf = build_firmware(bundles, board, tmp_path / "firmware", compiler)
    for backend in ("unicorn", "qemu"):
        assert_equal(run_on(backend, elf, board, random_jobs()), expected)


@pytest.mark.parametrize("compiler", ["gcc", "clang", "zig"])
def test_sanitizers_find_nothing_and_change_nothing(tmp_path: Path, compiler: str) -> None:
    require_tool("gcc", compiler, "cffi")
    bundles = [COUNTER, MIXER]
    expected = run_host(build_host(bundles, tmp_path / "plain", "gcc"), random_jobs())
    checked = build_host(bundles, tmp_path / "checked", compiler, sanitize=True)
    assert_equal(run_host(checked, random_jobs()), expected)


@pytest.mark.parametrize("compiler", ["gcc", "clang", "zig"])
def test_sanitizers_stop_at_an_overflow(tmp_path: Path, compiler: str) -> None:
    require_tool(compiler)
    bad = changed_bundle(tmp_path, "counter", "counter.c", "s->total[1] = 100", "s->total[1] = 2147483647")
    checked = build_host([bad], tmp_path / "out", compiler, sanitize=True)
    with pytest.raises(RuntimeError, match="ended with"):
        run_host(checked, [Job((lane(bad, [[0, 127, 0]] * 2),))])


def faulting_bundle(folder: Path) -> Bundle:
    return changed_bundle(
        folder,
        "counter",
        "counter.c",
        "    s->steps = (",
        "    *(volatile int *)0xd0000000u = 1;\n    s->steps = (",
    )


@pytest.mark.parametrize("backend", ["unicorn", "qemu"])
def test_a_fault_names_the_function_and_the_cause(tmp_path: Path, backend: str) -> None:
    require_tool("arm-gcc", backend, "elftools")
    bad = faulting_bundle(tmp_path)
    elf = build_firmware([bad], M4, tmp_path / "out", "arm-gcc")
    with pytest.raises(FirmwareFault, match="counter_step") as caught:
        run_on(backend, elf, M4, [Job((lane(bad, [[1, 2, 3]]),))])
    assert caught.value.function == "counter_step"
    assert caught.value.cause


@pytest.mark.parametrize("backend", ["unicorn", "qemu"])
@pytest.mark.parametrize("compiler", ["arm-gcc", "zig"])
def test_worst_stack_grows_by_what_a_step_declares(tmp_path: Path, backend: str, compiler: str) -> None:
    require_tool(compiler, backend, "elftools")
    more = """
    volatile uint8_t block[400];
    for (uint32_t i = 0; i < 400; i++) {
        block[i] = (uint8_t)x[i % 3u];
    }
    (void)block[0];
    int16_t clamped"""
    deeper = changed_bundle(tmp_path, "counter", "counter.c", "    int16_t clamped", more)
    depths = []
    for index, bundle in enumerate((COUNTER, deeper)):
        elf = build_firmware([bundle], M4, tmp_path / str(index), compiler)
        depths.append(
            worst_stack(run_on(backend, elf, M4, [Job((lane(bundle, [[1, 2, 3]] * 3),), Kind.STACK)]))
        )
    assert 0 < depths[0] < 200
    assert 400 <= depths[1] - depths[0] < 440  # and a few registers more


def test_unicorn_refuses_unaligned_access_on_a_cortex_m0plus(tmp_path: Path) -> None:
    require_tool("arm-gcc", "unicorn", "elftools")
    bad = changed_bundle(
        tmp_path,
        "mixer",
        "mixer.c",
        "__builtin_memcpy(in, (const void *)b, sizeof in);",
        "in[0] = b[0];\n    in[1] = b[1];",
    )
    elf = build_firmware([bad], M0PLUS, tmp_path / "out", "arm-gcc")
    aligned = Job((lane(bad, [[1]], [[2, 3]]),))
    ((result,),) = run_unicorn(elf, load_core("cortex-m0plus"), [aligned])
    assert result.outputs["mean"].item() == 5
    with pytest.raises(FirmwareFault, match="mixer_step"):
        run_unicorn(elf, load_core("cortex-m0plus"), [Job(aligned.lanes, misaligned=True)])
