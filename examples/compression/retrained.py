"""Spoken digits with a tenth or a twentieth of the weights of a GRU-128, or a sixth of its multiplications.

    python examples/compression/retrained.py [--speakers] [--seeds 0 1 2] [--cases 4x2-0.9 4x2-0.95 ...]

trains the dense models (build/compression/sources), prunes them in the Cortex-M4's preferred 4x2 blocks with
retraining, or removes hidden units and trains the smaller model on, and measures float and int8 on the 300
official test clips. Epochs are chosen on validation clips, cut from the training clips; nothing else was
tuned on anything but those. With --speakers each of the six is held out in turn instead, and tested on.
A killed run goes on where it was (build/compression/retrained). Writes build/bench/retrained.json, or
retrained_speakers.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from compression.rows import RANGES, float_labels, integer_labels
from compression.tasks import BENCHMARKS, Benchmark, as_sequences
from sequences.cache import REPOSITORY
from spoken_digits.data import SPEAKERS, load_without
from stepcell.compress import prune_and_retrain
from stepcell.compress.prune import prunable
from stepcell.ir import Model, all_ops
from stepcell.ir.files import dump_model, load_model
from stepcell.ir.graph import matrices
from stepcell.ir.sequences import Sequences
from stepcell.lower import lower
from stepcell.quantize import quantize
from stepcell.target import load_core
from stepcell.train import Noise

TASK = "fsdd-gru128"
CASES = ("4x2-0.9", "4x2-0.95", "units-0.856")
"""PATTERN-FRACTION: without 0.856 of the recurrent layer's weights, the head's counted, 1/6 is left."""
EPOCHS = {"4x2": 30, "units": 20}
FOLDER = REPOSITORY / "build" / "compression" / "retrained"
RESULT = REPOSITORY / "build" / "bench" / "retrained.json"
CORE = "cortex-m4"


@dataclass
class Row:
    """One case of one seed; accuracies are 0-1 of the test clips, instructions those of a step on the M4."""

    task: str
    cell: str
    criterion: str
    pattern: str
    density: float
    training: str
    bits: int
    seed: int
    accuracy_float: float
    accuracy: float
    label_agreement: float
    accuracy_retrained_float: float
    weight_bytes: int
    instructions_per_step_m4: int
    macs: int
    macs_dense: int


def main() -> int:
    """Train, prune, measure, print."""
    arguments = _arguments()
    torch.set_num_threads(1)
    console, rows = Console(), list[Row]()
    benchmarks = [held_out(speaker) for speaker in SPEAKERS] if arguments.speakers else [BENCHMARKS[TASK]]
    try:
        for case, benchmark, seed in product(arguments.cases, benchmarks, arguments.seeds):
            rows.append(measure(benchmark, case, seed, console))
            console.print(f"{benchmark.name}, {case}, seed {seed}: {_text(rows[-1])}")
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    result = RESULT.with_stem("retrained_speakers") if arguments.speakers else RESULT
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    console.print(table(rows))
    print(f"-> {result}")
    return 0


def held_out(speaker: str) -> Benchmark:
    """The task with one speaker as test data, and the other five to learn from."""
    task = BENCHMARKS[TASK]
    return replace(task, name=f"{task.name}-without-{speaker}", load=partial(load_without, speaker))


def measure(benchmark: Benchmark, case: str, seed: int, console: Console) -> Row:
    """Retrain one model, unless it is there already, and judge it."""
    pattern, fraction = case.rsplit("-", maxsplit=1)
    train, validation, test = (as_sequences(part) for part in benchmark.splits(seed))
    dense, file = benchmark.model(seed), FOLDER / f"{benchmark.name}-{case}-{seed}.npz"
    if not file.is_file():
        small = retrained(dense, train, validation, pattern, float(fraction), seed, file, console)
        unfinished = file.with_suffix(".partial")
        unfinished.write_bytes(dump_model(small))
        unfinished.replace(file)
    small = load_model(file.read_bytes(), file.name)
    return _judged(benchmark.name, dense, small, train, test, pattern, seed)


def retrained(
    dense: Model,
    train: Sequences,
    validation: Sequences,
    pattern: str,
    fraction: float,
    seed: int,
    file: Path,
    console: Console | None = None,
) -> Model:
    """The dense model without `fraction` of its recurrent layer's weights, trained on."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return prune_and_retrain(
        dense,
        train,
        validation,
        fraction,
        pattern,
        schedule="one-shot" if pattern == "units" else "gradual",
        criterion="activity",
        learning_rate=1e-2,
        epochs=EPOCHS[pattern],
        seed=seed,
        batch_size=64,
        noise=Noise(0.3, 0.2),
        checkpoint=file.with_suffix(".pt"),
        console=console,
    )


def _judged(
    task: str, dense: Model, small: Model, train: Sequences, test: Sequences, pattern: str, seed: int
) -> Row:
    q_model = quantize(small, train.take(np.arange(RANGES)))
    labels = integer_labels(q_model, test)
    plan = lower(q_model, load_core(CORE))
    estimate = plan.main.estimate
    assert estimate is not None  # the M4's table has every function
    source, y = float_labels(dense, test), np.asarray(test.y)
    return Row(
        task,
        "gru",
        "activity",
        pattern,
        round(_nonzero(small, prunable(small)) / _nonzero(dense, prunable(dense)), 4),
        "labelled",
        8,
        seed,
        float(np.mean(source == y)),
        float(np.mean(labels == y)),
        float(np.mean(labels == source)),
        float(np.mean(float_labels(small, test) == y)),
        sum(table.bytes for table in plan.tables),
        estimate.instructions,
        _nonzero(small, all_matrices(small)),
        _nonzero(dense, all_matrices(dense)),
    )


def all_matrices(model: Model) -> tuple[str, ...]:
    """The layer's two, and the head's."""
    return tuple(name for op in all_ops(model) for name in matrices(op))


def _nonzero(model: Model, names: tuple[str, ...]) -> int:
    return sum(int((model.weights[name] != 0).sum()) for name in names)


def _text(row: Row) -> str:
    return (
        f"dense float {row.accuracy_float:.2%}, retrained float {row.accuracy_retrained_float:.2%}, "
        f"int8 {row.accuracy:.2%}, {row.weight_bytes} bytes, {row.instructions_per_step_m4} instructions a "
        f"step, {row.macs} of {row.macs_dense} multiplications"
    )


def table(rows: list[Row]) -> Table:
    """A line a case: means over the seeds, and each seed's int8."""
    found = Table(title=f"{TASK}, retrained")
    for column in ("pattern", "density", "dense float", "int8", "each seed", "bytes", "instructions", "MACs"):
        found.add_column(column, justify="right")
    for key in dict.fromkeys((row.pattern, row.density) for row in rows):
        own = [row for row in rows if (row.pattern, row.density) == key]
        found.add_row(
            key[0],
            f"{key[1]:.3f}",
            f"{statistics.mean(row.accuracy_float for row in own):.2%}",
            f"{statistics.mean(row.accuracy for row in own):.2%}",
            " ".join(f"{100 * row.accuracy:.1f}" for row in own),
            f"{statistics.mean(row.weight_bytes for row in own):.0f}",
            f"{statistics.mean(row.instructions_per_step_m4 for row in own):.0f}",
            f"{statistics.mean(row.macs / row.macs_dense for row in own):.3f}",
        )
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Prune a spoken-digit GRU-128 with retraining.")
    parser.add_argument("--speakers", action="store_true", help="hold each speaker out in turn")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cases", nargs="+", default=list(CASES), metavar="PATTERN-FRACTION")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
