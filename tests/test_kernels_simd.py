"""The kernels for 64-bit processors: packing, portable C and AVX2, at the extremes of weights and inputs.

NEON is tested where the other cores are: tests/test_kernels_exact.py, tests/test_platform_aarch64.py.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator

import runtime_library
from runtime_library import Runtime
from stepcell.ir.qmodel import IntArray
from stepcell.lower.kernels import Kernel
from stepcell.lower.kernels.simd import KERNELS, pack_blocks, pack_dense
from stepcell.paths import runtime_dir
from tools import require_tool

STYLES = ("uniform", "extremes", "same_sign", "sparse", "empty")
SHAPES = [(1, 1), (8, 2), (5, 3), (9, 4), (16, 5), (24, 7), (32, 12), (40, 33), (72, 130), (512, 128)]
WIDE = [(8, 255), (8, 1020), (12, 1021), (4, 2043)]
ROOM = 2**31 - 2**16


def flat_runtime(folder: Path, kernel_folder: str) -> Path:
    """A copy of the runtime, a kernel folder's files among the portable ones, as a bundle has them."""
    copy = Path(shutil.copytree(runtime_dir(), folder / kernel_folder))
    for path in (runtime_dir() / "src" / kernel_folder).iterdir():
        shutil.copyfile(path, copy / "src" / (f"own_{path.name}" if path.suffix == ".c" else path.name))
    return copy


def build(folder: Path, compiler: str, kernel_folder: str = "") -> Runtime:
    """The runtime, portable or with a kernel folder's files in place of its own."""
    require_tool(compiler, "cffi")
    with pytest.MonkeyPatch.context() as patch:
        if kernel_folder:
            copy = flat_runtime(folder, kernel_folder)
            patch.setattr(runtime_library, "runtime_dir", lambda: copy)
        return Runtime(folder, compiler)


