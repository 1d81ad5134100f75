"""Measures what `--delta` saves and what it costs on spoken digits, and prints a table of docs/kernels.md.

usage: python scripts/measure_delta.py [--core cortex-m4] [--clips 60]

Accuracy, labels and skipped columns are of all 300 test clips; instructions are counted exactly, each step,
over `--clips` of them; `still` is a step after 99 equal ones. Networks are trained once and kept under
build/numerics/; the digits need the Free Spoken Digit Dataset (see examples/spoken_digits/data.py).
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numerics.nets import Net, Task, load_task, trained

from stepcell.build import Bundle, build_firmware, load_bundle
from stepcell.emit import emit
from stepcell.ir.qmodel import QModel
from stepcell.ir.sequences import Sequences
from stepcell.lower import lower
from stepcell.quantize import quantize
from stepcell.quantize.delta import hold_inputs
from stepcell.reference.integer_model import run_integer
from stepcell.reference.integer_ops import quantize_input
from stepcell.report.distribution import skipped_columns, spread
from stepcell.run import Job, lane, profile_each_step
from stepcell.target import Core, board_for, load_core

NETS = (Net("digits", "gru", 32), Net("digits", "gru", 128), Net("digits", "lstm", 128))
THRESHOLDS = (None, 0, 1, 2, 4, 8)
STILL = 100
HEADINGS = (
    *("network", "threshold", "accuracy", "labels kept", "x skipped", "h skipped"),
    *("still", "min", "median", "mean", "95 %", "max", "mean / without", "state, bytes"),
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--core", default="cortex-m4")
    parser.add_argument("--clips", type=int, default=60)
    arguments = parser.parse_args()
    core, task = load_core(arguments.core), load_task("digits")
    test = task.clips.take(np.arange(task.train_count, len(task.clips)))
    counted = test.take(np.linspace(0, len(test) - 1, arguments.clips).astype(np.int64))
    print(f"| {' | '.join(HEADINGS)} |\n{'|---' * len(HEADINGS)}|")
    for net in NETS:
        measure(net, task, test, counted, core)


def measure(net: Net, task: Task, test: Sequences, counted: Sequences, core: Core) -> None:
    """A line a threshold."""
    plain = quantize(trained(net, task), task.calibration)
    x = quantize_input(test.x, plain.input.scale, plain.input.bits)
    labels: list[np.ndarray] = []
    means: list[float] = []
    for threshold in THRESHOLDS:
        qmodel = plain if threshold is None else hold_inputs(plain, threshold)
        run = run_integer(qmodel, x, test.lengths)
        labels.append(run.last_outputs().argmax(axis=1))
        counts, still, bundle = count(qmodel, counted, core)
        each = spread(counts)
        means.append(each.mean)
        shares = [f"{share:.1%}" for share in skipped_columns(qmodel, run, test.lengths)[1].values()]
        instructions = (still, each.min, each.median, round(each.mean), each.p95, each.max)
        cells = [
            net.name.removeprefix("digits "),
            "without" if threshold is None else str(threshold),
            f"{(labels[-1] == test.y).mean():.1%}",
            f"{(labels[-1] == labels[0]).mean():.1%}",
            *(shares or ["", ""]),
            *(f"{number:,}" for number in instructions),
            f"{means[-1] / means[0]:.2f}",
            f"{bundle.state_bytes:,}",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


def count(qmodel: QModel, clips: Sequences, core: Core) -> tuple[np.ndarray, int, Bundle]:
    """(instructions of every step of the clips, of one where nothing changes any more, what ran)."""
    board = board_for(core)
    x = quantize_input(clips.x, qmodel.main.inputs[0].scale, qmodel.main.inputs[0].bits)
    with tempfile.TemporaryDirectory() as folder:
        bundle = load_bundle(emit(lower(qmodel, core), Path(folder) / "c", {}, {}))
        elf = build_firmware([bundle], board, Path(folder) / "firmware")
        jobs = [Job((lane(bundle, frames[:steps]),)) for frames, steps in zip(x, clips.lengths, strict=True)]
        jobs.append(Job((lane(bundle, np.repeat(x[0, :1], STILL, axis=0)),)))
        counts = profile_each_step(elf, bundle, board, jobs)
        return counts[:-STILL], int(counts[-1]), bundle


if __name__ == "__main__":
    main()
