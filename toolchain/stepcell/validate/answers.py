"""What the C of a bundle answers to data, without judging it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.model import FloatArray
from stepcell.ir.qmodel import IntArray
from stepcell.ir.sequences import load_sequences
from stepcell.reference.integer_ops import quantize_input
from stepcell.validate.backends import run_backend
from stepcell.validate.validate import open_bundle


@dataclass(frozen=True, eq=False)
class Answers:
    """After every step: real outputs [N, T, O] and the integers they stand for; zero beyond `lengths` [N]."""

    real: FloatArray
    stored: IntArray
    lengths: NDArray[np.int64]


def answers(folder: Path, data: Path, backend: str, on_stage: Callable[[str], None]) -> Answers:
    """Quantize the data and run it; StepcellError for data that does not fit, or a missing tool."""
    files = open_bundle(folder)
    q = files.qmodel
    sequences = load_sequences(data, files.inputs)
    on_stage(f"C on {backend}")
    x = quantize_input(sequences.x, q.input.scale, q.input.bits)
    results = run_backend(backend, files.bundle, x, sequences.lengths)
    stored = np.zeros((*x.shape[:2], q.output.size), np.int64)
    for i, (result,) in enumerate(results):
        (outputs,) = result.outputs.values()
        stored[i, : len(outputs)] = outputs
    return Answers(stored * q.output.scale, stored, sequences.lengths)
