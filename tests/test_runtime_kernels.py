"""The portable matrix kernels against numpy, with weights and inputs at their extremes."""

import numpy as np
import pytest

from runtime_library import Runtime
from stepcell.ir.qmodel import IntArray
from stepcell.lower.kernels import Kernel
from stepcell.lower.kernels.portable import KERNELS
from tools import require_tool

SHAPES = [(1, 1), (1, 2), (2, 3), (3, 7), (5, 33), (2, 255), (1, 256), (7, 130), (1, 511), (2, 770)]
STYLES = ("uniform", "extremes", "same_sign", "sparse", "empty")


@pytest.fixture(scope="module", params=["gcc", "clang"])
def runtime(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    require_tool(request.param, "cffi")
    return Runtime(tmp_path_factory.mktemp(request.param), request.param)


def drawn(
    rng: np.random.Generator, style: str, groups: int, cols: int, bits: int
) -> tuple[IntArray, IntArray]:
    """Weights [4 * groups, cols] and x [cols]."""
    limit = min(1 << (bits - 1), (2**31 - 1) // (127 * cols))  # as the contract proves for every row
    weights = rng.integers(-127, 128, (4 * groups, cols))
    x = rng.integers(-limit, limit, cols)
    if style in ("extremes", "same_sign"):
        weights = (
            rng.choice([-127, 127], weights.shape) if style == "extremes" else np.full_like(weights, -127)
        )
        x = rng.choice([-limit, limit - 1], cols) if style == "extremes" else np.full_like(x, -limit)
    if style in ("sparse", "empty"):
        keep = rng.random((groups, 1, cols)) < (0.3 if style == "sparse" else 0.0)
        weights = weights * keep.repeat(4, axis=1).reshape(weights.shape)
    return weights, x


def farthest(rng: np.random.Generator, weights: IntArray, x: IntArray) -> IntArray:
    """Starts as far from 0 as the contract lets them be: |start| + sum |w| |x| < 2^31."""
    room = 2**31 - 1 - np.abs(weights) @ np.abs(x)
    return np.asarray(rng.choice([-1, 1, 0.3], len(room)) * room, np.int64)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_a_kernel_adds_the_matrix_product_to_its_start(runtime: Runtime, kernel: Kernel, style: str) -> None:
    for groups, cols in SHAPES:
        rng = np.random.default_rng([groups, cols, kernel.input_bits])
        weights, x = drawn(rng, style, groups, cols, kernel.input_bits)
        starts = farthest(rng, weights, x)
        found = runtime.multiply(kernel, weights, starts, x)
        np.testing.assert_array_equal(found, starts + weights @ x)


@pytest.mark.parametrize("start", [0, 5])
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_row_groups_one_at_a_time_give_what_all_at_once_give(
    runtime: Runtime, kernel: Kernel, start: int
) -> None:
    rng = np.random.default_rng(1)
    weights, x = drawn(rng, "sparse", 6, 600, kernel.input_bits)
    starts = start * np.arange(24)
    packed = kernel.pack(weights, starts)
    acc, cursor = np.zeros(24, np.int32), runtime.cursor(packed, 600)
    vector = x.astype(kernel.vector.removesuffix("_t"))
    for group in range(6):
        getattr(runtime, kernel.name)(cursor, vector, acc[4 * group : 4 * group + 4], 4)
    np.testing.assert_array_equal(acc, starts + weights @ x)
    assert cursor.weights == runtime.argument(packed.words) + len(packed.words)
    assert packed.columns is None or cursor.columns == runtime.argument(packed.columns) + len(packed.columns)


def test_no_rows_touch_nothing(runtime: Runtime) -> None:
    acc = np.array([5], np.int32)
    packed = KERNELS[0].pack(np.zeros((4, 3), np.int64), np.zeros(4, np.int64))
    runtime.sc_matvec_dense_s8(runtime.cursor(packed, 3), np.zeros(3, np.int8), acc, 0)
    assert acc[0] == 5
