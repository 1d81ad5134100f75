"""Gradual pruning inside a training loop, and the call that prunes and retrains."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from stepcell.compress import GradualPruner, prune, prune_and_retrain
from stepcell.errors import StepcellError
from stepcell.ir import Model
from stepcell.ir.model import BoolArray
from stepcell.train import Epoch, Noise, fit, from_module, score, to_module
from training_models import classifier, masked, speakers

TRAIN, VALIDATION = speakers(64, seed=0), speakers(64, seed=1)


@pytest.fixture(scope="module")
def trained() -> Model:
    model = classifier(hidden=12)
    module = to_module(model)
    fit(module, TRAIN, VALIDATION, epochs=12, batch_size=16, learning_rate=0.03)
    return from_module(module, model)


def _retrain(model: Model, **options: Any) -> Model:
    options = {"epochs": 10, "batch_size": 16, "noise": Noise(0.1, 0.1), **options}
    return prune_and_retrain(model, TRAIN, VALIDATION, 0.8, "4x1", **options)


def _density(model: Model) -> float:
    keeps = [mask.keep for mask in model.masks.values()]
    return float(sum(k.sum() for k in keeps) / sum(k.size for k in keeps))


def test_retraining_recovers_what_one_shot_pruning_loses(trained: Model) -> None:
    retrained = _retrain(trained)
    one_shot = score(to_module(prune(trained, 0.8, pattern="4x1")), VALIDATION)
    after = score(to_module(retrained), VALIDATION)
    assert _density(retrained) == pytest.approx(0.2, abs=0.01)
    assert after.loss < 0.5 * one_shot.loss
    assert (after.accuracy or 0) > 0.9


def test_a_seed_gives_the_same_model_again(trained: Model) -> None:
    first, second = (_retrain(trained, epochs=4, seed=3) for _ in range(2))
    for name, array in first.weights.items():
        np.testing.assert_array_equal(array, second.weights[name])


def test_an_earlier_mask_survives_retraining(trained: Model) -> None:
    earlier = masked(trained, "R.0", 0.6)
    retrained = _retrain(earlier, epochs=4)
    assert not (retrained.masks["R.0"].keep & ~earlier.masks["R.0"].keep).any()


def test_progress_reaches_the_callback(trained: Model) -> None:
    seen: list[Epoch] = []
    _retrain(trained, epochs=3, on_epoch=seen.append)
    assert [epoch.number for epoch in seen] == [0, 1, 2]


@pytest.mark.parametrize("options", [{"epochs": 1}, {"ramp": 1.5}, {"ramp": 0.0}])
def test_a_schedule_without_room_to_prune_and_to_fine_tune_is_refused(
    trained: Model, options: dict[str, float]
) -> None:
    with pytest.raises(StepcellError, match="ramp"):
        _retrain(trained, **options)


def test_density_falls_step_by_step_and_pruned_weights_stay_pruned(trained: Model) -> None:
    module = to_module(trained)
    pruner = GradualPruner(trained, module, 0.75, "4x2", end=12, interval=3)
    history: list[tuple[int, BoolArray]] = []

    def on_step(step: int, _: int) -> None:
        pruner.update(step)
        history.append((step, module.get_masks()["R.0"].keep))

    fit(module, TRAIN, VALIDATION, epochs=4, batch_size=16, select_from=3, on_step=on_step)
    assert [keep.all() for _, keep in history[:3]] == [True, True, False]
    for (_, before), (_, after) in pairwise(history):
        assert not (after & ~before).any()
    assert len({keep.tobytes() for step, keep in history if step >= 12}) == 1
    assert _density(from_module(module, trained)) == pytest.approx(0.25, abs=0.02)
