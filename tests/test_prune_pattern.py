"""Pruning keeps the right number of the right blocks, gate by gate, and never revives a weight."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepcell.compress import cubic_density, prune
from stepcell.compress.budget import Scope
from stepcell.compress.pattern import block_index
from stepcell.compress.prune import prunable, row_orders
from stepcell.errors import StepcellError
from stepcell.ir import Block, Model
from stepcell.ir.model import BoolArray
from stepcell.ir.row_order import Order, gru_row_order, lstm_row_order
from training_models import CELLS, classifier, stack

SCOPES: tuple[Scope, ...] = ("global", "matrix")
BLOCKS = [Block(1, 1), Block(4, 1), Block(4, 2), Block(1, 4), Block(2, 4), Block(3, 5)]
models = st.builds(
    stack,
    cells=st.lists(st.sampled_from(CELLS), min_size=1, max_size=2).map(tuple),
    inputs=st.integers(1, 9),
    hidden=st.integers(1, 17),
    classes=st.just(3),
    seed=st.integers(0, 100),
)
blocks = st.sampled_from(BLOCKS)
densities = st.floats(0.02, 1.0)


def _blocks(keep: BoolArray, order: Order, block: Block) -> list[BoolArray]:
    """The blocks of a matrix, cut out group by group: written apart from `block_index`, to check it."""
    groups = [order[first : first + block.rows] for first in range(0, len(order), block.rows)]
    return [
        keep[group[group >= 0], col : col + block.cols]
        for group in groups
        for col in range(0, keep.shape[1], block.cols)
    ]


@given(models, blocks, densities, st.sampled_from(SCOPES))
def test_density_is_exact_to_within_one_block(
    model: Model, block: Block, density: float, scope: Scope
) -> None:
    pruned = prune(model, 1 - density, pattern=block, scope=scope)
    keeps = [pruned.masks[name].keep for name in prunable(model)]
    for group in [keeps] if scope == "global" else [[keep] for keep in keeps]:
        total, kept = sum(keep.size for keep in group), sum(int(keep.sum()) for keep in group)
        assert abs(kept - density * total) <= block.rows * block.cols / 2 + 0.5


@given(models, blocks, densities)
def test_blocks_are_whole_in_the_order_of_the_rows(model: Model, block: Block, density: float) -> None:
    pruned = prune(model, 1 - density, pattern=block)
    orders = row_orders(model, block)
    for name, mask in pruned.masks.items():
        assert mask.block == block
        assert all(cut.all() or not cut.any() for cut in _blocks(mask.keep, orders[name], block))


@given(models, blocks, densities)
def test_kept_weights_are_untouched_and_pruned_ones_zero(model: Model, block: Block, density: float) -> None:
    pruned = prune(model, 1 - density, pattern=block)
    for name, array in model.weights.items():
        keep = pruned.masks[name].keep if name in pruned.masks else np.ones(array.shape, bool)
        np.testing.assert_array_equal(pruned.weights[name], np.where(keep, array, 0.0))


@given(models, blocks, blocks, densities, densities)
def test_pruning_again_never_revives_a_weight(
    model: Model, block: Block, other: Block, first: float, second: float
) -> None:
    once = prune(model, 1 - first, pattern=block)
    twice = prune(once, 1 - second, pattern=other)
    for name in prunable(model):
        assert not (twice.masks[name].keep & ~once.masks[name].keep).any()


@given(models, blocks, densities, densities)
def test_pruning_in_two_steps_keeps_what_pruning_in_one_keeps(
    model: Model, block: Block, first: float, second: float
) -> None:
    first, second = max(first, second), min(first, second)
    twice = prune(prune(model, 1 - first, pattern=block), 1 - second, pattern=block)
    for name, mask in prune(model, 1 - second, pattern=block).masks.items():
        np.testing.assert_array_equal(twice.masks[name].keep, mask.keep)


@given(models, blocks)
def test_removing_nothing_keeps_everything(model: Model, block: Block) -> None:
    assert all(mask.keep.all() for mask in prune(model, 0.0, pattern=block).masks.values())


def test_the_largest_blocks_are_kept() -> None:
    model = classifier("rnn-tanh", inputs=4, hidden=4)
    weights = np.full((4, 4), 0.1)
    weights[2:, :2], weights[0, 3] = 0.5, 0.9  # mean 0.5 against 0.3
    pruned = prune(model.with_weights({"W.0": weights}), 0.75, pattern="2x2", matrices=["W.0"])
    assert np.argwhere(pruned.masks["W.0"].keep).tolist() == [[2, 0], [2, 1], [3, 0], [3, 1]]


def test_four_rows_of_an_lstm_are_the_gates_of_one_unit() -> None:
    index = block_index((8, 3), lstm_row_order(2, 1), Block(4, 2))
    assert index.tolist() == 4 * [[0, 0, 1], [2, 2, 3]]


def test_a_gru_blocks_z_and_r_of_two_units_and_n_of_four() -> None:
    index = block_index((9, 1), gru_row_order(3, 4, 8), Block(4, 1))
    assert index[:, 0].tolist() == [0, 0, 1, 0, 0, 1, 2, 2, 2]


def test_recurrent_matrices_are_pruned_by_default_and_others_by_name() -> None:
    model = stack(("lstm", "gru"), 3, 8, 4, seed=0)
    assert set(prune(model).masks) == {"W.0", "R.0", "W.1", "R.1"}
    assert set(prune(model, matrices=["D", "R.1"]).masks) == {"D", "R.1"}


def test_a_matrix_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(StepcellError, match=r"no matrix 'V'.*to prune\.\nHint: it has W\.0, R\.0, D"):
        prune(classifier(), matrices=["V"])


@pytest.mark.parametrize("fraction", [1.0, -0.1, 1.5, float("nan")])
def test_a_fraction_that_is_none_is_refused(fraction: float) -> None:
    with pytest.raises(StepcellError, match="no removed fraction"):
        prune(classifier(), fraction)


@given(steps=st.integers(1, 200), final=densities, initial=st.just(1.0))
def test_the_cubic_schedule_falls_from_dense_to_final(steps: int, final: float, initial: float) -> None:
    found = [cubic_density(step, 5, 5 + steps, final, initial) for step in range(steps + 10)]
    assert found[:6] == [initial] * 6
    assert found[steps + 5 :] == [final] * 5
    assert all(a >= b >= final for a, b in pairwise(found))


def test_half_way_the_cubic_schedule_has_pruned_seven_eighths() -> None:
    assert cubic_density(50, 0, 100, 0.2) == pytest.approx(1 - 0.8 * 7 / 8)


def test_one_shot_pruning_imports_no_torch() -> None:
    code = "import sys, stepcell.compress; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
