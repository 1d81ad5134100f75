"""The vector functions over their whole ranges, against the reference arithmetic."""

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime_library import Runtime
from stepcell.ir.qmodel import MAX_STEPS_OF_A_MEAN, IntArray
from stepcell.reference.arithmetic import divide_rounded, rr, sat16, sigmoid, sigmoid_table, tanh, view8
from tools import require_tool

EVERY = np.arange(-32768, 32768).astype(np.int16)
CORNERS = np.array([-32768, -32767, -16384, -257, -1, 0, 1, 255, 16384, 32766, 32767])
MULTIPLIERS = (-16384, -16383, -1, 0, 1, 8192, 16383, 16384)
SHIFTS = (0, 1, 7, 14, 15, 16, 29)


@pytest.fixture(scope="module", params=["gcc", "clang"])
def runtime(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    require_tool(request.param, "cffi")
    return Runtime(tmp_path_factory.mktemp(request.param), request.param)


def relu(v: IntArray) -> IntArray:
    return np.maximum(v, 0)


def pairs() -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Every pair of corners, and random ones."""
    rng = np.random.default_rng(0)
    a, b = (grid.reshape(-1) for grid in np.meshgrid(CORNERS, CORNERS))
    more = rng.integers(-32768, 32768, (2, 5000))
    return np.append(a, more[0]).astype(np.int16), np.append(b, more[1]).astype(np.int16)


def test_the_sigmoid_table_holds_the_lines_through_the_references(runtime: Runtime) -> None:
    words = np.array(list(runtime.library.sc_sigmoid_table), np.int64)
    table, k = sigmoid_table(), np.arange(-128, 128)
    rise = np.diff(table)
    np.testing.assert_array_equal(words >> 16, rise)
    np.testing.assert_array_equal(words & 0xFFFF, table[:256] - k * rise)


@pytest.mark.parametrize("function", ["sc_sigmoid", "sc_tanh", "sc_relu"])
def test_an_activation_equals_the_reference_for_every_int16(runtime: Runtime, function: str) -> None:
    wide = EVERY.astype(np.int64)
    wanted = {"sc_sigmoid": sigmoid, "sc_tanh": tanh, "sc_relu": relu}[function](wide)
    y = np.zeros(65536, np.int16)
    getattr(runtime, function)(y, EVERY, 65536)
    np.testing.assert_array_equal(y, wanted)
    in_place = EVERY.copy()
    getattr(runtime, function)(in_place, in_place, 65536)
    np.testing.assert_array_equal(in_place, wanted)


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_view_equals_the_reference_for_every_int16_and_pads_with_zeros(runtime: Runtime, bits: int) -> None:
    view = np.full(65536 + 5, 99, f"int{bits}")
    getattr(runtime, f"sc_view_s{bits}")(view, EVERY, 65536, 65536 + 3)
    np.testing.assert_array_equal(view[:65536], view8(EVERY.astype(np.int64)))
    assert view[65536:].tolist() == [0, 0, 0, 99, 99]


@pytest.mark.parametrize(("narrow", "wide"), [(8, 16), (8, 32), (16, 32)])
def test_widen_keeps_every_value_and_pads_with_zeros(runtime: Runtime, narrow: int, wide: int) -> None:
    every = np.arange(-(1 << (narrow - 1)), 1 << (narrow - 1)).astype(f"int{narrow}")
    widened = np.full(len(every) + 5, 99, f"int{wide}")
    getattr(runtime, f"sc_widen_s{narrow}_s{wide}")(widened, every, len(every), len(every) + 3)
    np.testing.assert_array_equal(widened[: len(every)], every)
    assert widened[len(every) :].tolist() == [0, 0, 0, 99, 99]


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("multiplier", MULTIPLIERS)
def test_rescale_equals_the_reference_for_every_int16(runtime: Runtime, multiplier: int, shift: int) -> None:
    y = np.zeros(65536, np.int16)
    runtime.sc_rescale(y, EVERY, 65536, multiplier, runtime.shift(shift))
    np.testing.assert_array_equal(y, sat16(rr(EVERY.astype(np.int64) * multiplier, shift)))


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("a_multiplier", MULTIPLIERS)
def test_add_equals_the_reference_at_the_extremes(runtime: Runtime, a_multiplier: int, shift: int) -> None:
    a, b = pairs()
    y = np.zeros(len(a), np.int16)
    for b_multiplier in MULTIPLIERS:
        runtime.sc_add(y, a, b, len(a), a_multiplier, b_multiplier, runtime.shift(shift))
        total = a.astype(np.int64) * a_multiplier + b.astype(np.int64) * b_multiplier
        np.testing.assert_array_equal(y, sat16(rr(total, shift)))


@pytest.mark.parametrize("shift", SHIFTS)
def test_mul_equals_the_reference_at_the_extremes(runtime: Runtime, shift: int) -> None:
    a, b = pairs()
    y = np.zeros(len(a), np.int16)
    for multiplier in (m for m in MULTIPLIERS if m >= 0):
        runtime.sc_mul(y, a, b, len(a), multiplier, runtime.shift(shift))
        product = rr(a.astype(np.int64) * b, 15) * multiplier
        np.testing.assert_array_equal(y, sat16(rr(product, shift)))


def test_max_takes_the_greater_of_every_pair(runtime: Runtime) -> None:
    a, b = pairs()
    y = np.zeros(len(a), np.int16)
    runtime.sc_max(y, a, b, len(a))
    np.testing.assert_array_equal(y, np.maximum(a, b))


@pytest.mark.parametrize("bits", [8, 16])
def test_take_picks_by_index(runtime: Runtime, bits: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 128, 300).astype(f"int{bits}")
    indices = rng.integers(0, 300, 1000).astype(np.uint16)
    y = np.zeros(1000, x.dtype)
    getattr(runtime, f"sc_take_s{bits}")(y, x, indices, 1000)
    np.testing.assert_array_equal(y, x[indices])


def test_constant_reads_every_int16_back(runtime: Runtime) -> None:
    y = np.zeros(65536, np.int16)
    runtime.sc_constant(y, EVERY.view(np.uint16), 65536)
    np.testing.assert_array_equal(y, EVERY)


@pytest.mark.parametrize(("to_offset", "from_offset"), [(0, 0), (1, 0), (0, 1), (3, 2)])
def test_copy_takes_any_alignment_and_pads_with_zeros(
    runtime: Runtime, to_offset: int, from_offset: int
) -> None:
    source = np.arange(1, 40, dtype=np.uint8)
    to = np.full(40, 99, np.uint8)
    runtime.sc_copy(to[to_offset:], source[from_offset:], 13, 16)
    copied = source[from_offset : from_offset + 13].tolist()
    assert to.tolist() == [99] * to_offset + copied + [0] * 3 + [99] * (24 - to_offset)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 7, 100, 32766, MAX_STEPS_OF_A_MEAN])
def test_mean_equals_the_reference_for_every_reachable_total(runtime: Runtime, steps: int) -> None:
    rng = np.random.default_rng(steps)
    limit = max(steps, 1) * 32768
    drawn = rng.integers(-limit, limit - steps + 1, 5000)
    total = np.append(drawn, [-limit, limit - steps, 0, 1, -1]).astype(np.int32)
    total = total if steps else np.zeros(5, np.int32)
    y = np.zeros(len(total), np.int16)
    runtime.sc_mean(y, total, len(total), np.array([steps], np.int32))
    np.testing.assert_array_equal(y, divide_rounded(total.astype(np.int64), np.array(max(steps, 1))))


def test_a_mean_closes_after_its_last_step(runtime: Runtime) -> None:
    x = np.array([-32768, 32767, 3], np.int16)
    total, count, y = np.zeros(3, np.int32), np.zeros(1, np.int32), np.zeros(3, np.int16)
    for _ in range(MAX_STEPS_OF_A_MEAN + 5):
        runtime.sc_total(total, x, 3, count)
        runtime.sc_count(count)
    assert count[0] == MAX_STEPS_OF_A_MEAN == 32767
    assert total.tolist() == [int(v) * MAX_STEPS_OF_A_MEAN for v in x]
    runtime.sc_mean(y, total, 3, count)
    assert y.tolist() == x.tolist()


@pytest.mark.parametrize("bits", [16, 32])
def test_checksum_folds_31_times_the_sum(runtime: Runtime, bits: int) -> None:
    values = np.array([-1, 5, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1], f"int{bits}")
    total = 7
    for value in values:
        total = (total * 31 + (int(value) & (2**bits - 1))) % 2**32
    assert getattr(runtime, f"sc_checksum{bits}")(7, values, 4) == total


FUNCTIONS_OF_X = ("sc_relu", "sc_sigmoid", "sc_tanh")


@pytest.mark.parametrize("function", FUNCTIONS_OF_X)
def test_no_elements_touch_nothing(runtime: Runtime, function: str) -> None:
    y = np.array([99], np.int16)
    getattr(runtime, function)(y, np.array([1], np.int16), 0)
    assert y[0] == 99
