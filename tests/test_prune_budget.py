"""Patterns and budgets: N of M vectors, balanced rows, diagonals, gates; all of them lower to blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from random_models import random_sequences
from stepcell.compress import GradualPruner, parse_pattern, prune
from stepcell.compress.pattern import InVectors
from stepcell.compress.prune import prunable, row_orders
from stepcell.errors import StepcellError
from stepcell.ir import Block, Model
from stepcell.ir.model import BoolArray
from stepcell.lower import lower
from stepcell.lower.block import block_of
from stepcell.lower.kernels import kernels_of
from stepcell.quantize import quantize
from stepcell.target import load_core
from stepcell.train import to_module
from training_models import CELLS, classifier, masked, stack

models = st.builds(
    stack,
    cells=st.lists(st.sampled_from(CELLS), min_size=1, max_size=2).map(tuple),
    inputs=st.integers(1, 9),
    hidden=st.integers(1, 13),
    classes=st.just(3),
    seed=st.integers(0, 100),
)
CORES = [load_core(name) for name in ("cortex-m4", "cortex-m0plus", "cortex-m55")]
MEASURED = {block_of(k) for core in CORES for k in kernels_of(core) if "x" in k.format}


def groups(model: Model, name: str, rows: int) -> list[BoolArray]:
    """The kept weights of each group of rows that a kernel computes at once, [rows, cols]."""
    order, keep = row_orders(model, Block(rows, 1))[name], model.masks[name].keep
    cut = [order[first : first + rows] for first in range(0, len(order), rows)]
    return [keep[group[group >= 0]] for group in cut if (group >= 0).any()]


@given(models, st.sampled_from([(1, 2), (2, 4), (1, 4), (3, 8), (1, 16)]))
def test_n_of_m_vectors_are_kept_in_each_group_of_four_rows(model: Model, ratio: tuple[int, int]) -> None:
    kept, of = ratio
    pruned = prune(model, pattern=f"{kept}:{of}")
    for name in prunable(pruned):
        assert pruned.masks[name].block == Block(4, 1)
        for group in groups(pruned, name, 4):
            assert (group == group[:1]).all()  # whole vectors
            for first in range(0, group.shape[1], of):
                window = group[0, first : first + of]
                assert window.sum() == min(kept, len(window))


@given(models, st.sampled_from(sorted(MEASURED, key=str)), st.floats(0.1, 0.9))
def test_balanced_rows_keep_as_much_in_each_group(model: Model, block: Block, fraction: float) -> None:
    pruned = prune(model, fraction, pattern=block, scope="rows")
    for name in prunable(pruned):
        for group in groups(pruned, name, block.rows):
            slack = block.cols * len(group) / 2 + 0.5
            assert abs(group.sum() - (1 - fraction) * group.size) <= slack


@given(models, st.sampled_from(sorted(MEASURED, key=str)))
def test_diagonals_stay_with_their_blocks(model: Model, block: Block) -> None:
    pruned = prune(model, 0.0, pattern=block, keep_diagonal=True)
    assert all(mask.keep.all() for mask in pruned.masks.values())
    try:
        pruned = prune(model, 0.6, "random", pattern=block, keep_diagonal=True)
    except StepcellError as error:
        assert "diagonals alone are more" in error.message  # noqa: PT017  # both outcomes are right
        return
    for name in (name for name in prunable(pruned) if name.startswith("R")):
        keep = pruned.masks[name].keep
        units = keep.shape[1]
        assert all(keep[gate + unit, unit] for gate in range(0, len(keep), units) for unit in range(units))
        for group in groups(pruned, name, block.rows):
            for first in range(0, units, block.cols):
                cut = group[:, first : first + block.cols]
                assert cut.all() or not cut.any()


def test_diagonals_that_are_more_than_the_budget_are_refused() -> None:
    with pytest.raises(StepcellError, match=r"the diagonals alone are more than the 0\.02"):
        prune(classifier("lstm", hidden=16), 0.98, pattern="4x2", keep_diagonal=True)


def test_gates_have_densities_of_their_own() -> None:
    model = classifier("gru", inputs=16, hidden=32)
    pruned = prune(model, pattern="4x2", gates={"z": 0.05, "r": 0.05, "n": 0.2})
    kept = sum(mask.keep.reshape(3, 32, -1).sum(axis=(1, 2)) for mask in pruned.masks.values())
    total = 32 * (16 + 32)
    assert abs(kept[0] + kept[1] - 0.05 * 2 * total) <= 4  # z and r share blocks, and so their budget
    assert abs(kept[2] - 0.2 * total) <= 4


def test_gates_of_one_row_have_budgets_of_their_own_and_the_others_keep_the_rest() -> None:
    model = classifier("lstm", inputs=16, hidden=32)
    pruned = prune(model, 0.5, pattern="unstructured", gates={"f": 0.9, "c": 0.1}, scope="matrix")
    for mask in pruned.masks.values():
        kept = mask.keep.reshape(4, 32, -1).mean(axis=(1, 2))
        assert kept[2] == pytest.approx(0.9, abs=0.001)
        assert kept[3] == pytest.approx(0.1, abs=0.001)
        assert kept[:2].mean() == pytest.approx(0.5, abs=0.001)


def test_gates_that_share_blocks_cannot_differ() -> None:
    with pytest.raises(StepcellError, match=r"4x1 hold rows of the gates i, o, f, c, .*different densities"):
        prune(classifier("lstm"), pattern="4x1", gates={"i": 0.1})


def test_a_gate_that_no_layer_has_is_named() -> None:
    with pytest.raises(StepcellError, match=r"no matrix has a gate 'f'(.|\n)*these have z, r, n"):
        prune(classifier("gru"), pattern="4x1", gates={"f": 0.1})


@given(models, st.sampled_from(["2:4", "1:4"]))
def test_n_of_m_never_revives_what_a_mask_has_pruned(model: Model, pattern: str) -> None:
    earlier = masked(model, "R.0", 0.5)
    keep = prune(earlier, pattern=pattern).masks["R.0"].keep
    assert not (keep & ~earlier.masks["R.0"].keep).any()


@pytest.mark.parametrize("pattern", ["1:8", "4x1", "4x2", "8x2"])
def test_patterns_run_as_blocks_on_a_cortex_m4(pattern: str) -> None:
    fraction = None if ":" in pattern else 0.875
    model = prune(classifier("gru", inputs=32, hidden=32), fraction, pattern=pattern, matrices=["R.0", "W.0"])
    data = random_sequences(np.random.default_rng(0), model)
    plan, dense = (lower(quantize(m, data), CORES[0]) for m in (model, classifier("gru", 32, 32)))
    formats = [
        why.split(" ")[0] for what, why in plan.choices.items() if what.endswith(("input", "recurrent"))
    ]
    assert len(formats) == 2
    assert all("x" in form for form in formats)
    assert sum(t.values.nbytes for t in plan.tables) < 0.5 * sum(t.values.nbytes for t in dense.tables)


def test_n_of_m_can_be_reached_step_by_step() -> None:
    model = classifier("gru", inputs=8, hidden=8)
    module = to_module(model)
    pruner = GradualPruner(model, module, pattern="1:4", end=10, interval=2)
    kept = []
    for step in range(1, 13):
        pruner.update(step)
        kept.append(int(module.get_masks()["R.0"].keep[:4, :4].sum()) // 4)
    assert kept[0] == 4
    assert kept[-1] == 1
    assert sorted(kept, reverse=True) == kept


@pytest.mark.parametrize(
    ("text", "pattern"),
    [("unstructured", Block(1, 1)), ("4x2", Block(4, 2)), ("2:4", InVectors(2, 4)), ("units", "units")],
)
def test_patterns_are_read_as_they_are_written(text: str, pattern: object) -> None:
    assert parse_pattern(text) == pattern
    assert str(pattern) == text


@pytest.mark.parametrize("text", ["4", "4:4", "0x1", "2:1", "blocks", "4 x 2", ""])
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(StepcellError, match="is no pattern"):
        parse_pattern(text)


def test_n_of_m_says_itself_what_it_removes() -> None:
    assert prune(classifier(), 0.5, pattern="2:4").masks
    with pytest.raises(StepcellError, match=r"2:4 removes 0\.5 of the weights, not 0\.8"):
        prune(classifier(), 0.8, pattern="2:4")
