"""Trainings that stop early, are killed and go on, show progress, and bring back what was watched."""

import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from stepcell.compress import prune_and_retrain
from stepcell.errors import StepcellError
from stepcell.ir import Model
from stepcell.train import Epoch, History, Noise, StepModule, fit, from_module, to_module
from stepcell.train.loop import device_named
from training_models import classifier, speakers

TRAIN, VALIDATION = speakers(48, seed=0), speakers(48, seed=1)
KILLED = """
import os, signal, sys
from pathlib import Path
from stepcell.train import Noise
from test_train_checkpoint import {call}
steps = 0
def on_step(step, _):
    if step == {step}:
        os.kill(os.getpid(), signal.SIGKILL)
{call}(Path({path!r}), on_step)
"""


def trained(path: Path | None, on_step: object = None) -> Model:
    """Six epochs of six steps, with noise."""
    model = classifier()
    module = to_module(model)
    fit(
        module,
        TRAIN,
        VALIDATION,
        epochs=6,
        batch_size=8,
        seed=3,
        noise=Noise(0.1, 0.1),
        checkpoint=path,
        on_step=on_step,  # type: ignore[arg-type]
    )
    return from_module(module, model)


def pruned(path: Path | None, on_step: object = None) -> Model:
    """Gradual pruning by movement, over six epochs of six steps; `on_step` hears of every epoch's end."""

    def on_epoch(epoch: Epoch) -> None:
        if on_step is not None:
            on_step(6 * epoch.number, 36)  # type: ignore[operator]

    return prune_and_retrain(
        classifier(),
        TRAIN,
        VALIDATION,
        0.75,
        "4x1",
        epochs=6,
        batch_size=8,
        criterion="movement",
        checkpoint=path,
        on_epoch=on_epoch,
    )


def _kill(call: str, path: Path, step: int) -> None:
    code = KILLED.format(call=call, path=str(path), step=step)
    killed = subprocess.run([sys.executable, "-c", code], check=False, env={"PYTHONPATH": ":".join(sys.path)})
    assert killed.returncode == -9


def assert_equal(found: Model, expected: Model) -> None:
    for name, array in expected.weights.items():
        np.testing.assert_array_equal(found.weights[name], array)
    for name, mask in expected.masks.items():
        np.testing.assert_array_equal(found.masks[name].keep, mask.keep)


@pytest.mark.parametrize(("call", "step"), [(trained, 20), (pruned, 18)])
def test_a_training_killed_in_an_epoch_goes_on_to_the_very_same_weights(
    tmp_path: Path, call: object, step: int
) -> None:
    torch.set_num_threads(1)
    path = tmp_path / "training.pt"
    _kill(call.__name__, path, step)  # type: ignore[attr-defined]
    assert path.exists()
    assert_equal(call(path), call(None))  # type: ignore[operator]


def test_a_training_that_has_ended_is_not_run_again(tmp_path: Path) -> None:
    path, steps = tmp_path / "training.pt", list[int]()
    first = trained(path)
    assert_equal(trained(path, lambda step, _: steps.append(step)), first)
    assert steps == []


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "training.pt"
    trained(path)
    with pytest.raises(StepcellError, match=r"training.pt: .*with epochs=6, .*, not epochs=7"):
        fit(to_module(classifier()), TRAIN, VALIDATION, epochs=7, batch_size=8, seed=3, checkpoint=path)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "training.pt"
    path.write_bytes(b"something else")
    with pytest.raises(StepcellError, match="it holds no checkpoint"):
        trained(path)


def test_a_checkpoint_is_whole_at_every_moment(tmp_path: Path) -> None:
    path, seen = tmp_path / "training.pt", list[int]()

    def on_step(*_: int) -> None:
        if path.exists():
            seen.append(len(torch.load(path, weights_only=True)["rest"]["seen"]))
            assert not (tmp_path / "training.pt.partial").exists()

    trained(path, on_step)
    assert sorted(set(seen)) == [1, 2, 3, 4, 5]


def test_a_checkpoint_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StepcellError, match=r"file/training\.pt: the checkpoint cannot be written"):
        trained(tmp_path / "file" / "training.pt")


def _fit(patience: int | None, select_from: int = 0) -> tuple[StepModule, History]:
    """A training whose validation loss soon rises: the labels of what it is judged by are shuffled."""
    module = to_module(classifier())
    wrong = speakers(48, seed=1)
    np.random.default_rng(0).shuffle(np.asarray(wrong.y))
    options = {"epochs": 20, "batch_size": 8, "learning_rate": 0.03}
    return module, fit(module, TRAIN, wrong, patience=patience, select_from=select_from, **options)  # type: ignore[arg-type]


def test_patience_ends_a_training_that_gets_no_better() -> None:
    (patient, whole), (impatient, stopped) = _fit(None), _fit(3)
    assert len(whole.epochs) == 20
    assert len(stopped.epochs) == stopped.best + 4 < 20
    assert stopped.epochs == whole.epochs[: len(stopped.epochs)]
    if whole.best == stopped.best:
        assert all((a == b).all() for a, b in zip(patient.parameters(), impatient.parameters(), strict=True))


def test_patience_counts_from_the_epoch_that_can_be_kept() -> None:
    _, history = _fit(2, select_from=10)
    assert history.best >= 10
    assert len(history.epochs) >= 13


def test_progress_shows_losses_accuracy_and_density() -> None:
    text = StringIO()
    console = Console(file=text, width=160, force_terminal=True)
    prune_and_retrain(classifier(), TRAIN, VALIDATION, 0.75, "4x1", epochs=2, batch_size=16, console=console)
    shown = text.getvalue()
    assert "2/2" in shown
    assert all(word in shown for word in ("loss ", "validation ", "accuracy ", "density 0.2"))


def test_a_penalty_is_part_of_the_loss() -> None:
    module = to_module(classifier())
    weights = module.parameter("R.0")
    before = float(weights.detach().abs().sum())
    options = {"epochs": 10, "batch_size": 8, "learning_rate": 0.03, "weight_decay": 0.0}
    fit(module, TRAIN, VALIDATION, penalty=lambda: weights.abs().sum(), select_from=9, **options)  # type: ignore[arg-type]
    assert float(weights.detach().abs().sum()) < 0.3 * before


def test_auto_is_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_named("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_named("auto").type == "cuda"
    assert device_named("cpu").type == "cpu"


def test_a_module_trains_on_the_device_that_there_is_and_comes_back() -> None:
    module = to_module(classifier())
    history = fit(module, TRAIN, VALIDATION, epochs=12, batch_size=8, learning_rate=0.03)
    assert next(module.parameters()).device.type == "cpu"
    assert (history.epochs[history.best].validation.accuracy or 0) > 0.9
