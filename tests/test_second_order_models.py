"""Second-order pruning of whole models: masks, budgets, refusals, and what speech keeps."""

import importlib.util
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from japanese_vowels.data import load
from japanese_vowels.train import train_classifier
from pruned_models import (
    BLOCKS,
    HIDDEN,
    INPUTS,
    MODELS,
    data_of,
    logits,
    windowed,
)
from random_structures import random_data, random_structure
from sequences.export import export_onnx
from stepcell.compress import prune
from stepcell.compress.operands import matrix_sites, record
from stepcell.compress.pattern import block_index
from stepcell.compress.prune import prunable, row_orders
from stepcell.compress.second_order import cut, prune_in_closed_form, rank_removals, refit
from stepcell.compress.second_order.layers import layers_of
from stepcell.compress.second_order.samples import samples_of
from stepcell.errors import StepcellError
from stepcell.importers import import_model
from stepcell.ir import Block, Model, verify
from stepcell.ir.graph import matrices
from stepcell.ir.model import BoolArray, recurrent_ops
from stepcell.ir.ops import Conv, Take, Value
from stepcell.ir.sequences import Sequences
from stepcell.reference.float_model import run_float, run_float_functions
from training_models import classifier, masked, stack, weight

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
