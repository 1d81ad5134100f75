"""The order in which layers compute their rows."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepcell.ir.row_order import (
    Order,
    grain_of,
    gru_row_order,
    lstm_row_order,
    reset_row_order,
    row_order,
    update_row_order,
)
from stepcell.lower.pack import permute

GRAINS = st.sampled_from([1, 2, 4, 8])
SIZES = st.integers(1, 50)


def whole_gru(units: int, grain: int) -> Order:
    return np.concatenate([reset_row_order(units, grain), update_row_order(units, grain, 8)])


def gru(units: int, grain: int) -> Order:
    return gru_row_order(units, grain, 8)


def test_an_lstm_keeps_the_gates_of_a_unit_together() -> None:
    assert lstm_row_order(2, 1).tolist() == [0, 2, 4, 6, 1, 3, 5, 7]
    assert lstm_row_order(1, 2).tolist() == [0, 1, 2, 3, -1, -1, -1, -1]


def test_a_gru_pairs_z_and_r_of_a_unit_and_keeps_n_apart_pass_by_pass() -> None:
    assert gru(2, 4).tolist() == [0, 2, 1, 3, -1, -1, -1, -1, 4, 5, -1, -1]
    order = gru(9, 4)
    assert order[:16].reshape(-1, 2).tolist() == [[u, 9 + u] for u in range(8)]
    assert order[16:24].tolist() == list(range(18, 26))
    assert order[24:].tolist() == [8, 17, -1, -1, -1, -1, -1, -1, 26, -1, -1, -1]


def test_passes_are_of_as_many_units_as_the_core_says() -> None:
    order = gru_row_order(5, 2, 4).tolist()
    assert order == [0, 5, 1, 6, 2, 7, 3, 8, 10, 11, 12, 13, 4, 9, -1, -1, 14, -1]
    assert update_row_order(3, 1, 2).tolist() == [0, 1, 6, 7, 2, 8]


@pytest.mark.parametrize("rows", [4, 8])
def test_the_rows_of_a_row_group_are_the_same_whatever_a_pass_is(rows: int) -> None:
    grain = grain_of(rows)
    for order in (gru_row_order, update_row_order):
        groups = [{tuple(g) for g in order(21, grain, n * grain).reshape(-1, rows)} for n in (1, 2, 3)]
        assert groups[0] == groups[1] == groups[2]


def test_a_gru_that_resets_first_has_all_r_rows_before_any_other() -> None:
    assert reset_row_order(3, 4).tolist() == [3, 4, 5, -1]
    assert update_row_order(3, 4, 8).tolist() == [0, 1, 2, -1, 6, 7, 8, -1]


@pytest.mark.parametrize(("order", "gates"), [(row_order, 1), (lstm_row_order, 4), (gru, 3), (whole_gru, 3)])
@given(units=SIZES, grain=GRAINS)
def test_every_row_has_one_place(
    order: Callable[[int, int], Order], gates: int, units: int, grain: int
) -> None:
    found = order(units, grain)
    assert len(found) == gates * -(-units // grain) * grain
    assert sorted(found[found >= 0]) == list(range(gates * units))


@given(SIZES, st.sampled_from([4, 8]))
def test_row_groups_are_whole(units: int, rows: int) -> None:
    assert len(lstm_row_order(units, grain_of(rows, 4))) % rows == 0
    assert len(gru(units, grain_of(rows))) % rows == 0


def test_permute_pads_where_there_is_no_row() -> None:
    order = np.array([2, -1, 0])
    assert permute(np.array([5, 6, 7]), order).tolist() == [7, 0, 5]
    assert permute(np.array([5, 6, 7]), order, padding=9).tolist() == [7, 9, 5]
    assert permute(np.array([[5, 6], [7, 8], [9, 10]]), order).tolist() == [[9, 10], [0, 0], [5, 6]]
