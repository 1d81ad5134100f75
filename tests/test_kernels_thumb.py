"""Cores without the DSP extension: storage of kernels, exactness, counts, tails and their stack."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core_calls import CoreFunctions, fields, frame_bytes
from kernel_images import KernelCase, run_kernels
from runtime_library import Runtime
from stepcell.build.firmware import firmware_compilers
from stepcell.build.objects import run_compiler
from stepcell.build.toolchains import find_tool
from stepcell.lower.kernels import Kernel, swar, word
from stepcell.paths import runtime_dir
from stepcell.target import board_for, load_core
from test_kernels_dsp import Recurrent, accumulators, state
from tools import require_tool

SOURCE = runtime_dir() / "src"
FOLDERS = {"cortex-m0": "thumb1", "cortex-m0plus": "thumb1", "cortex-m3": "thumb2"}
ALL = (*swar.KERNELS, *word.SIGNED, *word.UNSIGNED)
KERNELS = {f"{kernel.name.removeprefix('sc_matvec_')}-{kernel.input_bits}": kernel for kernel in ALL}
OWN = {
    "cortex-m0": ("swar_dense-8", "swar_4x2-8", "offset_dense-8", "offset_4x1-8", "offset_dense-16"),
    "cortex-m3": ("swar_dense-8", "swar_4x2-8", "dense_s32-8", "4x1_s32-8", "dense_s32-16", "4x1_s32-16"),
}
OWN["cortex-m0plus"] = OWN["cortex-m0"]
COMPILERS = [(core, tool) for core in FOLDERS for tool in firmware_compilers(load_core(core))]
SHAPES = [(4, 1), (8, 2), (5, 3), (4, 4), (12, 10), (32, 10), (8, 17), (16, 64), (4, 300), (4, 1100)]
STRUCTS = {
    "CURSOR": "sc_cursor",
    "PASS": "sc_pass",
    "LSTM": "sc_lstm_layer",
    "GRU": "sc_gru_layer",
    "DENSE": "sc_dense_layer",
}


def width(kernel: Kernel) -> int:
    """Columns of a block, 0 of a dense kernel."""
    return 0 if kernel.format == "dense" else int(kernel.format[-1])


def drawn(kernel: Kernel, shape: tuple[int, int], style: str, density: float, pass_rows: int) -> KernelCase:
    """A matrix of which exactly `density` of the blocks are kept, at random."""
    rng = np.random.default_rng(sum(shape))
    limit, (rows, cols) = 1 << (kernel.input_bits - 1), shape
    weights, x = rng.integers(-127, 128, shape), rng.integers(-limit, limit, cols)
    if style == "extremes":
        weights, x = rng.choice([-127, 127], shape), rng.choice([-limit, limit - 1], cols)
    if style == "same_sign":
        weights, x = np.full(shape, 127) * rng.choice([-1, 1], (rows, 1)), np.full(cols, -limit)
    if width(kernel):
        groups, positions = -(-rows // 4), -(-cols // width(kernel))
        kept = rng.permutation(groups * positions) < round(density * groups * positions)
        mask = kept.reshape(groups, positions).repeat(4, 0)[:rows].repeat(width(kernel), 1)[:, :cols]
        weights = weights * mask
    while (room := 2**31 - 2**16 - np.abs(weights).sum(axis=1) * limit).min() < 0:
        weights //= 2
    return KernelCase(kernel, weights, room * rng.choice([-1, 0, 1], rows), x, pass_rows)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    require_tool("gcc", "cffi")
    return Runtime(tmp_path_factory.mktemp("runtime"), "gcc")


@pytest.mark.parametrize("style", ["uniform", "extremes", "same_sign"])
@pytest.mark.parametrize("name", KERNELS)
def test_portable_kernels_compute_what_numpy_does(runtime: Runtime, name: str, style: str) -> None:
    for density in (0, 0.2, 1):
        for shape in SHAPES:
            one = drawn(KERNELS[name], shape, style, density, 0)
            assert np.array_equal(runtime.multiply(one.kernel, one.weights, one.starts, one.x), one.expected)


@pytest.mark.parametrize(("core", "compiler"), COMPILERS)
def test_a_cores_own_kernels_compute_what_numpy_does(core: str, compiler: str, tmp_path: Path) -> None:
    require_tool(compiler, "elftools", "unicorn")
    cases = [
        drawn(KERNELS[name], shape, style, (0.2, 1, 0)[number % 3], 4 * (number % 2))
        for name in OWN[core]
        for style in ("uniform", "extremes", "same_sign")
        for number, shape in enumerate(SHAPES)
    ]
    results = run_kernels(board_for(load_core(core)).name, cases, tmp_path, compiler)
    wrong = [
        (case.kernel.name, case.weights.shape)
        for case, result in zip(cases, results, strict=True)
        if not np.array_equal(result.acc, case.expected)
    ]
    assert not wrong


def test_a_word_of_swar_is_two_rows_of_one_column() -> None:
    weights = np.random.default_rng(0).integers(-127, 128, (8, 6))
    starts = np.random.default_rng(1).integers(-(2**31) + 2**16, 2**31 - 2**16, 8)
    packed = swar.pack_dense(weights, starts)
    pairs = packed.words.view(np.int32).reshape(2, 3, 2, 2)  # group, columns / 2, rows / 2, column
    for group, two, rows, column in np.ndindex(pairs.shape):
        low, high = weights[4 * group + 2 * rows : 4 * group + 2 * rows + 2, 2 * two + column]
        assert pairs[group, two, rows, column] == 65536 * high + low
    sums = packed.start.astype(np.int64).reshape(4, 2)
    assert np.array_equal(sums[:, 1], starts[1::2])
    assert not ((sums[:, 0] - 65536 * sums[:, 1] - starts[0::2]) % 2**32).any()
    assert (packed.stride, packed.items) == (4, 12)


def test_a_word_of_bytes_is_one_column_of_four_rows() -> None:
    weights = np.array([[-127, 1, 2, 3, 4], [0, 0, 0, 0, 0], [127, 0, 0, 0, 0], [-1, 0, 0, 0, 9]])
    signed, offset = (kernels[0].pack(weights, np.arange(4)) for kernels in (word.SIGNED, word.UNSIGNED))
    padded = np.pad(weights, ((0, 0), (0, 3))).T
    assert np.array_equal(signed.words.view(np.int8).reshape(8, 4), padded)
    assert np.array_equal(offset.words.view(np.uint8).reshape(8, 4), padded + 128)
    assert (signed.start.tolist(), signed.stride, signed.items) == ([0, 1, 2, 3], 4, 8)


@pytest.mark.parametrize("kernel", [kernel for kernel in KERNELS.values() if width(kernel)])
def test_only_blocks_with_weights_are_stored(kernel: Kernel) -> None:
    weights = np.zeros((8, 600), np.int64)
    weights[1, [2, 599]] = weights[6, 255 * width(kernel)] = 5
    packed = kernel.pack(weights, np.full(8, -3))
    present = [[2 // width(kernel), 599 // width(kernel)], [255]]
    listed = []
    for positions in present:
        for first in range(0, 600 // width(kernel), 255):
            inside = [position - first for position in positions if first <= position < first + 255]
            listed += [len(inside), *inside]
    assert packed.columns is not None
    assert packed.columns.tolist() == listed
    assert (packed.items, len(packed.start), packed.stride) == (3, 4, 0)


@pytest.mark.parametrize(
    ("core", "name", "shape", "density", "pass_rows", "instructions"),
    [
        ("cortex-m0plus", "swar_dense-8", (512, 128), 1, 0, 127_787),
        ("cortex-m0plus", "swar_dense-8", (512, 128), 1, 32, 128_432),
        ("cortex-m0plus", "swar_dense-8", (512, 10), 1, 32, 13_360),
        ("cortex-m0plus", "offset_dense-8", (512, 128), 1, 0, 210_831),
        ("cortex-m0plus", "offset_dense-8", (512, 10), 1, 32, 24_384),
        ("cortex-m0plus", "swar_4x2-8", (512, 128), 0.25, 0, 43_500),
        ("cortex-m0plus", "swar_4x2-8", (512, 128), 0.1, 0, 20_450),
        ("cortex-m0plus", "offset_4x1-8", (512, 128), 0.25, 0, 75_750),
        ("cortex-m3", "swar_dense-8", (512, 128), 1, 0, 85_916),
        ("cortex-m3", "swar_dense-8", (512, 10), 1, 32, 9_024),
        ("cortex-m3", "dense_s32-8", (512, 128), 1, 0, 148_888),
        ("cortex-m3", "dense_s32-16", (512, 10), 1, 32, 15_744),
        ("cortex-m3", "swar_4x2-8", (512, 128), 0.25, 0, 28_450),
        ("cortex-m3", "swar_4x2-8", (512, 128), 0.1, 0, 13_250),
        ("cortex-m3", "4x1_s32-8", (512, 128), 0.25, 0, 48_350),
    ],
)
def test_kernels_take_no_more_instructions(
    tmp_path: Path,
    core: str,
    name: str,
    shape: tuple[int, int],
    density: float,
    pass_rows: int,
    instructions: int,
) -> None:
    require_tool("arm-gcc", "elftools", "unicorn")
    one = drawn(KERNELS[name], shape, "uniform", density, pass_rows)
    (result,) = run_kernels(board_for(load_core(core)).name, [one], tmp_path, "arm-gcc")
    assert np.array_equal(result.acc, one.expected)
    assert 0.99 * instructions < result.instructions <= instructions


class Tails(CoreFunctions):
    """A core's own tails."""

    def __init__(self, core: str, compiler: str, folder: Path) -> None:
        self.sources = SOURCE / FOLDERS[core]
        sources = [*sorted(self.sources.glob("*_tail.S")), SOURCE / "sc_sigmoid_table.c"]
        super().__init__(sources, load_core(core), compiler, folder)


