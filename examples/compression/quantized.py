"""Integers of a spoken-digit GRU-128, after training and trained on: what every way to choose them costs.

    python examples/compression/quantized.py [--seeds 0 1 2]

trains the dense models (build/compression/sources), quantizes them on unlabelled training clips by every
calibrator, with int4 weights, with corrected biases, and after quantization-aware training; measures the 300
official test clips on the integer reference, which the C equals bit for bit; prints a table and writes
build/bench/quantized.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from compression.rows import RANGES, float_labels, integer_labels
from compression.tasks import BENCHMARKS
from sequences.cache import REPOSITORY
from stepcell.compress import Task
from stepcell.ir import Model
from stepcell.ir.qmodel import QModel
from stepcell.ir.sequences import Sequences
from stepcell.quantize import quantize
from stepcell.quantize.calibrators import Calibrator
from stepcell.quantize.context import Weights
from stepcell.train import fit_quantized

TASK = "fsdd-gru128"
EPOCHS, LEARNING_RATE = 4, 1e-3
"""Of quantization-aware training; chosen on the validation clips."""
CALIBRATORS: tuple[Calibrator, ...] = ("minmax", "percentile", "mse", "entropy")
WEIGHTS: dict[Weights, int] = {"int8": 8, "int4": 4}
RESULT = REPOSITORY / "build" / "bench" / "quantized.json"


@dataclass
class Row:
    """One way to quantize, over all seeds; accuracies and agreement are 0-1 of test clips."""

    task: str
    cell: str
    method: str
    bits: int
    training: str
    seeds: list[int]
    accuracy_float: list[float]
    accuracy: list[float]
    label_agreement: list[float]
    accuracy_validation: list[float]
    seconds: list[float]


def main() -> int:
    """Train, quantize, measure, print."""
    seeds = _arguments().seeds
    torch.set_num_threads(1)
    console, rows = Console(), list[Row]()
    try:
        for seed in seeds:
            rows = _merged(rows, measure(seed, console))
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    console.print(table(rows))
    print(f"-> {RESULT}")
    return 0


def measure(seed: int, console: Console) -> list[Row]:
    """Every way to quantize one dense model."""
    benchmark = BENCHMARKS[TASK]
    task, dense = benchmark.task(seed), benchmark.model(seed)
    assert task.test is not None
    answers = float_labels(dense, task.test)
    found: list[Row] = []
    for method, bits, training, qmodel, seconds in _quantized(dense, task, seed):
        labels = integer_labels(qmodel, task.test)
        judged = float(np.mean(integer_labels(qmodel, task.validation) == task.validation.y))
        accuracy, agreement = float(np.mean(labels == task.test.y)), float(np.mean(labels == answers))
        console.print(f"seed {seed} {method}, {bits}-bit weights: {accuracy:.2%}, validation {judged:.2%}")
        float_accuracy = float(np.mean(answers == task.test.y))
        lists = ([seed], [float_accuracy], [accuracy], [agreement], [judged], [round(seconds, 2)])
        found.append(Row(TASK, benchmark.cell, method, bits, training, *lists))
    return found


def _quantized(dense: Model, task: Task, seed: int) -> Iterator[tuple[str, int, str, QModel, float]]:
    """(how, bits of weights, training, the integer model, seconds)."""
    every = np.arange(0, len(task.train), len(task.train) // RANGES)
    clips = Sequences(task.train.x, task.train.lengths).take(every)
    for weights, bits in WEIGHTS.items():
        for calibrator in CALIBRATORS:
            start = time.perf_counter()
            qmodel = quantize(dense, clips, "auto", weights=weights, calibrator=calibrator)
            yield calibrator, bits, "none", qmodel, time.perf_counter() - start
        start = time.perf_counter()
        qmodel = quantize(dense, clips, "auto", weights=weights, bias_correction=True)
        yield "corrected biases", bits, "none", qmodel, time.perf_counter() - start
        start = time.perf_counter()
        trained = trained_on_integers(dense, task, clips, weights, seed)
        qmodel = quantize(trained, clips, "auto", weights=weights)
        yield "trained on integers", bits, "labelled", qmodel, time.perf_counter() - start


def trained_on_integers(dense: Model, task: Task, clips: Sequences, weights: Weights, seed: int) -> Model:
    """The model after quantization-aware training; the epoch is chosen on the validation clips."""
    return fit_quantized(
        dense,
        task.train,
        task.validation,
        weights=weights,
        calibration=clips,
        epochs=EPOCHS,
        learning_rate=LEARNING_RATE,
        seed=seed,
    )


def _merged(rows: list[Row], more: Sequence[Row]) -> list[Row]:
    """The rows of one seed appended to those of the seeds before."""
    if not rows:
        return list(more)
    for row, new in zip(rows, more, strict=True):
        assert (row.method, row.bits) == (new.method, new.bits)
        for name in (
            "seeds",
            "accuracy_float",
            "accuracy",
            "label_agreement",
            "accuracy_validation",
            "seconds",
        ):
            getattr(row, name).extend(getattr(new, name))
    return rows


def table(rows: Sequence[Row]) -> Table:
    """One line a way to quantize: means over the seeds, and the points lost against the float models."""
    grid = Table(title=f"{TASK}: accuracy of the integer model on the test clips, {len(rows[0].seeds)} seeds")
    for column in ("weights", "how", "float", "integers", "each", "lost", "agree", "seconds"):
        grid.add_column(column, justify="left" if column == "how" else "right")
    for row in rows:
        means = [statistics.mean(v) for v in (row.accuracy_float, row.accuracy, row.label_agreement)]
        each = " ".join(f"{100 * value:.1f}" for value in row.accuracy)
        grid.add_row(
            f"int{row.bits}",
            row.method,
            f"{means[0]:.2%}",
            f"{means[1]:.2%}",
            each,
            f"{100 * (means[0] - means[1]):.2f}",
            f"{means[2]:.2%}",
            f"{statistics.mean(row.seconds):.1f}",
        )
    return grid


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure ways to quantize a spoken-digit GRU-128.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
