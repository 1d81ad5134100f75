"""A module's loss and accuracy over a data set."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from stepcell.errors import StepcellError
from stepcell.ir.sequences import Sequences
from stepcell.train.losses import correct, rows, targets, task_loss

_BATCH = 512

Objective = Callable[[Sequences, Sequences], Tensor]
"""(a batch, the same batch with noise on its inputs) -> the loss, a mean over what it judges."""


@dataclass(frozen=True)
class Score:
    """Mean loss, and accuracy (0-1, of sequences or of steps) where y holds classes."""

    loss: float
    accuracy: float | None = None


def score(module: nn.Module, data: Sequences) -> Score:
    """Judge the module on labelled data; the module is left in the mode it was in."""
    if data.y is None:
        raise StepcellError("the data: it has no labels 'y'.", "add y to judge a model with it.")
    was_training = module.training
    module.eval()
    with torch.no_grad():
        parts = [_judge(module, data.take(at)) for at in _chunks(len(data))]
    module.train(was_training)
    count = sum(part[2] for part in parts)
    hits = [part[1] for part in parts if part[1] is not None]
    loss = sum(part[0] * part[2] for part in parts) / count
    return Score(loss, sum(hits) / count if hits else None)


def score_by(objective: Objective, module: nn.Module, data: Sequences) -> Score:
    """The mean loss that an objective finds; the module is left in the mode it was in."""
    was_training = module.training
    module.eval()
    with torch.no_grad():
        chunks = [data.take(at) for at in _chunks(len(data))]
        losses = [float(objective(chunk, chunk)) * len(chunk) for chunk in chunks]
    module.train(was_training)
    return Score(sum(losses) / len(data))


def predict(module: nn.Module, data: Sequences, per_step: bool) -> Tensor:
    """What the loss compares: for classes the module's `logits` if it has them, else its outputs."""
    parameter = next(module.parameters())
    lengths = torch.from_numpy(data.lengths).to(parameter.device)
    inputs = {name: torch.from_numpy(x).to(parameter.device) for name, x in data.more.items()}
    x = torch.from_numpy(data.x).to(parameter.device)
    regression = data.y is not None and data.y.dtype.kind == "f"
    call = module if regression else getattr(module, "logits", module)
    names = getattr(module, "input_names", ("x",))
    answers = call({names[0]: x, **inputs} if inputs else x, lengths)
    return rows(answers, lengths // data.frames_per_step, per_step)


def labels(data: Sequences) -> Tensor:
    """The labels of the judged rows: int [M], or float [M, O]."""
    lengths = torch.from_numpy(data.lengths) // data.frames_per_step
    return targets(torch.from_numpy(np.asarray(data.y)), lengths, data.y_per_step)


def _chunks(count: int) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    return [np.arange(start, min(start + _BATCH, count)) for start in range(0, count, _BATCH)]


def _judge(module: nn.Module, batch: Sequences) -> tuple[float, float | None, int]:
    """(mean loss, hits or None, rows)."""
    judged = predict(module, batch, batch.y_per_step)
    y = labels(batch).to(judged.device)
    hits = None if y.is_floating_point() else float(correct(judged, y).sum())
    return float(task_loss(judged, y)), hits, len(judged)
