"""`prune_and_retrain`: pruning with training around it, by one of four schedules. Needs torch."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stepcell.compress.budget import DEFAULT_FRACTION, DEFAULT_PATTERN, Scope
from stepcell.compress.gradients import Movement
from stepcell.compress.gradual import GradualPruner
from stepcell.compress.importance import Criterion
from stepcell.compress.lasso import GroupLasso
from stepcell.compress.lottery import lottery_ticket
from stepcell.compress.pattern import Pattern, Units
from stepcell.compress.prune import prune
from stepcell.compress.training import Training, trained
from stepcell.errors import StepcellError
from stepcell.ir.model import Model
from stepcell.ir.sequences import Sequences

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor

    from stepcell.train import Epoch, Noise

Schedule = Literal["gradual", "one-shot", "lottery", "lasso"]
SCORED = 256
"""Sequences that a criterion is computed on while training."""
SCHEDULES: tuple[Schedule, ...] = ("gradual", "one-shot", "lottery", "lasso")


def prune_and_retrain(
    model: Model,
    train: Sequences,
    validation: Sequences,
    fraction: float | None = None,
    pattern: str | Pattern | Units = DEFAULT_PATTERN,
    *,
    schedule: Schedule = "gradual",
    epochs: int = 100,
    seed: int = 0,
    learning_rate: float = 2e-2,
    batch_size: int = 32,
    weight_decay: float = 1e-2,
    noise: "Noise | None" = None,
    distill: float = 0.5,
    ramp: float = 0.4,
    lasso: float = 1e-4,
    criterion: str | Criterion = "magnitude",
    scope: Scope = "global",
    gates: Mapping[str, float] | None = None,
    keep_diagonal: bool = False,
    matrices: Sequence[str] | None = None,
    patience: int | None = None,
    checkpoint: Path | None = None,
    device: str = "auto",
    console: "Console | None" = None,
    on_epoch: "Callable[[Epoch], None] | None" = None,
    loss: "Callable[[Tensor, Tensor], Tensor] | None" = None,
) -> Model:
    """Prune, and train the model again so that what is left makes up for it.

    schedule: "gradual" prunes step by step over the first `ramp` (0-1) of the epochs and then fine-tunes;
    "one-shot" prunes first and fine-tunes for all epochs; "lasso" trains for `ramp` of the epochs with the
    group lasso of strength `lasso`, prunes the smallest groups and fine-tunes; "lottery" trains, prunes and
    rewinds to the early weights, four times, each for all epochs (give it a model before its training, or
    `lottery.reinitialized`). With the pattern "units" a smaller model is trained, by "one-shot" or "lasso";
    what its units were worth is folded into it first, with the training data.

    The epoch with the lowest validation loss after pruning is kept. `distill` (0-1) is the weight of the
    dense model's own answers in the loss; for float targets it is left out. `noise` is by default that of
    `train.Noise()`; `loss` (judged rows, labels) takes the place of the usual one. The rest is as in
    `train.fit` and `prune`, and so are the errors.

    The defaults come from the mean validation loss of eight seeds on JapaneseVowels (GRU-32, a quarter of
    the weights in 4x2 blocks): 0.034, against 0.044 without distillation, 0.072 without it and with 60
    epochs, and then 0.178 at a learning rate of 5e-3 or 0.163 with a budget for each matrix. A rate of 3e-2
    reached 0.025; 2e-2 leaves a margin for models that train less smoothly.
    """
    training = Training(
        train,
        validation,
        model,
        epochs,
        seed,
        learning_rate,
        batch_size,
        weight_decay,
        noise,
        distill,
        patience,
        checkpoint,
        device,
        console,
        on_epoch,
        loss,
    )
    where: dict[str, Any] = {"scope": scope, "gates": gates, "keep_diagonal": keep_diagonal}
    where |= {"matrices": matrices, "seed": seed}

    def remove(from_model: Model, removed: float | None, by: str | Criterion = criterion) -> Model:
        return prune(from_model, removed, by, pattern, data=train, **where)

    _check(schedule, pattern)
    match schedule:
        case "gradual":
            return _gradual(model, training, _ramp_epochs(epochs, ramp), fraction, pattern, criterion, where)
        case "one-shot":
            return trained(remove(model, fraction), training)
        case "lottery":
            return lottery_ticket(model, training, remove, DEFAULT_FRACTION if fraction is None else fraction)
        case "lasso":
            first = _ramp_epochs(epochs, ramp)
            sparse = _shrunk(model, training.part("lasso", first), pattern, lasso, matrices)
            return trained(remove(sparse, fraction, "weight-cost"), training.part("tuned", epochs - first))


def _check(schedule: str, pattern: str | Pattern) -> None:
    if schedule not in SCHEDULES:
        raise StepcellError(f"retraining: '{schedule}' is no schedule.", f"there are {', '.join(SCHEDULES)}.")
    if pattern == "units" and schedule in ("gradual", "lottery"):
        raise StepcellError(
            f"retraining: the schedule '{schedule}' masks weights, and 'units' are removed.",
            'use schedule="one-shot" or "lasso".',
        )


def _gradual(
    model: Model,
    training: Training,
    ramp_epochs: int,
    fraction: float | None,
    pattern: str | Pattern,
    criterion: str | Criterion,
    where: Mapping[str, Any],
) -> Model:
    from stepcell.train import to_module

    module = to_module(model)
    steps_per_epoch = math.ceil(len(training.data) / training.batch_size)
    movement = Movement(module, model) if criterion == "movement" else None
    pruner = GradualPruner(
        model,
        module,
        fraction,
        pattern,
        end=ramp_epochs * steps_per_epoch,
        interval=math.ceil(steps_per_epoch / 4),
        criterion=movement or criterion,
        data=_sample(training.data, training.seed),
        **where,
    )
    return trained(
        model,
        training,
        module=module,
        select_from=ramp_epochs,
        watching={"movement": movement} if movement is not None else None,
        on_step=lambda step, _: pruner.update(step),
    )


def _sample(data: Sequences, seed: int) -> Sequences:
    """What criteria see every time that masks are chosen anew: some of the training data."""
    order = np.random.default_rng(seed).permutation(len(data))
    return data.take(np.sort(order[:SCORED]))


def _shrunk(
    model: Model,
    training: Training,
    pattern: str | Pattern,
    strength: float,
    matrices: Sequence[str] | None,
) -> Model:
    """The model trained under the group lasso; the last epoch counts, whose groups have shrunk the most."""
    from stepcell.train import to_module

    module = to_module(model)
    lasso = GroupLasso(model, module, pattern, strength=strength, matrices=matrices)
    return trained(model, training, module=module, select_from=training.epochs - 1, penalty=lasso.penalty)


def _ramp_epochs(epochs: int, ramp: float) -> int:
    if epochs < 2 or not 0.0 < ramp < 1.0:
        raise StepcellError(
            f"retraining: {epochs} epochs with a ramp of {ramp} leave none to prune or to fine-tune.",
            "give at least 2 epochs and a ramp between 0 and 1, such as 0.4.",
        )
    return min(max(round(ramp * epochs), 1), epochs - 1)
