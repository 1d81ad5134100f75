"""One training loop for sequence classifiers: any nn.Module called as model(x, lengths) -> logits."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sequences.dataset import Dataset

Batch = tuple[Tensor, Tensor, Tensor]
"""x [N, T, F] float, lengths [N], y [N]"""


@dataclass(frozen=True)
class Recipe:
    """AdamW with a one-cycle learning rate; noise is in units of each feature's standard deviation."""

    batch: int = 32
    learning_rate: float = 1e-2  # the peak; it rises over the first third and ends near zero
    weight_decay: float = 1e-2
    frame_noise: float = 0.5  # drawn anew for every frame
    sequence_noise: float = 0.3  # one draw for a whole sequence: another microphone, another day
    gradient_norm: float = 1.0


@dataclass(frozen=True)
class Best:
    """The epoch (counted from 0) with the smallest loss on the validation split."""

    epoch: int
    loss: float
    accuracy: float


def train(
    model: nn.Module,
    training: Dataset,
    validation: Dataset,
    epochs: int,
    seed: int,
    *,
    recipe: Recipe | None = None,
    on_epoch: Callable[[int], None] | None = None,
) -> Best:
    """Train in place and leave the model at its best epoch; on_epoch is called after each."""
    recipe = recipe or Recipe()
    random = torch.Generator().manual_seed(seed)
    data, scale = tensors(training), feature_scale(training)
    steps = epochs * math.ceil(len(training) / recipe.batch)
    optimizer = torch.optim.AdamW(model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=steps)
    best, best_state = Best(0, math.inf, 0.0), copy.deepcopy(model.state_dict())
    for epoch in range(epochs):
        model.train()
        for rows in torch.randperm(len(training), generator=random).split(recipe.batch):
            _descend(model, optimizer, _augment(_rows(data, rows), scale, recipe, random), recipe)
            schedule.step()
        loss, accuracy = evaluate(model, validation)
        if loss < best.loss:
            best, best_state = Best(epoch, loss, accuracy), copy.deepcopy(model.state_dict())
        if on_epoch:
            on_epoch(epoch)
    model.load_state_dict(best_state)
    model.eval()
    return best


@torch.no_grad()
def evaluate(model: nn.Module, dataset: Dataset) -> tuple[float, float]:
    """(mean cross entropy, accuracy 0-1) over whole sequences."""
    model.eval()
    x, lengths, y = tensors(dataset)
    logits = model(x, lengths)
    return cross_entropy(logits, y).item(), (logits.argmax(1) == y).float().mean().item()


def tensors(dataset: Dataset) -> Batch:
    """The data set as torch tensors."""
    return torch.from_numpy(dataset.x), torch.from_numpy(dataset.lengths), torch.from_numpy(dataset.y)


def feature_scale(dataset: Dataset) -> Tensor:
    """Standard deviation of each feature over all real (not padded) frames, [F]."""
    x, lengths, _ = tensors(dataset)
    return x[torch.arange(x.shape[1]) < lengths[:, None]].std(0)


def _rows(data: Batch, rows: Tensor) -> Batch:
    """Some sequences, without the frames that are padding in all of them."""
    x, lengths, y = (part[rows] for part in data)
    return x[:, : int(lengths.max())], lengths, y


def _augment(batch: Batch, scale: Tensor, recipe: Recipe, random: torch.Generator) -> Batch:
    x, lengths, y = batch
    frame = recipe.frame_noise * torch.randn(x.shape, generator=random)
    sequence = recipe.sequence_noise * torch.randn(len(x), 1, x.shape[2], generator=random)
    return x + scale * (frame + sequence), lengths, y


def _descend(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, recipe: Recipe) -> None:
    x, lengths, y = batch
    optimizer.zero_grad()
    loss = cross_entropy(model(x, lengths), y)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_norm)
    optimizer.step()
