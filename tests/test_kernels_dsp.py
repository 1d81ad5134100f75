"""Cores with the DSP extension: storage of kernels, proofs, exactness, instruction counts, stack of tails."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator

from core_calls import CoreFunctions, fields, frame_bytes
from kernel_images import KernelCase, run_kernels
from runtime_library import Runtime
from stepcell.build.firmware import firmware_compilers
from stepcell.build.objects import run_compiler
from stepcell.build.toolchains import find_tool
from stepcell.ir.qmodel import IntArray
from stepcell.lower.kernels import Kernel, hilo, nibble, quad
from stepcell.paths import runtime_dir
from stepcell.target import load_core
from tools import require_tool

FOLDER = runtime_dir() / "src" / "dsp"
KERNELS = {kernel.name: kernel for kernel in (*hilo.KERNELS, *quad.KERNELS, *nibble.KERNELS)}
CORES = ("cortex-m4", "cortex-m7", "cortex-m33")
TAILS = ("sc_lstm_tail", "sc_gru_tail", "sc_dense_tail", "sc_view_s16")
SHAPES = [(4, 1), (4, 2), (8, 3), (4, 4), (12, 10), (32, 10), (8, 17), (16, 64), (4, 255), (8, 300), (4, 512)]


def drawn(
    rng: Generator, kernel: Kernel, style: str, shape: tuple[int, int]
) -> tuple[IntArray, IntArray, IntArray]:
    """Weights, starts as large as the kernel lets them be, x."""
    most, limit = kernel.weight_limit, 1 << (kernel.input_bits - 1)
    weights, x = rng.integers(-most, most + 1, shape), rng.integers(-limit, limit, shape[1])
    if style == "extremes":
        weights, x = rng.choice([-most, most], shape), rng.choice([-limit, limit - 1], shape[1])
    if style == "same_sign":
        weights, x = np.full(shape, rng.choice([-most, most])), np.full(shape[1], -limit)
    if style == "sparse":
        weights *= (rng.random((shape[0] // 4, shape[1])) < 0.2).repeat(4, 0)
    starts = rng.choice([-1, 0, 1], shape[0]) * np.int64(2**31 - 2**16)
    starts -= np.sign(starts) * np.abs(weights).sum(axis=1) * limit
    while not kernel.fits(weights, starts):
        starts //= 2
    return weights, starts, x


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    require_tool("gcc", "cffi")
    return Runtime(tmp_path_factory.mktemp("runtime"), "gcc")


@pytest.mark.parametrize("style", ["uniform", "extremes", "same_sign", "sparse"])
@pytest.mark.parametrize("name", KERNELS)
def test_portable_kernels_compute_what_numpy_does(runtime: Runtime, name: str, style: str) -> None:
    rng = np.random.default_rng(5)
    for shape in SHAPES:
        weights, starts, x = drawn(rng, KERNELS[name], style, shape)
        assert np.array_equal(runtime.multiply(KERNELS[name], weights, starts, x), starts + weights @ x)


def test_a_halfword_is_two_rows_of_a_column() -> None:
    weights = np.random.default_rng(0).integers(-127, 128, (8, 6))
    packed = hilo.KERNELS[0].pack(weights, np.arange(8))
    halves = packed.words.view(np.int16).reshape(2, 3, 2, 2)  # group, columns / 2, rows / 2, column
    for group, pair, rows, column in np.ndindex(halves.shape):
        low, high = weights[4 * group + 2 * rows : 4 * group + 2 * rows + 2, 2 * pair + column]
        assert halves[group, pair, rows, column] == 256 * high + low
    assert packed.start.tolist()[4:] == [4, 4 + 256 * 5, 6, 6 + 256 * 7]
    assert (packed.stride, packed.items) == (4, 6)


def test_starts_that_are_all_alike_are_stored_once() -> None:
    for kernel in KERNELS.values():
        packed = kernel.pack(np.ones((8, 4), np.int64), np.full(8, -3))
        assert (len(packed.start), packed.stride) == (4, 0)


def test_columns_go_in_pairs_and_an_odd_one_with_zeros() -> None:
    weights = np.zeros((8, 300), np.int64)
    weights[1, [2, 7, 254]] = 5
    weights[6, 299] = -1
    packed = hilo.KERNELS[1].pack(weights, np.zeros(8, np.int64))
    assert packed.columns is not None
    assert packed.columns.tolist() == [2, 2, 7, 254, 0, 0, 0, 1, 44, 0]
    assert packed.words.view(np.int16).tolist() == [1280, 1280, 0, 0, 1280, 0, 0, 0, 0, 0, -1, 0]


def test_a_halfword_is_four_rows_of_four_bits() -> None:
    weights = np.array([[-7, 7], [3, -7], [0, 7], [-7, 7]])
    packed = nibble.KERNELS[0].pack(weights, np.array([1, -1, 2, 3]))
    digits = [-7 * 4096 + 8 * 256 + 11 * 16 + 1, 7 * 4096 + 15 * 256 + 1 * 16 + 15]
    assert packed.words.view(np.int16).tolist() == [*digits, 0x888, 0x888]
    assert packed.start.tolist() == [1, -16, 512, 1 - 16 + 512 + 3 * 4096]


@pytest.mark.parametrize(("row", "largest"), [(0, None), (1, 2**23 - 1 - 128 * 127 * 20), (2, None)])
def test_a_high_row_stays_below_24_bits(row: int, largest: int | None) -> None:
    weights, starts = np.full((4, 20), -127), np.zeros(4, np.int64)
    starts[row] = -(2**30) if largest is None else largest
    assert hilo.fits(weights, starts)
    starts[row] += 1
    assert hilo.fits(weights, starts) == (largest is None)


def test_the_top_row_of_four_stays_below_20_bits() -> None:
    starts = np.array([0, 0, 0, 2**19 - 1 - 7 * 128 * 500])
    assert nibble.fits(np.full((4, 500), 7), starts)
    assert not nibble.fits(np.full((4, 500), 7), starts + 1)
    assert not nibble.fits(np.full((4, 1), 8), np.zeros(4, np.int64))


def pruned(kernel: Kernel, shape: tuple[int, int], density: float, pass_rows: int) -> KernelCase:
    """The largest blocks of random weights."""
    rng = np.random.default_rng(1)
    most = kernel.weight_limit
    weights = rng.integers(-most, most + 1, shape)
    if density < 1:
        width = int(kernel.format[-1])
        size = np.abs(rng.normal(size=(shape[0] // 4, 4, shape[1] // width, width))).sum(axis=(1, 3))
        kept = size >= np.quantile(size, 1 - density)
        weights = weights * kept.repeat(4, 0).repeat(width, 1)
    limit = 1 << (kernel.input_bits - 1)
    starts, x = rng.integers(-1000, 1000, shape[0]), rng.integers(-limit, limit, shape[1])
    return KernelCase(kernel, weights, starts, x, pass_rows)


@pytest.mark.parametrize(
    ("name", "shape", "density", "pass_rows", "instructions"),
    [
        ("hilo_dense", (512, 128), 1, 0, 60_949),
        ("hilo_dense", (512, 128), 1, 32, 61_264),
        ("hilo_dense", (32, 10), 1, 0, 430),
        ("hilo_4x2", (512, 128), 0.25, 0, 20_200),
        ("hilo_4x2", (512, 128), 0.1, 0, 9_340),
        ("hilo_4x2", (512, 128), 0.05, 0, 5_780),
        ("hilo_4x1", (512, 128), 0.25, 0, 26_700),
        ("hilo_4x1", (512, 128), 0.1, 0, 12_400),
        ("quad_dense_s16", (512, 128), 1, 0, 78_993),
        ("nibble_dense", (512, 128), 1, 0, 67_860),
        ("nibble_dense", (512, 128), 1, 32, 69_890),
    ],
)
def test_kernels_take_no_more_instructions(
    tmp_path: Path, name: str, shape: tuple[int, int], density: float, pass_rows: int, instructions: int
) -> None:
    require_tool("arm-gcc", "elftools", "unicorn")
    one = pruned(KERNELS[f"sc_matvec_{name}"], shape, density, pass_rows)
    (result,) = run_kernels("mps2-an386", [one], tmp_path, "arm-gcc")
    assert np.array_equal(result.acc, one.expected)
    assert 0.98 * instructions < result.instructions <= instructions


@pytest.fixture(
    scope="module",
    params=[(core, tool) for core in CORES for tool in firmware_compilers(load_core(core))],
    ids="-".join,
)
def tails(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CoreFunctions:
    core, compiler = request.param
    require_tool(compiler, "arm-gcc", "elftools", "unicorn")
    sources = [*(FOLDER / f"{name}.S" for name in TAILS), runtime_dir() / "src" / "sc_sigmoid_table.c"]
    return CoreFunctions(sources, load_core(core), compiler, tmp_path_factory.mktemp("tails"))


def accumulators(rng: Generator, shift: int, count: int = 32) -> IntArray:
    """Whose shifted values fit 16 bits, and often fill them."""
    values = rng.integers(-32768, 32768, count) // rng.choice([1, 8, 64, 4096])
    if rng.random() < 0.2:
        values = rng.choice([-32768, 32767, 0, -1], count)
    return np.asarray((values << shift) + rng.integers(0, 1 << shift, count))


def state(rng: Generator, count: int) -> Any:
    ends = rng.choice([-32768, 32767, 0, -1], count)
    return np.where(rng.random(count) < 0.3, ends, rng.integers(-32768, 32768, count)).astype(np.int16)


class Recurrent:
    """Random operands of a recurrent tail: accumulators, multipliers and what layers share."""

    def __init__(self, rng: Generator) -> None:
        self.shifts = [int(shift) for shift in rng.integers(0, 17, 2)]
        self.posts = [int(rng.choice([rng.integers(0, 31), rng.integers(8, 16)])) for _ in range(3)]
        parts = [accumulators(rng, shift) for shift in self.shifts]
        self.acc = np.concatenate(parts).astype(np.int32)
        low, high = (np.minimum(rng.integers(0, 2**15, 32), 2**14) for _ in "xh")
        self.multipliers = (low | high << 16).astype(np.uint32)

    @property
    def pass_of_4(self) -> IntArray:
        """The accumulators of the first units, as the core has them; the host has room for 8 units."""
        return np.concatenate([self.acc[:16], self.acc[32:48]])

    def post(self, offset: int, number: int = 0) -> dict[str, tuple[int, str, int]]:
        """The sc_shift at `offset`."""
        shift = self.posts[number]
        return {f"half{number}": (offset, "i", (1 << shift) >> 1), f"shift{number}": (offset + 4, "B", shift)}

    def layer(self, runtime: Runtime, kind: str, **others: int) -> Any:
        """The host's struct."""
        layer = runtime.ffi.new(f"sc_{kind}_layer *")
        layer.input_shift, layer.recurrent_shift = self.shifts
        layer.post = runtime.shift(self.posts[0])
        for name, value in others.items():
            setattr(layer, name, value)
        return layer


