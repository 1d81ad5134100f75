"""Schedules with retraining: lottery tickets rewind, the group lasso empties groups, units train smaller."""

import numpy as np
import pytest
import torch

from stepcell.compress import GroupLasso, prune, prune_and_retrain
from stepcell.compress.lottery import lottery_ticket, reinitialized, rewound
from stepcell.compress.prune import prunable
from stepcell.compress.training import Training, trained
from stepcell.errors import StepcellError
from stepcell.ir import Model
from stepcell.train import Noise, fit, from_module, score, to_module
from training_models import classifier, masked, speakers, stack

TRAIN, VALIDATION = speakers(64, seed=0), speakers(64, seed=1)


@pytest.fixture(scope="module")
def source() -> Model:
    model = classifier(hidden=12)
    module = to_module(model)
    fit(module, TRAIN, VALIDATION, epochs=12, batch_size=16, learning_rate=0.03)
    return from_module(module, model)


def training(teacher: Model, epochs: int = 6) -> Training:
    return Training(TRAIN, VALIDATION, teacher, epochs, batch_size=16, noise=Noise(0.1, 0.1))


def density(model: Model) -> float:
    keeps = [mask.keep for mask in model.masks.values()]
    return float(sum(k.sum() for k in keeps) / sum(k.size for k in keeps))


def accuracy(model: Model) -> float:
    return score(to_module(model), VALIDATION).accuracy or 0.0


@pytest.mark.parametrize("schedule", ["gradual", "one-shot", "lasso", "lottery"])
def test_every_schedule_reaches_the_density_and_the_accuracy(source: Model, schedule: str) -> None:
    found = prune_and_retrain(
        source,
        TRAIN,
        VALIDATION,
        0.8,
        "4x1",
        schedule=schedule,  # type: ignore[arg-type]
        epochs=10,
        batch_size=16,
        noise=Noise(0.1, 0.1),
    )
    assert density(found) == pytest.approx(0.2, abs=0.01)
    assert accuracy(found) > 0.95


def test_a_lottery_ticket_is_the_early_weights_under_the_masks_of_the_trained() -> None:
    early, later = classifier(seed=1), prune(classifier(seed=2), 0.75, pattern="4x1")
    ticket = rewound(early, later)
    for name in prunable(early):
        keep = later.masks[name].keep
        np.testing.assert_array_equal(ticket.weights[name], early.weights[name] * keep)
    np.testing.assert_array_equal(ticket.weights["D"], early.weights["D"])


def test_each_round_prunes_the_same_share_and_starts_from_the_same_early_weights() -> None:
    start, seen = classifier(hidden=12), list[tuple[Model, float]]()
    early = trained(start, training(start).part("early", 1))

    def remove(model: Model, fraction: float) -> Model:
        seen.append((model, fraction))
        return prune(model, fraction, pattern="4x1")

    options = training(start)
    ticket = lottery_ticket(start, options, remove, 0.875, rounds=3)
    assert [fraction for _, fraction in seen] == pytest.approx([0.5, 0.75, 0.875])
    first = prune(trained(early, options.part("round1", 6)), 0.5, pattern="4x1")
    second = trained(rewound(early, first), options.part("round2", 6))
    for name, array in second.weights.items():  # what the second round brought came from the early weights
        np.testing.assert_array_equal(seen[1][0].weights[name], array)
    assert density(ticket) == pytest.approx(0.125, abs=0.01)


def test_reinitialized_weights_are_new_and_in_torchs_range() -> None:
    model = masked(stack(("gru", "lstm"), 3, 16, 4, seed=0), "R.0", 0.5)
    new = reinitialized(model, seed=1)
    for name, array in new.weights.items():
        bound = 1 / 4  # 16 units, and 16 inputs of the dense layer
        assert np.abs(array).max() <= bound
        assert np.abs(array).max() > 0.6 * bound
        assert (array[array != 0] != model.weights[name][array != 0]).all()
    assert not new.weights["R.0"][~model.masks["R.0"].keep].any()
    np.testing.assert_array_equal(reinitialized(model, seed=1).weights["D"], new.weights["D"])


def test_a_lottery_without_rounds_is_refused() -> None:
    with pytest.raises(StepcellError, match="0 rounds prune nothing"):
        lottery_ticket(classifier(), training(classifier()), lambda m, _: m, 0.5, rounds=0)


