"""The rows of the compression benchmark: what one way to compress reaches, a number for every seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepcell.ir import Model
from stepcell.ir.qmodel import QModel
from stepcell.ir.sequences import Sequences
from stepcell.quantize import quantize
from stepcell.reference.float_model import run_float
from stepcell.reference.integer_data import quantize_sequences
from stepcell.reference.integer_model import run_functions

RANGES = 500
"""Training clips that the quantizer reads."""

Labels = NDArray[np.int64]
Training = Literal["none", "unlabelled", "labelled"]
TRAININGS: tuple[Training, ...] = ("none", "unlabelled", "labelled")


class Case(NamedTuple):
    """One way to compress; `density` is the fraction of the recurrent layers' weights that is kept.

    Models of which nothing was removed have the criterion "none", the pattern "unstructured", density 1.
    """

    task: str
    criterion: str
    pattern: str
    density: float
    training: Training
    bits: int


@dataclass(frozen=True)
class Found:
    """What one seed of a case came to; accuracies and agreement are 0-1 of the test sequences.

    accuracy_float: the dense float source's; accuracy: the compressed model's, in integers with weights of
    the case's bits; label_agreement: how often it answers what the source does. instructions_per_step_m4:
    estimated from the Cortex-M4's measured costs.
    """

    accuracy_float: float
    accuracy: float
    label_agreement: float
    weight_bytes: int
    instructions_per_step_m4: int


@dataclass
class Row:
    """A case over its seeds. Bytes and instructions, which differ little, are those of the largest seed."""

    task: str
    cell: str
    criterion: str
    pattern: str
    density: float
    training: Training
    bits: int
    seeds: list[int]
    accuracy_float: list[float]
    accuracy: list[float]
    label_agreement: list[float]
    weight_bytes: int
    instructions_per_step_m4: int

    @property
    def case(self) -> Case:
        """What the row is about."""
        return Case(self.task, self.criterion, self.pattern, self.density, self.training, self.bits)


def add(rows: list[Row], case: Case, cell: str, seed: int, found: Found) -> None:
    """Put one seed's numbers into the row of its case, the seeds in order; a new row goes to the end."""
    row = next((row for row in rows if row.case == case), None)
    if row is None:
        row = Row(case.task, cell, *case[1:], [], [], [], [], 0, 0)
        rows.append(row)
    if seed in row.seeds:
        raise ValueError(f"{case}: seed {seed} is there already.")
    row.weight_bytes = max(row.weight_bytes, found.weight_bytes)
    row.instructions_per_step_m4 = max(row.instructions_per_step_m4, found.instructions_per_step_m4)
    at = int(np.searchsorted(row.seeds, seed))
    row.seeds.insert(at, seed)
    row.accuracy_float.insert(at, found.accuracy_float)
    row.accuracy.insert(at, found.accuracy)
    row.label_agreement.insert(at, found.label_agreement)


def load_rows(path: Path) -> list[Row]:
    """The rows of a file, none where it is not there."""
    return [Row(**fields) for fields in json.loads(path.read_text())] if path.is_file() else []


def save_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write the file in one go, a row a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text("[\n" + ",\n".join(json.dumps(asdict(row)) for row in rows) + "\n]\n")
    partial.replace(path)


def float_labels(model: Model, data: Sequences) -> Labels:
    """What the float model answers, [N]."""
    outputs = run_float(model, data.x, data.lengths).outputs(model.main)
    return np.asarray(outputs[model.main.outputs[0]].argmax(axis=1))


def integer_labels(qmodel: QModel, data: Sequences) -> Labels:
    """What the integer model answers, [N], bit for bit as the C."""
    run = run_functions(qmodel, quantize_sequences(qmodel, data))[qmodel.main.name]
    return np.asarray(run.last_outputs().argmax(axis=1))


def int8_labels(model: Model, calibration: Sequences, data: Sequences) -> Labels:
    """What the compiled model answers, [N], bit for bit."""
    return integer_labels(quantize(model, calibration.take(np.arange(RANGES))), data)
