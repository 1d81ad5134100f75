"""The training loop learns small tasks, repeats itself for a seed, and keeps the best epoch."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from stepcell.errors import StepcellError
from stepcell.ir import Model
from stepcell.ir.sequences import Sequences
from stepcell.train import Epoch, History, Noise, Teacher, fit, from_module, score, to_module
from training_models import classifier, masked, ragged, speakers, with_head

TRAIN, VALIDATION = speakers(64, seed=0), speakers(64, seed=1)
QUICK: dict[str, Any] = {"epochs": 12, "batch_size": 16, "learning_rate": 0.03}


def _fit(
    model: Model, data: Sequences = TRAIN, validation: Sequences = VALIDATION, **options: object
) -> History:
    return fit(to_module(model), data, validation, **{**QUICK, **options})


def _every_step(model: Model) -> Model:
    """The head moved into the stage: an output at every step."""
    (stage,) = model.main.stages
    finish = with_head(model, 0, x="h0_next").main.finish
    assert finish is not None
    stage = replace(stage, ops=(*stage.ops, *finish.ops), outputs=("y",))
    return replace(model, functions=(replace(model.main, stages=(stage,), finish=None),))


@pytest.mark.parametrize("cell", ["gru", "lstm", "gru-lbr0", "rnn-tanh"])
def test_fit_learns_a_small_task(cell: str) -> None:
    module = to_module(classifier(cell))
    before = score(module, VALIDATION)
    history = fit(module, TRAIN, VALIDATION, **QUICK, noise=Noise(0.1, 0.1))
    after = score(module, VALIDATION)
    assert before.accuracy is not None
    assert before.accuracy < 0.5
    assert after.accuracy is not None
    assert after.accuracy > 0.9
    assert after == history.epochs[history.best].validation


def test_fit_learns_labels_of_every_step() -> None:
    per_step = [replace(d, y=np.repeat(np.asarray(d.y)[:, None], 12, axis=1)) for d in (TRAIN, VALIDATION)]
    history = _fit(_every_step(classifier()), *per_step)
    assert (history.epochs[history.best].validation.accuracy or 0) > 0.8


def test_a_label_of_the_sequence_judges_the_last_step() -> None:
    model = classifier()
    last, every = (score(to_module(m), VALIDATION) for m in (model, _every_step(model)))
    assert last.loss == pytest.approx(every.loss, abs=1e-6)
    assert last.accuracy == every.accuracy


def test_fit_learns_a_yes_or_no_from_one_logit() -> None:
    binary = [replace(d, y=(np.asarray(d.y) == 3).astype(np.int64)) for d in (TRAIN, VALIDATION)]
    history = _fit(with_head(classifier(classes=1), 1, function="sigmoid"), *binary)
    assert (history.epochs[history.best].validation.accuracy or 0) > 0.9


def test_fit_learns_targets_by_squared_error() -> None:
    model = classifier()
    assert model.main.finish is not None
    finish = replace(model.main.finish, ops=model.main.finish.ops[:1], outputs=("logits",))
    model = replace(model, functions=(replace(model.main, finish=finish, outputs=("logits",)),))
    targets = [replace(d, y=np.eye(4)[np.asarray(d.y)]) for d in (TRAIN, VALIDATION)]
    history = _fit(model, *targets)
    assert history.epochs[history.best].validation.accuracy is None
    assert history.epochs[history.best].validation.loss < 0.5 * history.epochs[0].loss


def test_a_seed_gives_the_same_weights_again_and_another_seed_others() -> None:
    model = classifier()
    trained = []
    for seed in (1, 1, 2):
        module = to_module(model)
        torch.rand(1)  # the caller's own random numbers do not matter
        fit(module, TRAIN, VALIDATION, epochs=2, seed=seed, noise=Noise())
        trained.append(from_module(module, model).weights["R.0"])
    np.testing.assert_array_equal(trained[0], trained[1])
    assert (trained[0] != trained[2]).any()


def test_fit_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    _fit(classifier(), epochs=1)
    torch.testing.assert_close(torch.rand(3), expected)


def test_the_epoch_with_the_lowest_validation_loss_is_restored() -> None:
    module = to_module(classifier())
    history = fit(module, TRAIN, VALIDATION, epochs=6, learning_rate=0.3, select_from=2)
    losses = [epoch.validation.loss for epoch in history.epochs]
    assert history.best == 2 + int(np.argmin(losses[2:]))
    assert score(module, VALIDATION).loss == losses[history.best]


def test_callbacks_see_every_step_and_every_epoch() -> None:
    steps: list[tuple[int, int]] = []
    epochs: list[Epoch] = []
    history = _fit(
        classifier(), epochs=2, on_step=lambda step, of: steps.append((step, of)), on_epoch=epochs.append
    )
    assert steps == [(step, 8) for step in range(1, 9)]
    assert tuple(epochs) == history.epochs


def test_masked_weights_stay_exactly_zero_under_momentum_and_decay() -> None:
    model = masked(classifier(), "R.0", 0.3)
    module = to_module(model)
    _, keep = fit(module, TRAIN, VALIDATION, epochs=2), model.masks["R.0"].keep
    after = from_module(module, model).weights["R.0"]
    assert not after[~keep].any()
    assert (after[keep] != model.weights["R.0"][keep]).all()


def test_the_users_own_loop_trains_the_module() -> None:
    module = to_module(masked(classifier(), "W.0", 0.5))
    optimizer = torch.optim.SGD(module.parameters(), 0.5, momentum=0.9)
    x, lengths, y = (torch.from_numpy(np.asarray(a)) for a in (TRAIN.x, TRAIN.lengths, TRAIN.y))
    losses = []
    for _ in range(15):
        loss = torch.nn.functional.cross_entropy(module.logits(x, lengths), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_a_student_learns_from_its_teacher_alone() -> None:
    teacher = to_module(classifier())
    fit(teacher, TRAIN, VALIDATION, **QUICK)
    shuffled = replace(TRAIN, y=np.random.default_rng(0).permutation(np.asarray(TRAIN.y)))
    student = to_module(classifier(seed=5, hidden=6))
    fit(
        student,
        shuffled,
        VALIDATION,
        epochs=12,
        batch_size=16,
        learning_rate=0.03,
        teacher=Teacher(teacher, 1.0),
    )
    assert (score(student, VALIDATION).accuracy or 0) > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": ragged(4, 5, (3,), 0)}, "no labels"),
        ({"validation": ragged(4, 5, (3,), 0)}, "no labels"),
        ({"epochs": 0}, "of 0 epochs none"),
        ({"select_from": 12}, "of 12 epochs none from 12 on"),
        ({"data": replace(TRAIN, x=TRAIN.x * np.float32(np.nan))}, "loss is not finite"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(StepcellError, match=message):
        _fit(classifier(), **options)
