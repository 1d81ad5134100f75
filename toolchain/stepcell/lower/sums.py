"""The accumulators that a layer of held values keeps in the state, as the C has them (lower/delta.py)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stepcell.ir.qmodel import IntArray


@dataclass(frozen=True, eq=False)
class Part:
    """A matrix in the order of its rows, and what its sums start with."""

    held: str
    """The state that holds what it reads."""
    weights: IntArray
    starts: IntArray


@dataclass(frozen=True, eq=False)
class Sums:
    """Accumulators of the input matrix, then of the recurrent one: of each `chunk` rows, or of all.

    An LSTM keeps them pass by pass as its tail reads them, with room for whole passes.
    """

    name: str
    parts: tuple[Part, Part]
    chunk: int | None = None

    def after(self, states: Mapping[str, IntArray]) -> IntArray:
        """All of them, once the held values are these."""
        return np.stack([self._part(part, states[part.held]) for part in self.parts], axis=1).reshape(-1)

    def before(self) -> IntArray:
        """All of them while nothing is held."""
        zeros = {part.held: np.zeros(part.weights.shape[1], np.int64) for part in self.parts}
        return self.after(zeros)

    def _part(self, part: Part, held: IntArray) -> IntArray:
        """Of one matrix, [chunks, rows]."""
        sums = part.starts + part.weights @ held.reshape(-1)
        chunk = self.chunk or len(sums)
        return np.pad(sums, (0, -len(sums) % chunk)).reshape(-1, chunk)
