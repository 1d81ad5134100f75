"""`fit`: a training loop for classification and regression that keeps the best epoch."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from stepcell.errors import StepcellError
from stepcell.ir.sequences import Sequences
from stepcell.train import checkpoint as files
from stepcell.train.distillation import Teacher
from stepcell.train.evaluate import Objective, Score, labels, predict, score, score_by
from stepcell.train.losses import task_loss
from stepcell.train.noise import Noise, add_noise, feature_scale
from stepcell.train.progress import progress

if TYPE_CHECKING:
    from rich.console import Console

_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class Epoch:
    """One pass over the training data: its mean loss, and the score on the validation data after it."""

    number: int
    loss: float
    validation: Score


@dataclass(frozen=True)
class History:
    """Every epoch, and the number of the one whose weights were kept."""

    epochs: tuple[Epoch, ...]
    best: int


def fit(
    module: nn.Module,
    data: Sequences,
    validation: Sequences,
    *,
    epochs: int,
    batch_size: int = 32,
    learning_rate: float = 1e-2,
    seed: int = 0,
    weight_decay: float = 1e-2,
    noise: Noise | None = None,
    teacher: Teacher | None = None,
    objective: Objective | None = None,
    select_from: int = 0,
    patience: int | None = None,
    penalty: Callable[[], Tensor] | None = None,
    checkpoint: Path | None = None,
    watching: Mapping[str, files.Stateful] | None = None,
    device: str = "auto",
    console: "Console | None" = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> History:
    """Train in place with AdamW; restore the epoch with the lowest validation loss, from `select_from` on.

    Classes are learnt by cross-entropy on logits, float targets by mean squared error, each plus `penalty()`.
    An `objective` takes their place, for training and validation; the data then needs no labels.
    The learning rate rises to `learning_rate` over the first 30 % of the steps and falls to nearly zero (one
    cycle). Training ends early if no epoch of `patience` after the best one, or after `select_from`, is
    better. `on_step(step, steps)` runs after every update, step counted from 1, and `on_epoch` after every
    epoch. A seed gives the same result every time on one machine.

    checkpoint: a file written after every epoch; where it exists, training goes on from it, to the very
    weights that it would have reached without having been stopped. `watching` names what else is to be stored
    there. device: torch's name, or "auto": CUDA where there is one; the module comes back to where it was.
    console: shows a progress bar.

    The module should be one of `to_module`, or any that is called as module(x, lengths) and, where it ends in
    softmax or sigmoid, has `logits` too.
    Raises StepcellError where nothing can be learnt, the loss is no longer finite, or the checkpoint does not
    belong to this training.
    """
    _check(data, epochs, select_from, objective)
    home = next(module.parameters()).device
    _place(module, teacher, device_named(device))
    steps = epochs * math.ceil(len(data) / batch_size)
    update = _Update(module, learning_rate, weight_decay, steps, teacher, penalty, on_step, objective)
    run = _Run(module, update, select_from, patience, watching or {})
    settings = (
        f"epochs={epochs}, batch_size={batch_size}, learning_rate={learning_rate}, seed={seed}, "
        f"weight_decay={weight_decay}, noise={noise}, select_from={select_from}, patience={patience}, "
        f"{len(data)} sequences, {sum(p.numel() for p in module.parameters())} parameters"
    )
    judge = partial(score, module) if objective is None else partial(score_by, objective, module)
    with torch.random.fork_rng(devices=[]), progress(console, epochs, module) as show:
        torch.manual_seed(seed)
        if checkpoint is not None:
            run.resume(checkpoint, settings)
        while len(run.seen) < epochs and not run.is_stale():
            module.train()
            losses = [update(clean, noisy) for clean, noisy in _batches(data, batch_size, noise)]
            epoch = run.add(Epoch(len(run.seen), sum(losses) / len(losses), judge(validation)))
            if checkpoint is not None:
                run.save(checkpoint, settings)
            show(len(run.seen), epoch.loss, epoch.validation)
            if on_epoch is not None:
                on_epoch(epoch)
    module.load_state_dict(run.best)
    module.eval()
    _place(module, teacher, home)
    return History(tuple(run.seen), run.best_number)


def device_named(name: str) -> torch.device:
    """torch's device of that name; "auto" is CUDA where there is one."""
    automatic = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(automatic if name == "auto" else name)


def _place(module: nn.Module, teacher: Teacher | None, device: torch.device) -> None:
    module.to(device)
    if teacher is not None:
        teacher.module.to(device)


