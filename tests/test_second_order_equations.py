"""Second-order pruning: removals, fits, operands and sensitivities against brute force."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pruned_models import MODELS, closed, data_of, sigmoid
from stepcell.compress.operands import matrix_sites, record
from stepcell.compress.second_order.fit import fitted_rows
from stepcell.compress.second_order.layers import heads_of, layers_of
from stepcell.compress.second_order.removal import Blocks, dampings, removal_scores
from stepcell.compress.second_order.samples import Part, Samples, samples_of
from stepcell.ir.graph import reads
from stepcell.ir.model import BoolArray, FloatArray
from stepcell.ir.ops import Activate, Conv, Dense, Gru, Lstm, Value
from stepcell.ir.sequences import Sequences
from stepcell.reference.float_model import run_float
from stepcell.train.sensitivity import output_sensitivity
from training_models import classifier, layer, ragged, weight

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
    model = closed((op,), part, {**weights, "D": weight(random, 4, 4), "Db": weight(random, 4)}, (3,))
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
    model = closed(ops, part, {**weights, "Db": weight(random, 4), **part.weights}, (5,))
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