def taken(counts: dict[Any, int], key: Any, instructions: int) -> None:
    """Every call with the same key takes as many instructions."""
    assert counts.setdefault(key, instructions) == instructions


def test_lstm_tail(tails: CoreFunctions, runtime: Runtime) -> None:
    rng = np.random.default_rng(7)
    counts: dict[Any, int] = {}
    for case in range(250):
        one, units, bits = Recurrent(rng), 1 + case % 4, int(rng.integers(0, 16))
        shifts = {"x": (55, "B", one.shifts[0]), "h": (56, "B", one.shifts[1]), "c": (57, "B", bits)}
        layer = fields(60, **one.post(44), **shifts)
        h, c = state(rng, 9), state(rng, 9)
        host_h, host_c = h.copy(), c.copy()
        taken(
            counts,
            (units, 11 <= bits <= 14),
            tails("sc_lstm_tail", layer, one.pass_of_4, one.multipliers, units, h, c),
        )
        passed = runtime.ffi.cast("sc_pass *", runtime.argument(one.acc))
        host = one.layer(runtime, "lstm", cell_bits=bits)
        runtime.sc_lstm_tail(host, passed, one.multipliers, units, host_h, host_c)
        assert np.array_equal(h, host_h)
        assert np.array_equal(c, host_c)
        assert tails.stack <= frame_bytes(FOLDER / "sc_lstm_tail.S")
    assert (counts[4, True], counts[4, False], counts[1, True]) == (270, 279, 92)


