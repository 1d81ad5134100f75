"""Second-order pruning: its equations against brute force, every kind of layer, and what speech keeps."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from japanese_vowels.data import load
from japanese_vowels.train import train_classifier
from random_structures import random_data, random_structure
from sequences.export import export_onnx
from stepcell.compress import prune
from stepcell.compress.operands import matrix_sites, record
from stepcell.compress.pattern import block_index
from stepcell.compress.prune import prunable, row_orders
from stepcell.compress.second_order import cut, prune_in_closed_form, rank_removals, refit
from stepcell.compress.second_order.fit import fitted_rows
from stepcell.compress.second_order.layers import heads_of, layers_of
from stepcell.compress.second_order.removal import Blocks, dampings, removal_scores
from stepcell.compress.second_order.samples import Part, Samples, samples_of
from stepcell.errors import StepcellError
from stepcell.importers import import_model
from stepcell.ir import Block, Finish, Function, Model, Stage, verify
from stepcell.ir.graph import matrices, reads
from stepcell.ir.model import BoolArray, FloatArray, recurrent_ops
from stepcell.ir.ops import Activate, Conv, Dense, Gru, Lstm, Take, Value
from stepcell.ir.sequences import Sequences
from stepcell.reference.float_model import run_float, run_float_functions
from stepcell.train.sensitivity import output_sensitivity
from training_models import CELLS, classifier, layer, masked, ragged, stack, weight

INPUTS, HIDDEN = 5, 6
BLOCKS = [Block(1, 1), Block(4, 1), Block(4, 2), Block(3, 4)]


def sigmoid(x: FloatArray) -> FloatArray:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def data_of(model: Model, count: int = 40, steps: int = 12) -> Sequences:
    """Inputs of which a few directions hold most of the power, as in speech."""
    random = np.random.default_rng(1)
    width = model.main.inputs[0].size
    few = random.standard_normal((count, steps, 2)) @ np.random.default_rng(0).standard_normal((2, width))
    x = few + 0.2 * random.standard_normal((count, steps, width))
    lengths = random.integers(steps // 2, steps + 1, count)
    x *= (np.arange(steps) < lengths[:, None])[..., None]
    return Sequences(x.reshape(count, steps, *model.main.inputs[0].shape), lengths)


def logits(model: Model, data: Sequences) -> FloatArray:
    return run_float(model, data.x, data.lengths).ends["logits"]


def windowed() -> Model:
    """A dense layer, a convolution over its 6 numbers, a GRU over the positions, a head."""
    random = np.random.default_rng(3)
    op, part = layer("gru", 0, "c", 8, 6, seed=3)
    weights = {"P": weight(random, 6, 5), "Pb": weight(random, 6), "K": weight(random, 2, 3, 1)}
    weights |= {"Kb": weight(random, 2), "D": weight(random, 4, 6), "Db": weight(random, 4), **part.weights}
    ops = (
        Dense("x", Value("p", (6,)), "P", "Pb"),
        Activate("p", Value("t", (6,)), "tanh"),
        Take("t", Value("q", (6, 1)), tuple(range(6))),
        Conv("q", Value("c", (4, 2)), "K", "Kb", (1,), (1,), ((0, 0),)),
        op,
    )
    return _closed(ops, part, weights, (5,))


def both_ways() -> Model:
    """An LSTM backwards, whose h a GRU reads forwards."""
    first, back = layer("lstm", 0, "x", INPUTS, HIDDEN, seed=5)
    second, ahead = layer("gru", 1, "h0_next", HIDDEN, HIDDEN, seed=5)
    random = np.random.default_rng(5)
    weights = {**back.weights, **ahead.weights, "D": weight(random, 4, HIDDEN), "Db": weight(random, 4)}
    x = Value("x", (INPUTS,))
    assert isinstance(first, Lstm)
    stages = (
        Stage("back", (x,), (first,), (("h0", "h0_next"), ("c0", "c0_next")), ("h0_next",), "backward"),
        Stage("ahead", (first.h_next,), (second,), (("h1", "h1_next"),)),
    )
    head = Finish((Dense("h1", Value("logits", (4,)), "D", "Db"),), ("logits",))
    function = Function("main", (x,), stages, head, ("logits",))
    return verify(Model("both", (function,), (*back.states, *ahead.states), weights))


def _closed(
    ops: tuple[Any, ...], part: Model, weights: dict[str, FloatArray], shape: tuple[int, ...]
) -> Model:
    updates = tuple((s.name, f"{s.name}_next") for s in part.states)
    stage = Stage("main", (Value("x", shape),), ops, updates)
    head = Finish((Dense("h0", Value("logits", (4,)), "D", "Db"),), ("logits",))
    function = Function("main", stage.inputs, (stage,), head, ("logits",))
    return verify(Model("windowed", (function,), part.states, weights))


MODELS: dict[str, Callable[[], Model]] = {
    **{cell: lambda cell=cell: classifier(cell, INPUTS, HIDDEN) for cell in CELLS},  # type: ignore[misc]
    "stacked": lambda: stack(("lstm", "gru"), INPUTS, HIDDEN, 4, seed=2),
    "windowed": windowed,
    "both ways": both_ways,
}


# --- the equations ----------------------------------------------------------------------------------------


def random_samples(rows: int, n: int, gated: bool = False) -> Samples:
    random = np.random.default_rng(n)
    v = (random.standard_normal((n, n)) @ random.standard_normal((n, 60))).astype(np.float32)
    gate = random.uniform(0.1, 1.0, (rows, 60)).astype(np.float32) if gated else None
    importance = random.uniform(0.0, 2.0, (rows, 60)).astype(np.float32)
    return Samples((Part(0, rows, v, gate, n // 2),), importance, None)


def stacked_rows(samples: Samples, row: int) -> FloatArray:
    """A with |A (w' - w)|^2 the damped, weighted squared error of a row."""
    (part,) = samples.parts
    u = part.v.copy()
    if part.gate is not None:
        u[part.first :] *= part.gate[row]
    u = (u * np.sqrt(samples.importance[row])).T
    return np.concatenate([u, np.sqrt(dampings(samples)[row]) * np.eye(u.shape[1])])


def least_error(a: FloatArray, w: FloatArray, keep: BoolArray) -> float:
    """By least squares over the kept weights."""
    target = a @ w
    best = np.linalg.lstsq(a[:, keep], target, rcond=None)[0]
    return float(np.sum((a[:, keep] @ best - target) ** 2))


def greedy_scores(
    samples: Samples, weights: FloatArray, alive: BoolArray, bands: list[list[int]], columns: list[list[int]]
) -> FloatArray:
    """What `removal_scores` says, by trying every block at every step."""
    scores = np.zeros_like(weights)
    for band in bands:
        keep, highest = alive.copy(), 0.0
        rows = {row: stacked_rows(samples, row) for row in band}
        w = {row: np.where(alive[row], weights[row], 0.0) for row in band}
        while blocks := [cols for cols in columns if keep[np.ix_(band, cols)].any()]:
            now = sum(least_error(rows[row], w[row], keep[row]) for row in band)
            without = []
            for cols in blocks:
                less = keep.copy()
                less[np.ix_(band, cols)] = False
                size = alive[np.ix_(band, cols)].sum()
                without.append((sum(least_error(rows[r], w[r], less[r]) for r in band) - now) / size)
            best = int(np.argmin(without))
            highest = max(highest, without[best])
            scores[np.ix_(band, blocks[best])] = highest
            keep[np.ix_(band, blocks[best])] = False
    return scores


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize(
    ("bands", "columns"),
    [
        ([[0], [1], [2]], [[c] for c in range(7)]),
        ([[0, 1, 2]], [[c] for c in range(7)]),
        ([[2, 0], [1]], [[0, 1, 2], [3, 4, 5], [6]]),
    ],
)
def test_every_removal_costs_what_least_squares_says(
    bands: list[list[int]], columns: list[list[int]], gated: bool
) -> None:
    """Also with weights that were pruned before, and where edges cut blocks off; column 7 is the bias."""
    samples = random_samples(3, 8, gated)
    random = np.random.default_rng(0)
    weights = random.standard_normal((3, 8))
    alive = random.random((3, 8)) < 0.8
    alive[:, 7] = True
    height, width = max(map(len, bands)), max(map(len, columns))
    blocks = Blocks(
        np.array([band + [-1] * (height - len(band)) for band in bands]),
        np.array([cols + [-1] * (width - len(cols)) for cols in columns]),
    )
    found = removal_scores(samples, weights, alive, blocks)
    expected = greedy_scores(samples, weights, alive, bands, columns)
    np.testing.assert_allclose(found[alive], expected[alive], rtol=2e-4, atol=1e-6 * expected.max())


def test_more_removals_than_are_held_back_cost_the_same() -> None:
    """40 columns: the inverses are brought up to date once on the way."""
    samples = random_samples(1, 40)
    weights = np.random.default_rng(1).standard_normal((1, 40))
    columns = [[c] for c in range(39)]
    found = removal_scores(
        samples, weights, np.ones((1, 40), bool), Blocks(np.array([[0]]), np.array(columns))
    )
    expected = greedy_scores(samples, weights, np.ones((1, 40), bool), [[0]], columns)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_kept_weights_move_to_the_least_squares_optimum() -> None:
    samples = random_samples(3, 8, gated=True)
    random = np.random.default_rng(2)
    dense, keep = random.standard_normal((3, 8)), random.random((3, 8)) < 0.6
    start = np.where(keep, dense, 0.0)
    found = fitted_rows(samples, samples.sums(dense) - samples.sums(start), start, keep)
    for row in range(3):
        a, damping = stacked_rows(samples, row), dampings(samples)[row]
        # The damping holds the weights where they are; the data pull the sums to the dense ones.
        target = a @ dense[row]
        target[-8:] = np.sqrt(damping) * start[row]
        best = np.linalg.lstsq(a[:, keep[row]], target, rcond=None)[0]
        np.testing.assert_allclose(found[row, keep[row]], best, rtol=1e-4, atol=1e-4)
        assert not found[row, ~keep[row]].any()


# --- what rows read, and what their sums matter -----------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_sums_of_the_samples_are_what_the_layer_computes(name: str) -> None:
    """The cell's equations on the sums give the next state that the interpreter recorded."""
    model = MODELS[name]()
    data = data_of(model)
    sites = matrix_sites(model)
    made = [name for site in sites for name in (*reads(site.op), site.key[2])]
    kept = run_float(model, data.x, data.lengths, keep=tuple(made))
    recording = replace(record(model, data, sites), runs={"main": kept})
    for site in sites:
        (found,) = layers_of(model, [model_matrix(site)])
        samples = samples_of(model, found, recording, {}, 10**9, 0)
        sums = samples.sums(found.weights(model)).astype(np.float64).T
        if site.stage is None:
            expected = kept.ends[site.key[2]]
        else:
            steps = kept.steps[site.key[2]]
            expected = steps[np.arange(steps.shape[1]) < data.lengths[:, None]]
        cell = site.op
        h = recording.read(site, cell.h) if hasattr(cell, "h") else np.zeros(0)
        c = recording.read(site, cell.c) if isinstance(cell, Lstm) else np.zeros(0)
        np.testing.assert_allclose(
            next_state(cell, sums, h, c).reshape(expected.shape), expected, rtol=0, atol=2e-6
        )


def model_matrix(site: Any) -> str:
    name = getattr(site.op, "weights", None) or site.op.recurrent_weights
    assert isinstance(name, str)
    return name


def next_state(op: Any, sums: FloatArray, h: FloatArray, c: FloatArray) -> FloatArray:
    match op:
        case Lstm():
            i, o, f, cell = np.split(sums, 4, axis=1)
            return np.asarray(sigmoid(o) * np.tanh(sigmoid(f) * c + sigmoid(i) * np.tanh(cell)))
        case Gru():
            z, _, n = np.split(sums, 3, axis=1)
            return np.asarray(np.tanh(n) + sigmoid(z) * (h - np.tanh(n)))
        case Dense() | Conv():
            return sums
        case _:
            return np.asarray(np.tanh(sums) if op.gate.function == "Tanh" else np.maximum(0, sums))


@pytest.mark.parametrize("name", ["lstm", "gru", "gru-lbr0", "rnn-tanh", "backwards"])
def test_sensitivities_are_squared_derivatives(name: str) -> None:
    """By finite differences: one more input, 1 at one step, moves one row's sum there."""
    op, part = layer("gru" if name == "backwards" else name, 0, "x", 3, 4, seed=1)
    random = np.random.default_rng(1)
    weights = {**part.weights, "D": weight(random, 1, 4), "Db": weight(random, 1)}
    model = _closed((op,), part, {**weights, "D": weight(random, 4, 4), "Db": weight(random, 4)}, (3,))
    if name == "backwards":
        (stage,) = model.main.stages
        model = replace(
            model, functions=(replace(model.main, stages=(replace(stage, direction="backward"),)),)
        )
    data = Sequences(random.standard_normal((1, 5, 3)), np.array([4]))
    found = output_sensitivity(model, data, [("main", "main", "h0_next")], seed=7)["main", "main", "h0_next"]
    signs = torch.randn((1, 4), generator=torch.Generator().manual_seed(7)).numpy()
    rows = len(weights["Wb.0"])
    assert found.shape == (4, rows)
    expected = np.zeros((4, rows))
    for t in range(4):
        for row in range(rows):
            column = np.zeros((rows, 1))
            column[row] = 1.0
            wider = model.with_weights({"W.0": np.concatenate([model.weights["W.0"], column], axis=1)})
            x = Value("x", (4,))
            stages = tuple(replace(s, inputs=(x,)) for s in wider.main.stages)
            wider = replace(wider, functions=(replace(wider.main, inputs=(x,), stages=stages),))
            ends = []
            for step in (1e-4, -1e-4):
                moved = np.zeros((1, 5, 1))
                moved[0, t] = step
                run = run_float(wider, np.concatenate([data.x, moved], axis=2), data.lengths)
                ends.append(float((run.ends["logits"] * signs).sum()))
            expected[t, row] = ((ends[0] - ends[1]) / 2e-4) ** 2
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-6 * expected.max())


