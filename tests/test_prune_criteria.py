"""Every criterion against a computation by hand, or against what happens when the weight is removed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from stepcell.compress import CRITERIA, prune
from stepcell.compress.gradients import Movement, with_answers
from stepcell.compress.importance import per_gate
from stepcell.errors import StepcellError
from stepcell.ir import Model
from stepcell.ir.model import FloatArray
from stepcell.ir.sequences import Sequences
from stepcell.reference.float_model import run_float
from stepcell.train import fit, from_module, score, to_module
from training_models import classifier, ragged, speakers, stack

DATA = speakers(24, seed=0)
MODEL = stack(("lstm", "gru"), 3, 6, 4, seed=1)
NAMES = {"W.0", "R.0", "W.1", "R.1", "D"}


def scores(name: str, model: Model = MODEL, data: Sequences | None = DATA) -> dict[str, FloatArray]:
    return dict(CRITERIA[name](model, data))


@pytest.mark.parametrize("name", CRITERIA)
def test_every_criterion_scores_every_matrix(name: str) -> None:
    found = scores(name)
    assert set(found) == NAMES
    assert all(found[n].shape == MODEL.weights[n].shape and np.isfinite(found[n]).all() for n in NAMES)


def test_random_scores_are_those_of_the_seed() -> None:
    masks = [prune(MODEL, 0.5, "random", "unstructured", seed=seed).masks["R.0"].keep for seed in (1, 1, 2)]
    assert (masks[0] == masks[1]).all()
    assert (masks[0] != masks[2]).any()


def test_magnitude_weight_cost_and_largest_first_by_hand() -> None:
    model = MODEL.with_weights({"D": np.array([[3.0, -4.0, 0.0, 1.0, 2.0, -2.0]] * 4)})
    assert scores("magnitude", model)["D"][0].tolist() == [3, 4, 0, 1, 2, 2]
    assert scores("weight-cost", model)["D"][0].tolist() == [9, 16, 0, 1, 4, 4]
    assert scores("largest-first", model)["D"][0].tolist() == [-3, -4, 0, -1, -2, -2]


def test_largest_first_removes_the_largest() -> None:
    pruned = prune(MODEL, 0.25, "largest-first", "unstructured", matrices=["W.0"])
    w, keep = np.abs(MODEL.weights["W.0"]), pruned.masks["W.0"].keep
    assert w[~keep].min() >= w[keep].max()


def test_average_magnitude_removes_below_one_multiple_of_each_gates_mean() -> None:
    w = MODEL.weights["R.0"] * np.repeat([1.0, 10.0, 0.1, 5.0], 6)[:, None]  # gates of different size
    model = MODEL.with_weights({"R.0": w})
    keep = prune(model, 0.5, "average-magnitude", "unstructured", matrices=["R.0"]).masks["R.0"].keep
    relative = np.abs(w).reshape(4, -1) / np.abs(w).reshape(4, -1).mean(axis=1, keepdims=True)
    threshold = relative[keep.reshape(4, -1)].min()
    assert (keep.reshape(4, -1) == (relative >= threshold)).all()
    assert (keep.reshape(4, -1).sum(axis=1) > 0).all()  # magnitude would have removed gates 0 and 2 whole


def test_scores_can_be_normalised_per_gate() -> None:
    found = per_gate(CRITERIA["activity"])(MODEL, DATA)
    for name, gates in {"W.0": 4, "R.0": 4, "W.1": 3, "R.1": 3, "D": 1}.items():
        np.testing.assert_allclose(found[name].reshape(gates, -1).mean(axis=1), 1.0)


def _inputs(model: Model, data: Sequences) -> dict[str, FloatArray]:
    """What every matrix of MODEL multiplies at every valid step, from the interpreter's records."""
    run = run_float(model, data.x, data.lengths, keep=("h0_next", "h1_next"))
    valid = np.arange(data.x.shape[1]) < data.lengths[:, None]
    starts = {name: np.tile(model.state(name).initial, (len(data), 1, 1)) for name in ("h0", "h1")}
    before = {n: np.concatenate([starts[n], run.steps[f"{n}_next"][:, :-1]], axis=1) for n in ("h0", "h1")}
    return {
        "W.0": data.x[valid].astype(np.float64),
        "R.0": before["h0"][valid],
        "W.1": run.steps["h0_next"][valid],
        "R.1": before["h1"][valid],
        "D": run.ends["h1"],
    }


def test_activity_is_magnitude_times_the_rms_of_the_input() -> None:
    found = scores("activity")
    for name, x in _inputs(MODEL, DATA).items():
        expected = np.abs(MODEL.weights[name]) * np.sqrt((x**2).mean(axis=0))
        np.testing.assert_allclose(found[name], expected, rtol=1e-12)


