"""Labelled sequences of different lengths, padded to one array (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """N sequences of F features: x [N, T, F] (zeros past the end), lengths [N] in frames, y [N] classes."""

    x: Floats
    lengths: Integers
    y: Integers

    def __len__(self) -> int:
        return len(self.y)

    @property
    def classes(self) -> int:
        """Number of classes, taken from the largest label."""
        return int(self.y.max()) + 1

    def take(self, indices: Integers) -> Dataset:
        """The sequences at `indices`, in that order."""
        return Dataset(self.x[indices], self.lengths[indices], self.y[indices])

    def sequence(self, index: int) -> Floats:
        """One sequence without its padding, [T, F]."""
        return self.x[index, : self.lengths[index]]


def pad(sequences: Sequence[Floats], labels: Sequence[int]) -> Dataset:
    """Build a Dataset from sequences [T_i, F] and their labels."""
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    x = np.zeros((len(sequences), int(lengths.max()), sequences[0].shape[1]), np.float32)
    for row, sequence in zip(x, sequences, strict=True):
        row[: len(sequence)] = sequence
    return Dataset(x, lengths, np.array(labels, np.int64))


def split(dataset: Dataset, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
    """Cut (rest, held out) at random, with the same `fraction` of every class held out."""
    random = np.random.default_rng(seed)
    held_out = np.zeros(len(dataset), bool)
    for label in range(dataset.classes):
        members = random.permutation(np.flatnonzero(dataset.y == label))
        held_out[members[: round(fraction * len(members))]] = True
    return dataset.take(np.flatnonzero(~held_out)), dataset.take(np.flatnonzero(held_out))


def save_npz(path: Path, dataset: Dataset) -> None:
    """Write the x, lengths, y arrays that `stepcell compile --calibration` and `validate --data` read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, x=dataset.x, lengths=dataset.lengths, y=dataset.y)