def test_a_root_at_silence_tells_nothing() -> None:
    """The magnitude of zeros has no derivative; the frames that are not silent still have theirs."""
    random = np.random.default_rng(4)
    op, part = layer("gru", 0, "m", 6, 4, seed=4)
    weights = {"P": weight(random, 6, 5), "Pb": np.zeros(6), "D": weight(random, 4, 4)}
    ops = (
        Dense("x", Value("p", (6,)), "P", "Pb"),
        Activate("p", Value("s", (6,)), "square"),
        Activate("s", Value("m", (6,)), "sqrt"),
        op,
    )
    model = _closed(ops, part, {**weights, "Db": weight(random, 4), **part.weights}, (5,))
    x = random.standard_normal((1, 4, 5))
    x[0, 1] = 0.0
    found = output_sensitivity(model, Sequences(x, np.array([4])), [("main", "main", "p")])[
        "main", "main", "p"
    ]
    assert not found[1].any()
    assert found[[2, 3]].min() > 0.0


def test_outputs_of_every_step_and_of_the_end_both_count() -> None:
    """The last step of an output at every step is all that a layer behind its state still moves."""
    model = classifier("gru", 3, 4)
    (stage,) = model.main.stages
    stage = replace(stage, outputs=("h0_next",))
    several = replace(model, functions=(replace(model.main, stages=(stage,), outputs=("y", "h0_next")),))
    data, key = ragged(6, 5, (3,), seed=0), ("main", "main", "h0_next")
    alone, both = (output_sensitivity(m, data, [key])[key] for m in (model, several))
    assert alone.shape == both.shape == (int(data.lengths.sum()), 12)
    assert (both.mean(axis=0) > alone.mean(axis=0)).all()


