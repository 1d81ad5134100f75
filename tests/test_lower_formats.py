"""The choice of a format: the fastest kernel that is no bigger than dense, unless the user wants another."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from random_bundles import M4
from stepcell.errors import StepcellError
from stepcell.ir.qmodel import IntArray
from stepcell.lower.formats import Format, choose_format
from stepcell.lower.kernels.portable import KERNELS, pack_blocks, pack_dense
from stepcell.target import Core


@st.composite
def matrices(draw: st.DrawFn) -> IntArray:
    """[4 * groups, cols] of int8 weights, many of them zero."""
    shape = (4 * draw(st.integers(1, 4)), draw(st.integers(1, 40)))
    fill = st.one_of(st.just(0), st.integers(-127, 127))
    return draw(arrays(np.int64, shape, elements=st.integers(-127, 127), fill=fill))


def costing(**items: float) -> Core:
    """A core with portable kernels: instructions of an item of each format; row groups cost 10."""
    names = {"dense": "dense", "narrow": "4x1", "wide": "4x2"}
    table: Mapping[str, Mapping[str, float]] = {
        f"sc_matvec_{names[key]}_s8": {"group": 10.0, "item": item} for key, item in items.items()
    }
    return replace(M4, kernels=("portable",), costs=table)


CHEAP_BLOCKS = costing(dense=10, narrow=1, wide=1)


def chosen(weights: IntArray, core: Core, **options: Any) -> Format:
    return choose_format(weights, np.zeros(len(weights), np.int64), 8, core, **options)


@given(matrices(), st.sampled_from([(10, 1, 1), (10, 11, 20), (1, 50, 90), (10, 12, 1)]))
def test_it_is_the_fastest_of_those_not_bigger_than_dense(
    weights: IntArray, items: tuple[int, int, int]
) -> None:
    dense, narrow, wide = items
    found = chosen(weights, costing(dense=dense, narrow=narrow, wide=wide))
    groups, starts = len(weights) // 4, np.zeros(len(weights), np.int64)
    assert found.bytes == found.packed.bytes <= weights.size
    assert found.instructions <= 10 * groups + dense * groups * weights.shape[1]
    for width, cost in ((1, narrow), (2, wide)):
        packed = pack_blocks(width, weights, starts)
        if packed.bytes <= weights.size:
            assert found.instructions <= 10 * groups + cost * packed.items


def test_a_format_that_saves_instructions_but_not_bytes_is_refused_unless_speed_is_wanted() -> None:
    full = np.full((4, 10), 3)
    assert chosen(full, CHEAP_BLOCKS).kernel.format == "dense"
    assert chosen(full, CHEAP_BLOCKS, optimize="speed").kernel.format == "4x2"
    some = chosen(full * (np.arange(10) % 3 < 2), CHEAP_BLOCKS)
    assert some.kernel.format == "4x1"
    assert "dense: 110, 40" in some.why


def test_a_format_that_saves_bytes_but_not_instructions_is_refused_unless_it_is_named() -> None:
    half = np.full((4, 10), 3) * (np.arange(10) < 5)
    slow = costing(dense=10, narrow=25, wide=50)
    assert chosen(half, slow).kernel.format == "dense"
    assert chosen(half, slow, wanted="4x1").kernel.format == "4x1"


def test_a_format_that_the_core_has_not_is_refused_by_name() -> None:
    with pytest.raises(StepcellError, match=r"cortex-m4 has no kernel of format 4x16 .*4x1, 4x2, dense"):
        chosen(np.ones((4, 4), np.int64), CHEAP_BLOCKS, wanted="4x16")


def test_a_kernel_that_was_not_measured_is_not_chosen() -> None:
    assert chosen(np.zeros((4, 40), np.int64), costing(dense=10)).kernel.format == "dense"


def test_a_kernel_that_is_not_proven_exact_is_not_chosen() -> None:
    weights, starts = np.zeros((4, 40), np.int64), np.zeros(4, np.int64)
    doubtful = [replace(k, fits=lambda *_: False) if k.format == "4x2" else k for k in KERNELS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stepcell.lower.formats.kernels_of", lambda _: doubtful)
        assert choose_format(weights, starts, 8, CHEAP_BLOCKS).kernel.format == "4x1"


def test_a_word_holds_one_column_of_four_rows_the_first_row_lowest() -> None:
    weights = np.array([[1, 5], [-1, 6], [127, 7], [-127, 8]])
    packed = pack_dense(weights, np.array([1, 2, 3, 4]))
    assert [hex(word) for word in packed.words] == ["0x817fff01", "0x8070605"]
    assert (packed.start.tolist(), packed.stride) == ([1, 2, 3, 4], 4)


def test_rows_that_start_alike_share_one_row_group_of_starts() -> None:
    packed = pack_dense(np.zeros((8, 1), np.int64), np.full(8, 7))
    assert (packed.start.tolist(), packed.stride) == ([7, 7, 7, 7], 0)


def test_a_row_group_counts_its_blocks_and_says_where_they_are() -> None:
    weights = np.zeros((8, 5), np.int64)
    weights[2, 1] = weights[0, 4] = 9
    packed = pack_blocks(2, weights, np.zeros(8, np.int64))
    assert packed.columns is not None
    assert packed.columns.tolist() == [2, 0, 2, 0]
    assert packed.words.tolist() == [0, 9 << 16, 9, 0]


def test_blocks_beyond_255_positions_lie_in_a_segment_of_their_own() -> None:
    weights = np.zeros((4, 257), np.int64)
    weights[0, [0, 254, 255, 256]] = 1
    packed = pack_blocks(1, weights, np.zeros(4, np.int64))
    assert packed.columns is not None
    assert packed.columns.tolist() == [2, 0, 254, 2, 0, 1]
