"""What the C of a bundle answers to data, without judging it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.model import FloatArray
from stepcell.ir.qmodel import IntArray
from stepcell.ir.sequences import load_sequences
from stepcell.reference.integer_ops import quantize_input
from stepcell.validate.backends import outputs, run_backend
from stepcell.validate.validate import OnStage, open_bundle


@dataclass(frozen=True, eq=False)
class Answers:
    """After every step: real outputs [N, T, O] and the integers they stand for; zero beyond `lengths` [N]."""

    real: FloatArray
    stored: IntArray
    lengths: NDArray[np.int64]


def answers(folder: Path, data: Path, backend: str, on_stage: OnStage) -> Answers:
    """Quantize the data and run it; StepcellError for data that does not fit, or a missing tool."""
    files = open_bundle(folder)
    q = files.qmodel
    sequences = load_sequences(data, files.inputs)
    stage = f"C on {backend}"
    on_stage(stage, 0.0)
    x = quantize_input(sequences.x, q.input.scale, q.input.bits)
    results = run_backend(
        backend, files.bundle, x, sequences.lengths, on_part=lambda part: on_stage(stage, part)
    )
    stored = outputs(results, x.shape[1])
    return Answers(stored.astype(np.float64) * q.output.scale, stored, sequences.lengths)