def test_a_head_of_several_sequences_reads_one_sum_each() -> None:
    model = classifier("lstm", 3, 4)
    data = ragged(6, 5, (3,), seed=0)
    found = output_sensitivity(model, data, [("main", "", "logits")])["main", "", "logits"]
    assert found.shape == (6, 4)
    assert heads_of(model) == ("D",)


# --- whole models -----------------------------------------------------------------------------------------


def every_matrix(model: Model) -> list[str]:
    return list(dict.fromkeys(name for site in matrix_sites(model) for name in matrices(site.op)))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_masks_are_whole_blocks_within_the_budget(name: str, block: Block) -> None:
    model = MODELS[name]()
    names = every_matrix(model)
    pruned = prune_in_closed_form(model, data_of(model), 0.6, block, matrices=names, sensitivity="none")
    orders = row_orders(model, block)
    kept = total = 0
    for matrix in names:
        keep = pruned.masks[matrix].keep.reshape(len(orders[matrix][orders[matrix] >= 0]), -1)
        index = block_index((len(keep), keep.shape[1]), orders[matrix], block)
        kept_of, all_of = np.bincount(index.ravel(), keep.ravel()), np.bincount(index.ravel())
        assert ((kept_of == 0) | (kept_of == all_of)).all()
        assert not pruned.weights[matrix][~pruned.masks[matrix].keep].any()
        kept, total = kept + int(keep.sum()), total + keep.size
    assert abs(kept - 0.4 * total) <= block.rows * block.cols / 2 + 0.5