def test_activity_of_a_reset_gated_matrix_counts_the_gate() -> None:
    model = classifier("gru-lbr0", inputs=3, hidden=5)
    gate = slice(5, 10)
    closed = {n: model.weights[n].copy() for n in ("W.0", "R.0", "Wb.0")}
    closed["W.0"][gate], closed["R.0"][gate], closed["Wb.0"][gate] = 0.0, 0.0, -30.0  # r = 1e-13
    ratio = scores("activity", model.with_weights(closed))["R.0"] / np.abs(closed["R.0"]).clip(1e-9)
    assert ratio[10:].max() < 1e-12
    assert ratio[:5].min() > 1e-3


def test_structural_cost_is_w_times_the_share_of_its_row() -> None:
    w = np.array([[1.0, -3.0, 0.0, 4.0, 0.0, 2.0]] * 4)
    found = scores("structural-cost", MODEL.with_weights({"D": w}), None)["D"]
    np.testing.assert_allclose(found[0], np.abs(w[0]) * np.abs(w[0]) / 10.0)


def test_taylor_is_the_gradient_of_the_loss_times_the_weight() -> None:
    data = DATA.take(np.arange(20))  # one batch
    module = to_module(MODEL)
    logits = module.logits(torch.from_numpy(data.x), torch.from_numpy(data.lengths))
    loss = cross_entropy(logits, torch.from_numpy(np.asarray(data.y)))
    parameter = module.parameter("R.1")
    (gradient,) = torch.autograd.grad(loss, [parameter])
    expected = (gradient * parameter).abs().detach().numpy()
    np.testing.assert_allclose(scores("taylor", data=data)["R.1"], expected, rtol=1e-5, atol=1e-9)


def test_taylor_without_labels_asks_the_model_itself() -> None:
    unlabelled = replace(DATA, y=None)
    answered = with_answers(MODEL, unlabelled, seed=0)
    assert np.asarray(answered.y).shape == (24,)
    assert any(s.any() for s in scores("taylor", data=unlabelled).values())


def test_drawn_answers_follow_the_models_probabilities() -> None:
    model = classifier()
    many = ragged(1, 5, (3,), seed=4).take(np.zeros(4000, np.int64))
    drawn = np.bincount(np.asarray(with_answers(model, many, seed=1).y), minlength=4) / 4000
    expected = run_float(model, many.x[:1], many.lengths[:1]).ends["y"][0]
    assert np.abs(drawn - expected).max() < 0.03  # 3.8 standard deviations


def test_movement_adds_up_weight_times_gradient_of_every_step() -> None:
    model = classifier()
    module = to_module(model)
    watching = Movement(module, model)
    expected = np.zeros((24, 8))

    def note(*_: int) -> None:
        nonlocal expected
        gradient = module.parameter("R.0").grad
        assert gradient is not None
        expected = expected - (before[-1] * gradient).double().numpy()
        before.append(module.parameter("R.0").detach().clone())

    before = [module.parameter("R.0").detach().clone()]
    fit(module, DATA, DATA, epochs=2, batch_size=8, learning_rate=1e-3, on_step=note)
    np.testing.assert_allclose(watching(model)["R.0"], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["activity", "taylor", "movement"])
def test_a_criterion_that_needs_data_says_so(name: str) -> None:
    with pytest.raises(StepcellError, match=f"criterion '{name}' needs calibration data"):
        prune(MODEL, 0.5, name)


def test_an_unknown_criterion_is_named_with_those_that_there_are() -> None:
    with pytest.raises(StepcellError, match=r"'biggest' is no criterion(.|\n)*largest-first, second-order"):
        prune(MODEL, 0.5, "biggest")


def test_a_function_is_a_criterion() -> None:
    wanted = np.zeros((24, 3))
    wanted[7, 2] = 1.0
    pruned = prune(MODEL, 71 / 72, lambda *_: {"W.0": wanted}, "unstructured", matrices=["W.0"])
    assert np.argwhere(pruned.masks["W.0"].keep).tolist() == [[7, 2]]


def test_informed_criteria_beat_random_and_largest_first_loses() -> None:
    model = classifier(hidden=12)
    module, train = to_module(model), speakers(64, seed=0)
    fit(module, train, DATA, epochs=12, batch_size=16, learning_rate=0.03)
    trained = from_module(module, model)
    loss = {
        name: score(to_module(prune(trained, 0.5, name, "unstructured", data=train)), DATA).loss
        for name in ("random", "magnitude", "activity", "taylor", "structural-cost", "largest-first")
    }
    informed = max(loss[n] for n in ("magnitude", "activity", "taylor", "structural-cost"))
    assert informed < 0.5 * loss["random"]
    assert loss["largest-first"] > loss["random"]