def test_gru_tail(tails: CoreFunctions, runtime: Runtime) -> None:
    rng = np.random.default_rng(8)
    counts: dict[Any, int] = {}
    for case in range(200):
        one, units, grain = Recurrent(rng), 1 + case % 4, int(rng.choice([2, 4]))
        candidates = {**one.post(52, 1), **one.post(60, 2)}
        shifts = {"g": (70, "B", grain), "x": (71, "B", one.shifts[0]), "h": (72, "B", one.shifts[1])}
        layer = fields(76, **one.post(44), **candidates, **shifts)
        h = state(rng, 9)
        host_h = h.copy()
        taken(counts, units, tails("sc_gru_tail", layer, one.pass_of_4, one.multipliers, units, h))
        passed = runtime.ffi.cast("sc_pass *", runtime.argument(one.acc))
        host = one.layer(runtime, "gru", grain=grain)
        host.candidate_input, host.candidate_recurrent = (runtime.shift(post) for post in one.posts[1:])
        runtime.sc_gru_tail(host, passed, one.multipliers, units, host_h)
        assert np.array_equal(h, host_h)
        assert tails.stack <= frame_bytes(FOLDER / "sc_gru_tail.S")
    assert (counts[4], counts[3]) == (240, 214)


@pytest.mark.parametrize("least", [-32768, 0])
def test_dense_tail(tails: CoreFunctions, least: int) -> None:
    rng = np.random.default_rng(9)
    for rows in (*range(1, 9), *range(1, 9)):
        pre, post = int(rng.integers(0, 17)), int(rng.integers(0, 31))
        half = (1 << post) >> 1
        layer = fields(40, half=(24, "i", half), post=(28, "B", post), pre=(35, "B", pre), y=(36, "h", least))
        acc, multipliers = accumulators(rng, pre, rows), rng.integers(0, 2**14 + 1, rows)
        y = np.full(rows + 2, 77, np.int16)
        arrays = (acc.astype(np.int32), multipliers.astype(np.uint16))
        assert tails("sc_dense_tail", layer, *arrays, rows, y) == 9 * rows + 7
        wanted = np.clip(((acc >> pre) * multipliers + half) >> post, -32768, 32767)
        assert y.tolist() == [*np.maximum(wanted, least), 77, 77]
        assert tails.stack <= frame_bytes(FOLDER / "sc_dense_tail.S")