@pytest.mark.parametrize("name", MODELS)
def test_answers_stay_nearer_than_with_masks_by_magnitude(name: str) -> None:
    model = MODELS[name]()
    data, fresh = data_of(model, 60), data_of(model, 200)
    expected = logits(model, fresh)
    names = every_matrix(model)
    closed = prune_in_closed_form(model, data, 0.5, "4x1", matrices=names)
    plain = prune(model, 0.5, pattern="4x1", matrices=names)
    error, by_magnitude = (np.linalg.norm(logits(m, fresh) - expected) for m in (closed, plain))
    assert error < by_magnitude / 3


def test_nothing_removed_is_nothing_changed() -> None:
    model = classifier("gru", INPUTS, HIDDEN)
    data = data_of(model)
    same = prune_in_closed_form(model, data, 0.0)
    for name, array in model.weights.items():
        np.testing.assert_allclose(same.weights[name], array, rtol=0, atol=1e-5)


def test_a_seed_gives_the_same_model_again() -> None:
    model = classifier("lstm", INPUTS, HIDDEN)
    data = data_of(model)
    first, second, other = (
        prune_in_closed_form(model, data, 0.6, "4x1", steps=100, seed=seed) for seed in (3, 3, 4)
    )
    for name, array in first.weights.items():
        np.testing.assert_array_equal(array, second.weights[name])
    assert any((array != other.weights[name]).any() for name, array in first.weights.items())


