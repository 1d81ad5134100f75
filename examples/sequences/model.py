"""A recurrent layer whose last valid hidden state is classified by one dense layer."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

CellName = Literal["gru", "lstm"]


class RecurrentClassifier(nn.Module):
    """x [N, T, features] -> logits [N, classes]."""

    def __init__(self, cell: CellName, features: int, hidden: int, classes: int) -> None:
        super().__init__()
        layer = nn.GRU if cell == "gru" else nn.LSTM
        self.recurrent: nn.GRU | nn.LSTM = layer(features, hidden, batch_first=True)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits at the last frame, or at frame `lengths - 1` [N] of sequences padded at their end."""
        y, _ = self.recurrent(x)
        last = y[:, -1] if lengths is None else y[torch.arange(len(x)), lengths - 1]
        logits: Tensor = self.head(last)
        return logits


def classifier(cell: CellName, hidden: int, classes: int, scale: Tensor, seed: int) -> RecurrentClassifier:
    """Random initial weights, as if every feature had been divided by its `scale` [features] beforehand.

    Features of very different size train slowly; a division inside the model would have to be computed on the
    chip, so the input weights carry it.
    """
    torch.manual_seed(seed)
    model = RecurrentClassifier(cell, len(scale), hidden, classes)
    with torch.no_grad():
        model.recurrent.get_parameter("weight_ih_l0").div_(scale)
    return model