def test_view(tails: CoreFunctions) -> None:
    rng = np.random.default_rng(10)
    for n in (*range(1, 20), 128):
        for padding in range(4):
            v, view = state(rng, n), np.full(n + padding + 2, 77, np.int16)
            instructions = tails("sc_view_s16", view, v, n, n + padding)
            wanted = np.minimum(127, (v.astype(np.int64) + 128) >> 8)
            assert view.tolist() == [*wanted, *[0] * padding, 77, 77]
            assert tails.stack <= frame_bytes(FOLDER / "sc_view_s16.S")
    assert instructions <= 260


def test_assembly_knows_where_fields_lie(tmp_path: Path) -> None:
    require_tool("arm-gcc")
    lines = ['#include "sc_isa.h"', '#include "sc_rows.h"']
    structs = {"lstm": "sc_lstm_layer", "gru": "sc_gru_layer", "dense": "sc_dense_layer"}
    for path in sorted(FOLDER.glob("sc_*")):
        layer = structs.get(path.stem.split("_")[1], "")
        for field, offset in re.findall(r"^ +\.equ LAYER_([A-Z_]+), (\d+)", path.read_text(), re.MULTILINE):
            lines.append(f'_Static_assert(offsetof({layer}, {field.lower()}) == {offset}, "{field}");')
    lines += [
        f'_Static_assert(offsetof({place}) == {offset}, "{place}");'
        for place, offset in (("sc_pass, recurrent", 64), ("sc_cursor, start", 8), ("sc_cursor, stride", 14))
    ]
    assert len(lines) == 18
    (tmp_path / "offsets.c").write_text("\n".join(lines) + "\n")
    include = [f"-I{folder}" for folder in (FOLDER, FOLDER.parent, runtime_dir() / "include")]
    flags = [*load_core("cortex-m4").gcc_flags, "-ffreestanding", "-fsyntax-only", *include]
    run_compiler([find_tool("arm-gcc").path, *flags, "offsets.c"], tmp_path)