def test_what_was_pruned_stays_pruned() -> None:
    model = masked(classifier("gru", INPUTS, HIDDEN), "R.0", 0.5)
    pruned = prune_in_closed_form(model, data_of(model), 0.7, "unstructured")
    assert not (pruned.masks["R.0"].keep & ~model.masks["R.0"].keep).any()
    assert not pruned.weights["R.0"][~pruned.masks["R.0"].keep].any()


def test_a_budget_for_each_matrix_is_kept_by_each() -> None:
    model = stack(("gru", "gru"), INPUTS, 8, 4, seed=0)
    pruned = prune_in_closed_form(model, data_of(model), 0.75, "unstructured", scope="matrix")
    for name in prunable(model):
        assert pruned.masks[name].keep.mean() == pytest.approx(0.25, abs=1 / pruned.masks[name].keep.size)


def test_two_of_four_vectors_stay() -> None:
    model = classifier("gru", 8, 8)
    pruned = prune_in_closed_form(model, data_of(model), pattern="2:4")
    for name in ("W.0", "R.0"):
        keep = pruned.masks[name].keep
        order = row_orders(model, Block(4, 1))[name]
        vectors: BoolArray = np.asarray(keep[order.reshape(-1, 4)].all(axis=1))
        assert (vectors.reshape(-1, 2, 4).sum(axis=2) == 2).all()