def test_the_penalty_is_the_weighted_sum_of_the_norms_of_blocks() -> None:
    model = classifier("rnn-tanh", inputs=4, hidden=4)
    weights = {"W.0": np.zeros((4, 4)), "R.0": np.zeros((4, 4))}
    weights["W.0"][:2, :2], weights["R.0"][3, 3] = [[1, 2], [2, 4]], 3.0
    model = model.with_weights(weights)
    lasso = GroupLasso(model, to_module(model), "2x2", strength=0.1)
    assert float(lasso.penalty().detach()) == pytest.approx(0.1 * 2 * (5 + 3), rel=1e-5)


def test_the_penalty_of_units_counts_rows_and_columns() -> None:
    model = classifier("rnn-tanh", inputs=2, hidden=3)
    weights = {"W.0": np.zeros((3, 2)), "R.0": np.zeros((3, 3)), "D": np.zeros((4, 3))}
    weights["W.0"][1], weights["R.0"][1, 2] = [2.0, 1.0], 2.0
    model = model.with_weights(weights)
    norms = GroupLasso(model, to_module(model), "units").norms().detach().numpy()
    np.testing.assert_allclose(sorted(norms), [0.0, 2.0, 3.0], atol=2e-6)  # R[1, 2]: unit 1's row, 2's column


@pytest.mark.parametrize(("pattern", "strength", "share"), [("4x1", 3e-3, 1 / 2), ("units", 1e-2, 1 / 6)])
def test_the_lasso_drives_groups_to_nothing(
    source: Model, pattern: str, strength: float, share: float
) -> None:
    """The norm at the given share of the groups, of the largest one's, with the penalty and without."""
    left = {}
    for penalised in (True, False):
        module = to_module(source)
        lasso = GroupLasso(source, module, pattern, strength=strength)
        fit(
            module,
            TRAIN,
            VALIDATION,
            epochs=40,
            batch_size=16,
            learning_rate=0.01,
            select_from=39,
            penalty=lasso.penalty if penalised else None,
        )
        norms = np.sort(lasso.norms().detach().numpy())
        left[penalised] = norms[round(share * len(norms)) - 1] / norms[-1]
        assert (score(module, VALIDATION).accuracy or 0) > 0.95
    assert left[True] < 0.02
    assert left[False] > 0.1


def test_a_user_adds_the_penalty_to_a_loop_of_their_own(source: Model) -> None:
    module = to_module(source)
    lasso = GroupLasso(source, module, "4x1", strength=1e-3)
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    x, y = torch.from_numpy(TRAIN.x), torch.from_numpy(np.asarray(TRAIN.y))
    before = float(lasso.penalty().detach())
    for _ in range(60):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(module.logits(x), y) + lasso.penalty()
        torch.autograd.backward(loss)
        optimizer.step()
    assert float(lasso.penalty().detach()) < 0.4 * before
    sparse = prune(from_module(module, source), 0.6, "weight-cost", "4x1")
    assert accuracy(sparse) > 0.95


@pytest.mark.parametrize("schedule", ["one-shot", "lasso"])
def test_units_leave_and_the_smaller_model_is_trained(source: Model, schedule: str) -> None:
    small = prune_and_retrain(
        source,
        TRAIN,
        VALIDATION,
        0.8,
        "units",
        schedule=schedule,  # type: ignore[arg-type]
        epochs=10,
        batch_size=16,
        noise=Noise(0.1, 0.1),
    )
    assert small.weights["R.0"].shape == (12, 4)
    assert not small.masks
    assert accuracy(small) > 0.95


@pytest.mark.parametrize("schedule", ["gradual", "lottery"])
def test_schedules_of_masks_refuse_units(schedule: str) -> None:
    with pytest.raises(StepcellError, match=f"'{schedule}' masks weights, and 'units' are removed"):
        prune_and_retrain(classifier(), TRAIN, VALIDATION, 0.8, "units", schedule=schedule)  # type: ignore[arg-type]


def test_an_unknown_schedule_is_named_with_those_that_there_are() -> None:
    with pytest.raises(StepcellError, match=r"'slow' is no schedule(.|\n)*gradual, one-shot, lottery, lasso"):
        prune_and_retrain(classifier(), TRAIN, VALIDATION, 0.8, schedule="slow")  # type: ignore[arg-type]
