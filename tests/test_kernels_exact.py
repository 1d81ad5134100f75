"""Every kernel of every core under emulation: numpy's bits, and instructions that no data changes."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.random import Generator

import kernel_images
from kernel_images import KernelCase, KernelResult, fastest_emulator, fits_kernel, run_kernels
from stepcell.build.firmware import firmware_compilers
from stepcell.ir.qmodel import IntArray
from stepcell.lower.kernels import FAMILIES, Kernel, kernels_of
from stepcell.paths import runtime_dir
from stepcell.run.emulators import EMULATORS, emulators_of
from stepcell.target import Board, Core, board_for, list_targets
from tools import require_tool

STYLES = ("uniform", "extremes", "same_sign", "sparse", "empty")
SEGMENT = 255
ROOM = 2**31 - 2**16  # |start| + sum |w| bound stays below it (docs/numerics.md, section 3)
SMALL = 2100  # weights of the largest matrix for a board that only a slow emulator runs
CORES = {core.name: core for core in list_targets() if not core.is_host}
DENSE = FAMILIES["portable"][0]


def block_cols(kernel: Kernel) -> int:
    """Columns of a block; 0 of a dense kernel."""
    match = re.search(r"\dx(\d+)", kernel.format)
    return int(match[1]) if match else 0


def shapes(kernel: Kernel, rng: Generator) -> list[tuple[int, int]]:
    """From one weight to three row groups of 300 columns; blocks in two and three segments."""
    group, width = kernel.rows, block_cols(kernel)
    some = [
        (1, 1),
        (group, 2),
        (group + 1, 3),
        (2 * group, 4),
        (3 * group, 7),
        (2 * group, 255),
        (group, 256),
    ]
    some += [(int(rng.integers(1, 3 * group + 1)), int(rng.integers(1, 301))) for _ in range(3)]
    wide = [SEGMENT * width, SEGMENT * width + 1, 2 * SEGMENT * width + 3] if width else []
    return some + [(group + 1 if cols < 400 else group, cols) for cols in wide]


def drawn(rng: Generator, kernel: Kernel, style: str, shape: tuple[int, int]) -> tuple[IntArray, IntArray]:
    """Weights [rows, cols] and x [cols]."""
    rows, cols = shape
    most, limit = kernel.weight_limit, 1 << (kernel.input_bits - 1)
    weights, x = rng.integers(-most, most + 1, shape), rng.integers(-limit, limit, cols)
    if style == "extremes":
        weights, x = rng.choice([-most, most], shape), rng.choice([-limit, limit - 1], cols)
    if style == "same_sign":
        weights, x = np.full(shape, rng.choice([-most, most])), np.full(cols, -limit)
    if style in ("sparse", "empty"):
        groups, width = -(-rows // kernel.rows), block_cols(kernel) or 1
        kept = rng.random((groups, -(-cols // width))) < (rng.choice([0.05, 0.3]) if style == "sparse" else 0)
        weights = weights * kept.repeat(kernel.rows, 0)[:rows].repeat(width, 1)[:, :cols]
    return weights, x


def case(rng: Generator, kernel: Kernel, weights: IntArray, x: IntArray) -> KernelCase:
    """Starts as far from 0 as the contract and the kernel let them be, of random signs or all alike."""
    while (room := ROOM - (np.abs(weights).sum(axis=1) << (kernel.input_bits - 1))).min() < 0:
        weights = (weights / 2).astype(np.int64)
    if rng.random() < 0.2:
        room[:] = room.min()
        sign = rng.choice([-1, 0, 1])
    else:
        sign = rng.choice([-1, 0.3, 1], len(room))
    starts = (sign * room).astype(np.int64)
    one = KernelCase(kernel, weights, starts, x, int(rng.integers(0, 3)) * kernel.rows)
    while not fits_kernel(one) and one.starts.any():
        one = replace(one, starts=(one.starts / 2).astype(np.int64))
    while not fits_kernel(one):
        one = replace(one, weights=(one.weights / 2).astype(np.int64))
    return one


def twin(rng: Generator, one: KernelCase) -> KernelCase:
    """Other data in the same places: the sign of the weights and starts, and x."""
    other = replace(one, weights=-one.weights, starts=-one.starts, x=rng.permutation(one.x[::-1]) // 2)
    return other if fits_kernel(other) else replace(one, x=other.x)


def cases_of(core: Core, board: Board) -> Iterator[KernelCase]:
    """Two cases each time that differ in data alone."""
    slow = emulators_of(board) == ("simavr",)
    for index, kernel in enumerate(kernels_of(core)):
        rng = np.random.default_rng(index)
        for number, shape in enumerate(shapes(kernel, rng)):
            if slow and shape[0] * shape[1] > SMALL:
                continue
            style = "sparse" if shape[1] > 2 * SEGMENT else STYLES[number % len(STYLES)]
            one = case(rng, kernel, *drawn(rng, kernel, style, shape))
            yield from (one, twin(rng, one))


def ones(*shape: int) -> IntArray:
    return np.ones(shape, np.int64)


def label(one: KernelCase) -> str:
    return f"{one.kernel.name} {one.weights.shape} in passes of {one.pass_rows}"


def run(
    core: Core, cases: list[KernelCase], folder: Path, compiler: str, backend: str | None = None
) -> list[KernelResult]:
    board = board_for(core)
    emulators = {"qemu": board.qemu}
    chosen = backend or fastest_emulator(board)
    require_tool(compiler, "elftools", "capstone", emulators.get(chosen, chosen))
    return run_kernels(board.name, cases, folder, compiler, chosen, cycles=backend is not None)


@pytest.mark.parametrize(
    ("name", "compiler"), [(name, tool) for name, core in CORES.items() for tool in firmware_compilers(core)]
)
def test_a_kernel_computes_what_numpy_does_whatever_the_data(
    name: str, compiler: str, tmp_path: Path
) -> None:
    core = CORES[name]
    cases = list(cases_of(core, board_for(core)))
    results = run(core, cases, tmp_path, compiler)
    wrong = [label(c) for c, r in zip(cases, results, strict=True) if not np.array_equal(r.acc, c.expected)]
    assert not wrong
    pairs = zip(cases[::2], results[::2], results[1::2], strict=True)
    varying = [label(c) for c, first, second in pairs if first.instructions != second.instructions]
    assert not varying


def test_emulators_count_the_same(tmp_path: Path) -> None:
    core = CORES["cortex-m4"]
    cases = list(cases_of(core, board_for(core)))[::8]
    assert set(emulators_of(board_for(core))) < set(EMULATORS)
    counted = {
        backend: [(r.instructions, r.cycles) for r in run(core, cases, tmp_path, "arm-gcc", backend)]
        for backend in emulators_of(board_for(core))
    }
    assert counted["unicorn"] == counted["qemu"]
    assert all(instructions > 0 for instructions, _ in counted["qemu"])


def test_each_further_row_group_takes_as_many_instructions(tmp_path: Path) -> None:
    core = CORES["cortex-m4"]
    cases = [KernelCase(DENSE, ones(rows, 21), np.arange(rows), ones(21)) for rows in (4, 8, 12, 16)]
    counted = [result.instructions for result in run(core, cases, tmp_path, "arm-gcc")]
    assert len(set(np.diff(counted))) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [('__asm__ volatile("mov r8, sp");', "preserve"), ("acc[rows] = 0;", "more than")],
)
def test_a_kernel_that_breaks_the_rules_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, reason: str
) -> None:
    broken = shutil.copytree(runtime_dir(), tmp_path / "runtime_c")
    head = f"void {DENSE.name}(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)"
    source = f'#include "stepcell.h"\n{head}\n{{\n(void)at, (void)x, (void)acc, (void)rows;\n{body}\n}}\n'
    (broken / "src" / f"{DENSE.name}.c").write_text(source)
    monkeypatch.setattr(kernel_images, "runtime_dir", lambda: broken)
    cases = [KernelCase(DENSE, ones(rows, 4), 0 * ones(rows), ones(4)) for rows in (4, 8)]
    with pytest.raises(AssertionError, match=reason):
        run(CORES["cortex-m3"], cases, tmp_path, "arm-gcc")
