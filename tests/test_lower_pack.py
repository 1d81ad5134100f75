"""Weights in kernel order: nothing is lost, and the chosen format is never bigger than dense."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stepcell.ir.qmodel import IntArray
from stepcell.lower.formats import choose_format
from stepcell.lower.pack import (
    block_map,
    fits_blocks,
    gate_row_order,
    pack_blocks,
    pack_dense,
    permute,
    unpack_blocks,
    unpack_dense,
)

WIDTHS = st.sampled_from([1, 2])


@st.composite
def matrices(draw: st.DrawFn) -> IntArray:
    """[4 * groups, cols] of int8 weights, many of them zero."""
    shape = (4 * draw(st.integers(1, 4)), draw(st.integers(1, 40)))
    fill = st.one_of(st.just(0), st.integers(-127, 127))
    return draw(arrays(np.int64, shape, elements=st.integers(-127, 127), fill=fill))


@given(matrices())
def test_dense_words_unpack_to_the_weights(weights: IntArray) -> None:
    words = pack_dense(weights)
    assert words.dtype == np.uint32
    assert len(words) == weights.size // 4
    np.testing.assert_array_equal(unpack_dense(words, weights.shape[1]), weights)


@given(matrices(), WIDTHS)
def test_blocks_unpack_to_the_weights(weights: IntArray, width: int) -> None:
    words, columns = pack_blocks(weights, width)
    blocks = int(block_map(weights, width).sum())
    assert (len(words), len(columns)) == (blocks * width, blocks + len(weights) // 4)
    np.testing.assert_array_equal(unpack_blocks(words, columns, width, weights.shape[1]), weights)


@given(matrices())
def test_blocks_without_a_hole_hold_the_words_of_dense(weights: IntArray) -> None:
    weights[::4] = np.where(weights[::4] == 0, 1, weights[::4])
    np.testing.assert_array_equal(pack_blocks(weights, 1)[0], pack_dense(weights))


def test_a_word_holds_one_column_of_four_rows_the_first_row_lowest() -> None:
    weights = np.array([[1, 5], [-1, 6], [127, 7], [-127, 8]])
    assert [hex(word) for word in pack_dense(weights)] == ["0x817fff01", "0x8070605"]


def test_a_row_group_counts_its_blocks_and_says_where_they_are() -> None:
    weights = np.zeros((8, 5), np.int64)
    weights[2, 1] = weights[0, 4] = 9
    words, columns = pack_blocks(weights, 2)
    assert columns.tolist() == [2, 0, 2, 0]
    assert words.tolist() == [0, 9 << 16, 9, 0]


def test_rows_lie_in_groups_of_four_units_gate_by_gate() -> None:
    order = gate_row_order(6, (0, 2, 1))
    first, second = [0, 1, 2, 3, 12, 13, 14, 15, 6, 7, 8, 9], [4, 5, -1, -1, 16, 17, -1, -1, 10, 11, -1, -1]
    assert order.tolist() == first + second


@given(st.integers(1, 50), st.permutations([0, 1, 2, 3]))
def test_every_row_has_one_place(units: int, gates: list[int]) -> None:
    order = gate_row_order(units, tuple(gates))
    assert len(order) % 4 == 0
    assert sorted(order[order >= 0]) == list(range(4 * units))


def test_permute_puts_zeros_where_there_is_no_row() -> None:
    order = np.array([2, -1, 0])
    assert permute(np.array([5, 6, 7]), order).tolist() == [7, 0, 5]
    assert permute(np.array([[5, 6], [7, 8], [9, 10]]), order).tolist() == [[9, 10], [0, 0], [5, 6]]


def costs(dense: float, narrow: float, wide: float) -> Mapping[str, Mapping[str, float]]:
    """Instructions of an item of each kernel; a row group costs 10 everywhere."""
    items = {"dense": dense, "4x1": narrow, "4x2": wide}
    return {f"sc_matvec_{kernel}_s8": {"group": 10.0, "item": item} for kernel, item in items.items()}


CHEAP_BLOCKS = costs(10, 1, 1)


@given(matrices(), st.sampled_from([(10, 1, 1), (10, 11, 20), (1, 50, 90), (10, 12, 1)]))
def test_the_chosen_format_is_the_fastest_of_those_not_bigger_than_dense(
    weights: IntArray, items: tuple[int, int, int]
) -> None:
    table = costs(*items)
    chosen = choose_format(weights, 8, table)
    groups, cols = weights.shape[0] // 4, weights.shape[1]
    assert chosen.bytes <= weights.size
    assert chosen.instructions <= 10 * groups + items[0] * groups * cols
    if chosen.width is None:
        assert chosen.bytes == pack_dense(weights).nbytes
    else:
        assert chosen.bytes == sum(table.nbytes for table in pack_blocks(weights, chosen.width))
    for width in (1, 2):
        blocks = int(block_map(weights, width).sum())
        if blocks * (4 * width + 1) + groups <= weights.size:
            assert chosen.instructions <= 10 * groups + items[width] * blocks


def test_a_format_that_saves_instructions_but_not_bytes_is_refused() -> None:
    full = np.full((4, 10), 3)
    assert choose_format(full, 8, CHEAP_BLOCKS).kernel == "dense"
    assert choose_format(full * (np.arange(10) % 3 < 2), 8, CHEAP_BLOCKS).kernel == "4x1"
    assert "dense: 110, 40" in choose_format(full * (np.arange(10) % 3 < 2), 8, CHEAP_BLOCKS).why


def test_a_format_that_saves_bytes_but_not_instructions_is_refused() -> None:
    half = np.full((4, 10), 3) * (np.arange(10) < 5)
    assert choose_format(half, 8, costs(10, 25, 50)).kernel == "dense"


@pytest.mark.parametrize(("cols", "kernel"), [(256, "4x1"), (257, "4x2"), (512, "4x2"), (513, "dense")])
def test_a_column_that_a_byte_cannot_index_rules_a_format_out(cols: int, kernel: str) -> None:
    weights = np.zeros((4, cols), np.int64)
    weights[0, -1] = 1
    assert choose_format(weights, 8, costs(10, 1, 2)).kernel == kernel


def test_more_blocks_than_a_byte_counts_rule_a_format_out() -> None:
    weights = np.ones((8, 256), np.int64)
    weights[4:] = 0
    assert not fits_blocks(weights, 1)
    weights[:, 9] = 0
    assert fits_blocks(weights, 1)
    assert choose_format(np.ones((4, 256), np.int64), 8, CHEAP_BLOCKS).kernel == "dense"


def test_a_kernel_that_was_not_measured_is_not_chosen() -> None:
    weights = np.zeros((4, 40), np.int64)
    only_dense = {"sc_matvec_dense_s8": {"group": 10.0, "item": 10.0}}
    assert choose_format(weights, 8, only_dense).kernel == "dense"