@pytest.fixture(scope="module", params=["gcc", "clang", "gcc x86_64", "clang x86_64", "zig x86_64"])
def runtime(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    return build(tmp_path_factory.mktemp("runtime"), *request.param.split())


@pytest.fixture(scope="module")
def portable(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    return build(tmp_path_factory.mktemp("portable"), "gcc")


def drawn(rng: Generator, kernel: Kernel, style: str, shape: tuple[int, int]) -> tuple[IntArray, IntArray]:
    """Weights [rows, cols] and x [cols]."""
    limit = 1 << (kernel.input_bits - 1)
    weights, x = rng.integers(-127, 128, shape), rng.integers(-limit, limit, shape[1])
    if style == "extremes":
        weights, x = rng.choice([-127, 127], shape), rng.choice([-limit, limit - 1, 0], shape[1])
    if style == "same_sign":
        weights, x = np.full(shape, rng.choice([-127, 127])), np.full(shape[1], -limit)
    if style in ("sparse", "empty"):
        kept = rng.random((-(-shape[0] // 4), -(-shape[1] // 4))) < (0.2 if style == "sparse" else 0)
        weights = weights * kept.repeat(4, 0)[: shape[0]].repeat(4, 1)[:, : shape[1]]
    return weights, x


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_a_kernel_adds_the_matrix_product(runtime: Runtime, kernel: Kernel, style: str) -> None:
    rng = np.random.default_rng([STYLES.index(style), kernel.rows, kernel.input_bits])
    for shape in SHAPES + (WIDE if kernel.input_bits == 8 else []):
        weights, x = drawn(rng, kernel, style, shape)
        room = ROOM - (np.abs(weights).sum(axis=1) << (kernel.input_bits - 1))
        starts = (rng.choice([-1, 0.3, 1], len(room)) * room).astype(np.int64)
        if shape[0] == 40:
            starts[:] = rng.choice([-1, 1]) * room.min()  # all alike: a stride of 0
        acc = runtime.multiply(kernel, weights, starts, x)
        np.testing.assert_array_equal(acc, starts + weights @ x)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
@pytest.mark.parametrize("alike", [False, True])
def test_passes_continue_where_the_last_one_ended(runtime: Runtime, kernel: Kernel, alike: bool) -> None:
    rng = np.random.default_rng(1)
    weights, x = drawn(rng, kernel, "sparse", (104, 44))
    starts = np.full(104, 7) if alike else rng.integers(-1000, 1000, 104)
    packed = kernel.pack(weights, starts)
    at, acc = runtime.cursor(packed, 44), np.zeros(104, np.int32)
    vector, first = x.astype(kernel.vector.removesuffix("_t")), 0
    for rows in (32, 8, 24, 40):
        getattr(runtime, kernel.name)(at, vector, acc[first : first + rows], rows)
        first += rows
    np.testing.assert_array_equal(acc, starts + weights @ x)
    assert at.weights == runtime.argument(packed.words) + len(packed.words)
    assert packed.columns is None or at.columns == runtime.argument(packed.columns) + len(packed.columns)
    assert at.start == runtime.argument(packed.start) + (0 if alike else 104)


def shift_of(rng: Generator, most: int) -> dict[str, int]:
    shift = int(rng.integers(0, most + 1))
    return {"half": (1 << shift) >> 1, "shift": shift}


def tail_case(rng: Generator) -> tuple[dict[str, Any], IntArray, IntArray]:
    """Numbers of a layer, accumulators [2, 32] that shifted by them fill 16 bits, and multipliers [32]."""
    shifts = rng.integers(0, 17, 2)
    values = rng.integers(-32767, 32768, (2, 32)) >> rng.integers(0, 15, (2, 1))
    acc = (values << shifts[:, None]) + rng.integers(0, 1 << shifts[:, None], (2, 32))
    multipliers = rng.integers(0, 2**14 + 1, (2, 32)) >> rng.integers(0, 15, (2, 1))
    numbers = {
        "post": shift_of(rng, 30),
        "grain": 2,
        "input_shift": int(shifts[0]),
        "recurrent_shift": int(shifts[1]),
    }
    return numbers, acc.astype(np.int32), (multipliers[1] << 16 | multipliers[0]).astype(np.uint32)


def tail(runtime: Runtime, kind: str, numbers: dict[str, Any], *arrays: Any) -> list[IntArray]:
    """The state that a tail makes of (accumulators, multipliers, units, h, c)."""
    acc, multipliers, units, *state = arrays
    after = [array.copy() for array in state]
    layer = runtime.ffi.new(f"sc_{kind}_layer *", numbers)
    passed = runtime.ffi.cast("sc_pass *", runtime.argument(acc))
    getattr(runtime, f"sc_{kind}_tail")(layer, passed, multipliers, units, *after)
    return after


@pytest.mark.parametrize("units", [8, 7, 2])
def test_lstm_tails_agree(runtime: Runtime, portable: Runtime, units: int) -> None:
    rng = np.random.default_rng(units)
    for _ in range(300):
        numbers, acc, multipliers = tail_case(rng)
        numbers["cell_bits"] = int(rng.integers(0, 16))
        h, c = (
            rng.choice([-32768, 32767, *rng.integers(-32768, 32768, 6)], 8).astype(np.int16) for _ in "hc"
        )
        found, wanted = (tail(r, "lstm", numbers, acc, multipliers, units, h, c) for r in (runtime, portable))
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("units", [8, 7, 2])
def test_gru_tails_agree(runtime: Runtime, portable: Runtime, units: int) -> None:
    rng = np.random.default_rng(units)
    for _ in range(300):
        numbers, acc, multipliers = tail_case(rng)
        numbers |= {name: shift_of(rng, 30) for name in ("candidate_input", "candidate_recurrent")}
        h = rng.choice([-32768, 32767, *rng.integers(-32768, 32768, 6)], 8).astype(np.int16)
        found, wanted = (tail(r, "gru", numbers, acc, multipliers, units, h) for r in (runtime, portable))
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 33, 65536])
def test_views_of_every_int16_agree(runtime: Runtime, portable: Runtime, size: int) -> None:
    every = np.arange(-32768, 32768).astype(np.int16)[::-1].copy()
    found, wanted = (np.full(size + 5, 99, np.int8) for _ in range(2))
    runtime.sc_view_s8(found, every, size, size + 3)
    portable.sc_view_s8(wanted, every, size, size + 3)
    np.testing.assert_array_equal(found, wanted)


def test_a_word_holds_four_columns_of_a_row() -> None:
    weights = np.arange(8 * 6).reshape(8, 6) - 24
    tiles = pack_dense(weights, np.zeros(8, np.int64)).words.view(np.int8).reshape(2, 8, 4)
    np.testing.assert_array_equal(tiles.transpose(1, 0, 2).reshape(8, 8), np.pad(weights, ((0, 0), (0, 2))))


def test_only_blocks_with_weights_are_stored() -> None:
    weights = np.zeros((8, 1028), np.int64)
    weights[2, 5], weights[7, 1020], weights[4, 1027] = -3, 9, 127
    packed = pack_blocks(weights, np.zeros(8, np.int64))
    assert packed.columns is not None
    assert packed.columns.tolist() == [1, 1, 0, 0, 2, 0, 1]
    blocks = packed.words.view(np.int8).reshape(-1, 4, 4)
    assert (blocks[0, 2, 1], blocks[1, 3, 0], blocks[2, 0, 3]) == (-3, 9, 127)
    assert packed.items == 3
    assert np.count_nonzero(blocks) == 3