@pytest.fixture(scope="module", params=COMPILERS, ids="-".join)
def tails(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tails:
    core, compiler = request.param
    require_tool(compiler, "arm-gcc", "elftools", "unicorn")
    return Tails(core, compiler, tmp_path_factory.mktemp("tails"))


def check(tails: Tails, name: str, counts: dict[int, int], units: int, taken: int) -> None:
    """The data do not matter to the count of instructions, and the stack is what the source says."""
    assert counts.setdefault(units, taken) == taken
    assert tails.stack <= frame_bytes(tails.sources / f"{name}.S")


def test_lstm_tail(tails: Tails, runtime: Runtime) -> None:
    rng = np.random.default_rng(7)
    counts: dict[int, int] = {}
    for case in range(250):
        one, units, bits = Recurrent(rng), 1 + case % 8, int(rng.integers(0, 16))
        shifts = {"x": (55, "B", one.shifts[0]), "h": (56, "B", one.shifts[1]), "c": (57, "B", bits)}
        layer = fields(60, **one.post(44), **shifts)
        h, c = state(rng, 9), state(rng, 9)
        host_h, host_c = h.copy(), c.copy()
        taken = tails("sc_lstm_tail", layer, one.acc, one.multipliers, units, h, c)
        check(tails, "sc_lstm_tail", counts, units, taken)
        passed = runtime.ffi.cast("sc_pass *", runtime.argument(one.acc))
        host = one.layer(runtime, "lstm", cell_bits=bits)
        runtime.sc_lstm_tail(host, passed, one.multipliers, units, host_h, host_c)
        assert np.array_equal(h, host_h)
        assert np.array_equal(c, host_c)
    a_unit, a_call = {"thumb1": (184, 49), "thumb2": (97, 23)}[tails.sources.name]
    assert counts == {units: a_call + a_unit * units for units in range(1, 9)}


def test_gru_tail(tails: Tails, runtime: Runtime) -> None:
    rng = np.random.default_rng(8)
    counts: dict[int, int] = {}
    for case in range(250):
        one, units, grain = Recurrent(rng), 1 + case % 8, int(rng.choice([1, 2, 4, 8]))
        candidates = {**one.post(52, 1), **one.post(60, 2)}
        shifts = {"g": (70, "B", grain), "x": (71, "B", one.shifts[0]), "h": (72, "B", one.shifts[1])}
        layer = fields(76, **one.post(44), **candidates, **shifts)
        h = state(rng, 9)
        host_h = h.copy()
        taken = tails("sc_gru_tail", layer, one.acc, one.multipliers, units, h)
        check(tails, "sc_gru_tail", counts, units, taken)
        passed = runtime.ffi.cast("sc_pass *", runtime.argument(one.acc))
        host = one.layer(runtime, "gru", grain=grain)
        host.candidate_input, host.candidate_recurrent = (runtime.shift(post) for post in one.posts[1:])
        runtime.sc_gru_tail(host, passed, one.multipliers, units, host_h)
        assert np.array_equal(h, host_h)
    a_unit, a_call = {"thumb1": (135, 55), "thumb2": (73, 29)}[tails.sources.name]
    assert max(counts[units] - a_unit * units for units in counts) == a_call


@pytest.mark.parametrize("least", [-32768, 0])
def test_dense_tail(tails: Tails, least: int) -> None:
    if tails.sources.name == "thumb2":
        return  # the portable one
    rng = np.random.default_rng(9)
    for rows in (*range(1, 9), *range(1, 9)):
        pre, post = int(rng.integers(0, 17)), int(rng.integers(0, 31))
        half = (1 << post) >> 1
        layer = fields(40, half=(24, "i", half), post=(28, "B", post), pre=(35, "B", pre), y=(36, "h", least))
        acc, multipliers = accumulators(rng, pre, rows), rng.integers(0, 2**14 + 1, rows)
        y = np.full(rows + 2, 77, np.int16)
        arrays: tuple[Any, ...] = (acc.astype(np.int32), multipliers.astype(np.uint16))
        assert tails("sc_dense_tail", layer, *arrays, rows, y) == 18 * rows + 29
        wanted = np.clip(((acc >> pre) * multipliers + half) >> post, -32768, 32767)
        assert y.tolist() == [*np.maximum(wanted, least), 77, 77]
        assert tails.stack <= frame_bytes(tails.sources / "sc_dense_tail.S")


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m3"])
def test_assembly_knows_where_fields_lie(tmp_path: Path, core: str) -> None:
    require_tool("arm-gcc")
    lines = ['#include "sc_isa.h"', '#include "sc_rows.h"']
    for path in [SOURCE / "sc_thumb.h", *sorted((SOURCE / FOLDERS[core]).glob("sc_*"))]:
        for struct, field, offset in re.findall(
            r"^#define ([A-Z]+)_([A-Z_]+) (\d+)\b", path.read_text(), re.MULTILINE
        ):
            if struct in STRUCTS:
                place = f"offsetof({STRUCTS[struct]}, {_member(struct, field)})"
                lines.append(f'_Static_assert({place} == {offset}, "{struct}_{field}");')
    assert len(lines) > 20
    (tmp_path / "offsets.c").write_text("\n".join(lines) + "\n")
    include = [f"-I{folder}" for folder in (SOURCE / FOLDERS[core], SOURCE, runtime_dir() / "include")]
    flags = [*load_core(core).gcc_flags, "-ffreestanding", "-fsyntax-only", *include]
    run_compiler([find_tool("arm-gcc").path, *flags, "offsets.c"], tmp_path)


def _member(struct: str, field: str) -> str:
    """LSTM_POST_HALF is post.half, but LSTM_INPUT_SHIFT is input_shift."""
    name = field.lower()
    for shift in ("post", "candidate_input", "candidate_recurrent"):
        if name.startswith(f"{shift}_") and struct != "CURSOR":
            return f"{shift}.{name.removeprefix(f'{shift}_')}"
    return name
