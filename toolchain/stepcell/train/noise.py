"""Gaussian noise on the inputs while training: the cheapest protection of a small set against overfitting."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from stepcell.ir.sequences import Sequences


@dataclass(frozen=True)
class Noise:
    """Standard deviations in units of each feature's own over the training data.

    frame: drawn anew for every frame; sequence: one draw for a whole sequence (another microphone, another
    day). Only the first input gets noise, and only if it is float.
    """

    frame: float = 0.5
    sequence: float = 0.3


def feature_scale(data: Sequences) -> Tensor:
    """Standard deviation of every feature of x over all valid frames, [...]."""
    valid = np.arange(data.x.shape[1]) < data.lengths[:, None]
    return torch.as_tensor(data.x[valid].std(axis=0))


def add_noise(batch: Sequences, noise: Noise, scale: Tensor) -> Sequences:
    """The batch with noise on x, from torch's own generator."""
    if batch.x.dtype.kind != "f":
        return batch
    x = torch.from_numpy(batch.x)
    frame = noise.frame * torch.randn_like(x)
    sequence = noise.sequence * torch.randn_like(x[:, :1])
    return replace(batch, x=(x + scale.to(x.dtype) * (frame + sequence)).numpy())