def test_refitting_helps_masks_of_any_criterion() -> None:
    model = classifier("gru", INPUTS, 16)
    data = data_of(model, 60)
    expected = logits(model, data)
    plain = prune(model, 0.5, pattern="4x1")
    fitted = refit(plain, model, data)
    error, before = (np.linalg.norm(logits(m, data) - expected) for m in (fitted, plain))
    assert error < before / 3
    for name, mask in plain.masks.items():
        np.testing.assert_array_equal(mask.keep, fitted.masks[name].keep)
        assert not fitted.weights[name][~mask.keep].any()


@pytest.mark.parametrize("seed", range(8))
def test_models_of_several_stages_and_functions_are_pruned(seed: int) -> None:
    """Shared layers, both directions, encoders and decoders: the budget is kept, every function runs."""
    random = np.random.default_rng(seed)
    model = random_structure(random)
    data = random_data(random, model)
    pruned = prune(model, 0.5, "second-order", "unstructured", data=data)
    masks = [pruned.masks[name].keep for name in prunable(model)]
    total = sum(keep.size for keep in masks)
    earlier = [model.masks[name].keep if name in model.masks else None for name in prunable(model)]
    alive = sum(k.size if e is None else int(e.sum()) for k, e in zip(masks, earlier, strict=True))
    assert sum(int(keep.sum()) for keep in masks) == min(alive, round(0.5 * total))
    for name, run in run_float_functions(pruned, data).items():
        assert all(np.isfinite(y).all() for y in run.outputs(pruned.function(name)).values())


def test_one_ranking_serves_every_fraction() -> None:
    model = classifier("gru", INPUTS, HIDDEN)
    data = data_of(model)
    ranking = rank_removals(model, data, "4x1")
    less, more = (cut(ranking, fraction) for fraction in (0.4, 0.7))
    alone = prune_in_closed_form(model, data, 0.7, "4x1")
    for name, array in alone.weights.items():
        np.testing.assert_array_equal(array, more.weights[name])
    for name, mask in more.masks.items():
        assert not (mask.keep & ~less.masks[name].keep).any()


def test_progress_is_told() -> None:
    model, seen = classifier("gru", INPUTS, HIDDEN), list[tuple[str, int, int]]()
    prune_in_closed_form(model, data_of(model), 0.5, on_progress=lambda *step: seen.append(step))
    assert seen[0][0] == "removing from R.0"
    assert seen[-1] == ("fitting", 2, 3)


# --- refusals, and torch ----------------------------------------------------------------------------------


def test_a_convolution_in_groups_is_refused_by_name() -> None:
    model = windowed()
    (stage,) = model.main.stages
    random = np.random.default_rng(0)
    ops = list(stage.ops)
    ops[2] = Take("t", Value("q", (3, 2)), tuple(range(6)))
    ops[3] = Conv("q", Value("c", (2, 4)), "K", "Kb", (1,), (1,), ((0, 0),), 2)
    grouped = replace(model, functions=(replace(model.main, stages=(replace(stage, ops=tuple(ops)),)),))
    grouped = verify(grouped.with_weights({"K": weight(random, 4, 2, 1), "Kb": weight(random, 4)}))
    with pytest.raises(StepcellError, match=r"'K' is a convolution in 2 groups.*\nHint: leave it out"):
        prune_in_closed_form(grouped, data_of(grouped), 0.5, matrices=["K"])


