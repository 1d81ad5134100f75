"""Distillation: a student also learns what a teacher answers, on the same sequences without noise."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stepcell.ir.sequences import Sequences
from stepcell.train.evaluate import predict
from stepcell.train.losses import distillation_loss


@dataclass(frozen=True, eq=False)
class Teacher:
    """A trained module, the weight (0-1) of its answers in the loss, the temperature that softens them."""

    module: nn.Module
    weight: float = 0.5
    temperature: float = 2.0

    def blend(self, task: Tensor, student: Tensor, batch: Sequences) -> Tensor:
        """The loss of one batch: that of the labels (`task`), and how far the student's rows [M, C] are."""
        with torch.no_grad():
            answers = predict(self.module, batch, batch.y_per_step)
        distance = distillation_loss(student, answers, self.temperature)
        return (1.0 - self.weight) * task + self.weight * distance
