"""The integer arithmetic: rounding, saturation, the sigmoid table, and that its worst cases fit int32."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepcell.ir.qmodel import MAX_STEPS_OF_A_MEAN
from stepcell.reference.arithmetic import divide_rounded, rr, sat16, sigmoid, sigmoid_table, tanh, view8

EVERY_INT16 = np.arange(-32768, 32768)
INT32 = st.integers(-(2**31) + 1, 2**31 - 1)


def _floor(value: Fraction) -> int:
    return value.numerator // value.denominator


@given(INT32, st.integers(0, 30))
def test_rr_is_the_nearest_integer_with_ties_up(v: int, shift: int) -> None:
    assert int(rr(np.asarray(v), shift)) == _floor(Fraction(v, 2**shift) + Fraction(1, 2)) or shift == 0
    assert shift != 0 or int(rr(np.asarray(v), 0)) == v


@pytest.mark.parametrize(("v", "expected"), [(-6, -1), (-5, -1), (-2, 0), (2, 1), (6, 2), (5, 1), (-7, -2)])
def test_rr_by_two_bits(v: int, expected: int) -> None:
    assert int(rr(np.asarray(v), 2)) == expected


def test_sat16_keeps_what_fits_and_clamps_the_rest() -> None:
    assert sat16(np.asarray([-(2**31), -32769, -32768, 0, 32767, 32768, 2**31 - 1])).tolist() == [
        -32768, -32768, -32768, 0, 32767, 32767, 32767,
    ]  # fmt: skip
    assert np.array_equal(sat16(EVERY_INT16), EVERY_INT16)


def test_view8_is_monotone_int8_and_within_half_a_step() -> None:
    view = view8(EVERY_INT16)
    assert (view.min(), view.max()) == (-128, 127)
    assert np.all(np.diff(view) >= 0)
    unclamped = EVERY_INT16 < 127 * 256 + 128
    assert np.abs(view * 256 - EVERY_INT16)[unclamped].max() <= 128


def test_sigmoid_is_monotone_in_range_and_close_to_the_logistic_function() -> None:
    values = sigmoid(EVERY_INT16)
    assert values.min() >= 0
    assert values.max() <= 32767
    assert np.all(np.diff(values) >= 0)
    exact = 32768 / (1 + np.exp(-EVERY_INT16 / 2048))
    assert np.abs(values - exact).max() < 8


def test_tanh_is_monotone_in_range_and_zero_at_zero() -> None:
    values = tanh(EVERY_INT16)
    assert int(tanh(np.asarray(0))) == 0
    assert values.min() >= -32768
    assert values.max() <= 32766
    assert np.all(np.diff(values) >= 0)
    assert np.abs(values - 32768 * np.tanh(EVERY_INT16 / 2048)).max() < 20


def test_the_table_has_257_entries_that_rise_from_0_to_32767() -> None:
    table = sigmoid_table()
    assert table.shape == (257,)
    assert (table[0], table[128], table[256]) == (0, 16384, 32767)
    assert np.diff(table).min() >= 0
    assert np.diff(table).max() < 2**15  # times 255 it stays far below 2^31


@given(st.integers(-(2**30), 2**30), st.integers(1, MAX_STEPS_OF_A_MEAN))
def test_divide_rounded_is_the_quotient_rounded_half_up(total: int, count: int) -> None:
    expected = _floor(Fraction(total, count) + Fraction(1, 2))
    assert int(divide_rounded(np.asarray(total), np.asarray(count))) == expected


WORST_SUMS = {
    "joint requantization": 2 * 32767 * 2**14 + 2**29,
    "lstm cell": 32767 * 32768 + 32767 * 32768 + 2**14,
    "gru blend": 32767 * (32767 + 32768) + 2**14,
    "gru candidate": 32767 * 2**14 + 2**29 + 32768,
    "weighted sum": 2 * 32768 * 2**14 + 2**29,
    "product": 32768 * 32768 + 2**14,
    "cell as Q4.11": 32768 * 2**11,
    "mean": 2 * MAX_STEPS_OF_A_MEAN * 32768 + MAX_STEPS_OF_A_MEAN,
}


@pytest.mark.parametrize("equation", WORST_SUMS)
def test_worst_case_fits_int32(equation: str) -> None:
    assert WORST_SUMS[equation] < 2**31
