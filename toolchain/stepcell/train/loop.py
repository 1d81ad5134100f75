"""`fit`: a training loop for classification and regression that keeps the best epoch."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stepcell.errors import StepcellError
from stepcell.ir.sequences import Sequences
from stepcell.train.distillation import Teacher
from stepcell.train.evaluate import Score, labels, predict, score
from stepcell.train.losses import task_loss
from stepcell.train.noise import Noise, add_noise, feature_scale

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
    select_from: int = 0,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> History:
    """Train in place with AdamW; restore the epoch with the lowest validation loss, from `select_from` on.

    Classes are learnt by cross-entropy on logits, float targets by mean squared error. The learning rate
    rises to `learning_rate` over the first 30 % of the steps and falls to nearly zero (one cycle).
    `on_step(step, steps)` runs after every update, step counted from 1, and `on_epoch` after every epoch.
    A seed gives the same result every time on one machine. The module should be one of `to_module`, or
    any that is called as module(x, lengths) and, where it ends in softmax or sigmoid, has `logits` too.
    Raises StepcellError where nothing can be learnt or the loss is no longer finite.
    """
    _check(data, epochs, select_from)
    steps = epochs * math.ceil(len(data) / batch_size)
    update = _Update(module, learning_rate, weight_decay, steps, teacher, on_step)
    seen, best = list[Epoch](), _Best(select_from)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for number in range(epochs):
            module.train()
            losses = [update(clean, noisy) for clean, noisy in _batches(data, batch_size, noise)]
            seen.append(Epoch(number, sum(losses) / len(losses), score(module, validation)))
            best.offer(seen[-1], module)
            if on_epoch is not None:
                on_epoch(seen[-1])
    module.load_state_dict(best.weights)
    module.eval()
    return History(tuple(seen), best.number)


def _check(data: Sequences, epochs: int, select_from: int) -> None:
    if data.y is None:
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


class _Best:
    """The weights of the epoch with the lowest validation loss."""

    def __init__(self, select_from: int) -> None:
        self.number = -1
        self.weights: dict[str, Tensor] = {}
        self._select_from, self._loss = select_from, math.inf

    def offer(self, epoch: Epoch, module: nn.Module) -> None:
        if epoch.number >= self._select_from and (self.number < 0 or epoch.validation.loss < self._loss):
            self.number, self._loss = epoch.number, epoch.validation.loss
            self.weights = copy.deepcopy(module.state_dict())


class _Update:
    """One step of the optimizer on one batch; returns the loss before it."""

    def __init__(
        self,
        module: nn.Module,
        learning_rate: float,
        weight_decay: float,
        steps: int,
        teacher: Teacher | None,
        on_step: Callable[[int, int], None] | None,
    ) -> None:
        self._module, self._teacher, self._on_step = module, teacher, on_step
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
        answers = predict(self._module, noisy, clean.y_per_step)
        loss = task_loss(answers, labels(clean).to(answers.device))
        return loss if self._teacher is None else self._teacher.blend(loss, answers, clean)