def test_layers_that_share_one_of_two_matrices_are_refused_by_name() -> None:
    model = stack(("rnn-tanh", "rnn-tanh"), HIDDEN, HIDDEN, 4, seed=0)
    (stage,) = model.main.stages
    second = replace(stage.ops[1], recurrent_weights="R.0")  # type: ignore[arg-type]
    stage = replace(stage, ops=(stage.ops[0], second))
    tied = replace(model, functions=(replace(model.main, stages=(stage,)),))
    with pytest.raises(StepcellError, match=r"several layers use 'R\.0'"):
        prune_in_closed_form(tied, data_of(tied), 0.5)


def test_it_runs_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = classifier("gru", INPUTS, HIDDEN)
    data = data_of(model)
    plain = prune_in_closed_form(model, data, 0.5, sensitivity="none")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))
    without = prune_in_closed_form(model, data, 0.5)
    for name, array in plain.weights.items():
        np.testing.assert_array_equal(array, without.weights[name])
    code = "import sys, stepcell.compress.second_order; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_sharing_a_matrix_adds_up_what_both_places_read() -> None:
    """One layer used twice has one set of rows, fitted to all of its samples."""
    model = stack(("rnn-tanh", "rnn-tanh"), HIDDEN, HIDDEN, 4, seed=0)
    (stage,) = model.main.stages
    parts = {"input_weights": "W", "recurrent_weights": "R", "input_bias": "Wb", "recurrent_bias": "Rb"}
    same = {field: f"{part}.0" for field, part in parts.items()}
    stage = replace(stage, ops=(stage.ops[0], replace(stage.ops[1], **same)))  # type: ignore[arg-type]
    tied = replace(model, functions=(replace(model.main, stages=(stage,)),))
    data = data_of(tied)
    (found,) = layers_of(tied, ["R.0"])
    samples = samples_of(tied, found, record(tied, data, found.sites), {}, 10**9, 0)
    assert samples.importance.shape == (HIDDEN, 2 * int(data.lengths.sum()))
    assert len(recurrent_ops(tied)) == 2
    pruned = prune_in_closed_form(tied, data, 0.5, "4x1", matrices=["W.0", "R.0"])
    plain = prune(tied, 0.5, pattern="4x1", matrices=["W.0", "R.0"])
    expected = logits(tied, data)
    error, before = (np.linalg.norm(logits(m, data) - expected) for m in (pruned, plain))
    assert error < before / 3


# --- trained networks -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vowels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Sequences, Sequences]:
    """A GRU-32 that knows nine speakers, its training data without labels, the test data."""
    torch.set_num_threads(1)
    training, test = load()
    network, _ = train_classifier("gru", training, seed=0)
    path = tmp_path_factory.mktemp("vowels") / "model.onnx"
    export_onnx(network, path)
    return (
        import_model(path),
        Sequences(training.x, training.lengths),
        Sequences(test.x, test.lengths, test.y),
    )


def accuracy(model: Model, test: Sequences) -> float:
    answers = run_float(model, test.x, test.lengths).outputs(model.main)[model.main.outputs[0]]
    return float(np.mean(answers.argmax(axis=1) == test.y))


@pytest.mark.parametrize(("pattern", "fraction"), [("unstructured", 0.8), ("4x1", 0.75), ("4x2", 0.5)])
def test_speakers_are_still_known_without_any_training(
    vowels: tuple[Model, Sequences, Sequences], pattern: str, fraction: float
) -> None:
    """Within a point of the dense model, where masks by magnitude alone lose 10 to 40 points."""
    model, clips, test = vowels
    dense = accuracy(model, test)
    assert dense >= 0.97
    assert accuracy(prune(model, fraction, pattern=pattern), test) < dense - 0.1
    assert accuracy(prune_in_closed_form(model, clips, fraction, pattern), test) >= dense - 0.01


def test_masks_by_magnitude_recover_by_refitting(vowels: tuple[Model, Sequences, Sequences]) -> None:
    model, clips, test = vowels
    plain = prune(model, 0.8, pattern="unstructured")
    assert accuracy(plain, test) < 0.8
    assert accuracy(refit(plain, model, clips, rounds=3), test) > 0.95
