"""One-shot pruning in closed form of a spoken-digit GRU-128, beside masks by magnitude, without training.

    python examples/compression/one_shot.py [--seeds 0 1 2]

trains the dense models (build/compression/sources), removes weights unstructured, in 4x1 blocks and in the
Cortex-M4's preferred 4x2, calibrated on unlabelled training clips, measures the 300 official test clips in
float and in int8, prints a table and writes build/bench/one_shot.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from compression.rows import float_labels, int8_labels
from compression.tasks import BENCHMARKS
from sequences.cache import REPOSITORY
from stepcell.compress import prune
from stepcell.compress.second_order import cut, rank_removals
from stepcell.ir import Model
from stepcell.ir.sequences import Sequences

TASK = "fsdd-gru128"
FRACTIONS = {"unstructured": (0.65, 0.8, 0.85, 0.9), "4x1": (0.4, 0.5, 0.75), "4x2": (0.5, 0.75)}
CRITERIA = ("second-order", "magnitude")
RESULT = REPOSITORY / "build" / "bench" / "one_shot.json"


@dataclass
class Row:
    """One way to prune, over all seeds; `density` is kept, accuracies and agreement are 0-1 of test clips."""

    task: str
    cell: str
    criterion: str
    pattern: str
    density: float
    training: str
    bits: int
    seeds: list[int]
    accuracy_float: list[float]
    accuracy: list[float]
    label_agreement: list[float]
    seconds: list[float]


def main() -> int:
    """Train, prune, measure, print."""
    seeds = _arguments().seeds
    torch.set_num_threads(1)
    console, rows = Console(), list[Row]()
    try:
        for seed in seeds:
            rows = _merged(rows, measure(seed, console))
            RESULT.parent.mkdir(parents=True, exist_ok=True)
            RESULT.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    console.print(table(rows))
    print(f"-> {RESULT}")
    return 0


def measure(seed: int, console: Console) -> list[Row]:
    """Every pattern and fraction for one dense model."""
    benchmark = BENCHMARKS[TASK]
    data, _, test = (Sequences(part.x, part.lengths, part.y) for part in benchmark.splits(seed))
    clips = Sequences(data.x, data.lengths)
    dense = benchmark.model(seed)
    answers = float_labels(dense, test)
    found: list[Row] = []
    for criterion, pattern, fraction, pruned, seconds in _pruned(dense, clips, seed):
        for bits, labels in ((32, float_labels(pruned, test)), (8, int8_labels(pruned, clips, test))):
            accuracy, agreement = float(np.mean(labels == test.y)), float(np.mean(labels == answers))
            console.print(f"seed {seed} {criterion} {pattern} {fraction:.0%} {bits} bits: {accuracy:.2%}")
            found.append(
                Row(
                    TASK,
                    benchmark.cell,
                    criterion,
                    pattern,
                    round(1.0 - fraction, 6),
                    "none",
                    bits,
                    [seed],
                    [float(np.mean(answers == test.y))],
                    [accuracy],
                    [agreement],
                    [round(seconds, 2)],
                )
            )
    return found


def _pruned(dense: Model, clips: Sequences, seed: int) -> Iterator[tuple[str, str, float, Model, float]]:
    """(criterion, pattern, removed fraction, the model, seconds); a ranking's seconds count for each cut."""
    for pattern, fractions in FRACTIONS.items():
        start = time.perf_counter()
        ranking = rank_removals(dense, clips, pattern, seed=seed)
        ranked = time.perf_counter() - start
        for fraction in fractions:
            start = time.perf_counter()
            pruned = cut(ranking, fraction)
            yield "second-order", pattern, fraction, pruned, ranked + time.perf_counter() - start
            yield "magnitude", pattern, fraction, prune(dense, fraction, pattern=pattern), 0.0


def _merged(rows: Sequence[Row], more: Sequence[Row]) -> list[Row]:
    """The same rows with one more seed."""
    if not rows:
        return list(more)
    for row, own in zip(rows, more, strict=True):
        for field in ("seeds", "accuracy_float", "accuracy", "label_agreement", "seconds"):
            getattr(row, field).extend(getattr(own, field))
    return list(rows)


def table(rows: Sequence[Row]) -> Table:
    """Accuracies in percent, mean over the seeds and each, the closed form beside magnitude."""
    seeds = ", ".join(str(seed) for seed in rows[0].seeds)
    dense = statistics.mean(rows[0].accuracy_float)
    found = Table(title=f"{TASK}, one-shot, seeds {seeds}; dense float {dense:.2%}")
    for column in ("pattern", "removed", "bits", *CRITERIA):
        found.add_column(column, justify="right")
    cases: dict[tuple[str, float, int], dict[str, str]] = {}
    for row in rows:
        each = " ".join(f"{100 * a:.1f}" for a in row.accuracy)
        text = f"{statistics.mean(row.accuracy):.2%} ({each})"
        cases.setdefault((row.pattern, row.density, row.bits), {})[row.criterion] = text
    for (pattern, density, bits), texts in cases.items():
        found.add_row(pattern, f"{1 - density:.0%}", str(bits), *(texts[name] for name in CRITERIA))
    return found


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description="Prune a spoken-digit GRU-128 in closed form, one-shot.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
