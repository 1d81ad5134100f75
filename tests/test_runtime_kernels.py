"""The matrix kernels against numpy, with weights and inputs at their extremes."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime_library import Runtime
from stepcell.ir.qmodel import IntArray
from stepcell.lower.pack import fits_blocks, pack_blocks, pack_dense
from tools import require_tool

SHAPES = [(1, 1), (1, 2), (2, 3), (3, 7), (5, 33), (2, 255), (1, 256), (7, 130)]
KERNELS = ("dense", "4x1", "4x2")
STYLES = ("uniform", "extremes", "same_sign", "sparse", "empty")


@pytest.fixture(scope="module", params=["gcc", "clang"])
def runtime(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    require_tool(request.param, "cffi")
    return Runtime(tmp_path_factory.mktemp(request.param), request.param)


def drawn(
    rng: np.random.Generator, style: str, groups: int, cols: int, bits: int
) -> tuple[IntArray, IntArray]:
    """Weights [4 * groups, cols] and x [cols]."""
    limit = 1 << (bits - 1)
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


def start(rng: np.random.Generator, weights: IntArray, x: IntArray) -> NDArray[np.int32]:
    """Accumulators as far from 0 as the contract lets them be: |acc| + sum |w| |x| < 2^31."""
    room = 2**31 - 1 - np.abs(weights) @ np.abs(x)
    return np.asarray(rng.choice([-1, 1, 0.3], len(room)) * room, np.int32)


def tables(kernel: str, weights: IntArray) -> tuple[NDArray[Any], NDArray[Any] | None]:
    if kernel == "dense":
        return pack_dense(weights), None
    return pack_blocks(weights, int(kernel[-1]))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("bits", [8, 16])
def test_a_kernel_adds_the_matrix_product(runtime: Runtime, bits: int, kernel: str, style: str) -> None:
    multiply = getattr(runtime, f"sc_matvec_{kernel}_s{bits}")
    for groups, cols in SHAPES:
        rng = np.random.default_rng([groups, cols, bits])
        weights, x = drawn(rng, style, groups, cols, bits)
        if kernel != "dense" and not fits_blocks(weights, int(kernel[-1])):
            continue
        acc = start(rng, weights, x)
        wanted = acc + weights @ x
        words, columns = tables(kernel, weights)
        padded = np.append(x, [0]).astype(f"int{bits}")
        cursor = runtime.cursor(words, columns)
        multiply(cursor, groups, cols, padded, acc)
        np.testing.assert_array_equal(acc, wanted)
        assert cursor.weights == runtime.argument(words) + len(words)
        assert columns is None or cursor.columns == runtime.argument(columns) + len(columns)


@pytest.mark.parametrize("kernel", KERNELS)
def test_row_groups_one_at_a_time_give_what_all_at_once_give(runtime: Runtime, kernel: str) -> None:
    rng = np.random.default_rng(1)
    weights, x = drawn(rng, "sparse", 6, 40, 8)
    words, columns = tables(kernel, weights)
    acc = np.zeros(24, np.int32)
    cursor, vector = runtime.cursor(words, columns), x.astype(np.int8)
    for group in range(6):
        getattr(runtime, f"sc_matvec_{kernel}_s8")(cursor, 1, 40, vector, acc[4 * group : 4 * group + 4])
    np.testing.assert_array_equal(acc, weights @ x)


@pytest.mark.parametrize("cols", [509, 511, 512])
def test_blocks_of_two_columns_reach_512_columns(runtime: Runtime, cols: int) -> None:
    rng = np.random.default_rng(cols)
    weights = rng.integers(-127, 128, (8, cols))
    weights[:, : cols // 2] = 0
    x = rng.integers(-128, 128, cols)
    words, columns = pack_blocks(weights, 2)
    acc = np.zeros(8, np.int32)
    padded = np.append(x, [77]).astype(np.int8)  # what stands beyond the end meets a weight of zero
    runtime.sc_matvec_4x2_s8(runtime.cursor(words, columns), 2, cols, padded, acc)
    np.testing.assert_array_equal(acc, weights @ x)


def test_no_row_groups_touch_nothing(runtime: Runtime) -> None:
    acc, nothing = np.array([5], np.int32), np.zeros(1, np.uint32)
    runtime.sc_matvec_dense_s8(runtime.cursor(nothing), 0, 3, np.zeros(3, np.int8), acc)
    assert acc[0] == 5