def _check(data: Sequences, epochs: int, select_from: int, objective: Objective | None) -> None:
    if data.y is None and objective is None:
        raise StepcellError("training: the data has no labels 'y'.", "add y to the data file.")
    if not 0 <= select_from < epochs:
        raise StepcellError(
            f"training: of {epochs} epochs none from {select_from} on can be kept.", "train for more epochs."
        )


def _batches(data: Sequences, size: int, noise: Noise | None) -> Iterator[tuple[Sequences, Sequences]]:
    """One epoch in a new order: pairs of a batch and the same batch with noise on its inputs."""
    order = torch.randperm(len(data)).numpy()
    scale = feature_scale(data) if noise is not None else torch.zeros(())
    for start in range(0, len(order), size):
        batch = data.take(order[start : start + size])
        yield batch, batch if noise is None else add_noise(batch, noise, scale)


class _Run:
    """The epochs so far, and the weights of the one with the lowest validation loss."""

    def __init__(
        self,
        module: nn.Module,
        update: "_Update",
        select_from: int,
        patience: int | None,
        watching: Mapping[str, files.Stateful],
    ) -> None:
        self.seen: list[Epoch] = []
        self.best: dict[str, Tensor] = {}
        self.best_number = -1
        self._module, self._select_from, self._patience = module, select_from, patience
        self._parts: dict[str, files.Stateful] = {"module": module, "update": update, **watching}

    def add(self, epoch: Epoch) -> Epoch:
        """Note an epoch, and the module's weights if it is the best."""
        self.seen.append(epoch)
        loss = self.seen[self.best_number].validation.loss if self.best_number >= 0 else math.inf
        chosen = self.best_number < 0 or epoch.validation.loss < loss
        if epoch.number >= self._select_from and chosen:
            self.best_number, self.best = epoch.number, copy.deepcopy(self._module.state_dict())
        return epoch

    def is_stale(self) -> bool:
        """Whether `patience` epochs have passed without a better one."""
        if self._patience is None or self.best_number < 0:
            return False
        return len(self.seen) - 1 - self.best_number >= self._patience

    def save(self, path: Path, settings: str) -> None:
        """Write everything that the next epoch depends on."""
        seen = [(e.number, e.loss, e.validation.loss, e.validation.accuracy) for e in self.seen]
        files.save(
            path,
            self._parts,
            {"settings": settings, "seen": seen, "best": self.best, "best_number": self.best_number},
        )

    def resume(self, path: Path, settings: str) -> None:
        """Go on from the file, if there is one."""
        rest = files.load(path, self._parts, settings)
        if rest is not None:
            self.seen = [Epoch(number, loss, Score(*judged)) for number, loss, *judged in rest["seen"]]
            self.best, self.best_number = dict(rest["best"]), int(rest["best_number"])


class _Update:
    """One step of the optimizer on one batch; returns the loss before it."""

    def __init__(
        self,
        module: nn.Module,
        learning_rate: float,
        weight_decay: float,
        steps: int,
        teacher: Teacher | None,
        penalty: Callable[[], Tensor] | None,
        on_step: Callable[[int, int], None] | None,
        objective: Objective | None,
    ) -> None:
        self._objective = objective
        self._module, self._teacher, self._on_step = module, teacher, on_step
        self._penalty = penalty
        self._step, self._steps = 0, steps
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(self._parameters, learning_rate, weight_decay=weight_decay)
        self._rate = torch.optim.lr_scheduler.OneCycleLR(self._optimizer, learning_rate, total_steps=steps)

    def __call__(self, clean: Sequences, noisy: Sequences) -> float:
        loss = self._loss(clean, noisy)
        if not torch.isfinite(loss):
            raise StepcellError("training: the loss is not finite.", "lower the learning rate.")
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self._parameters, _GRADIENT_NORM)
        self._optimizer.step()
        self._rate.step()
        self._step += 1
        if self._on_step is not None:
            self._on_step(self._step, self._steps)
        return loss.item()

    def _loss(self, clean: Sequences, noisy: Sequences) -> Tensor:
        if self._objective is not None:
            loss = self._objective(clean, noisy)
        else:
            answers = predict(self._module, noisy, clean.y_per_step)
            loss = task_loss(answers, labels(clean).to(answers.device))
            loss = loss if self._teacher is None else self._teacher.blend(loss, answers, clean)
        return loss if self._penalty is None else loss + self._penalty()

    def state_dict(self) -> dict[str, Any]:
        """The optimizer, its schedule and the step."""
        parts = {"optimizer": self._optimizer.state_dict(), "rate": self._rate.state_dict()}
        return {**parts, "step": self._step}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Go on from what `state_dict` gave."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._rate.load_state_dict(state["rate"])
        self._step = int(state["step"])
