"""`make bench-compression`: every way to compress, on three tasks, over three seeds.

    python examples/compression/bench.py [--tasks fsdd-gru128] [--seeds 0 1 2] [--only none] [--quick]

Without training, every criterion in every pattern at every density; with it, a smaller set of rows: the dense
model as the only teacher of unlabelled sequences, gradual pruning and smaller layers with labels, and
quantization-aware training. methods.py says how each is done, rows.py what a row holds.

Writes build/bench/compression.json and compression.md after every job, so that a killed run goes on where it
was (--fresh begins anew). One process with one thread a core; training takes place on a GPU where there is
one.

What it takes decides the lists below: by the seconds of single jobs about 4,500 of one core, under 40 minutes
on two. The spoken digits take 3,800 of them: a ranking in closed form 9 and each density of it 16, another
row without training 1.2, an epoch of gradual pruning 3 and one of distillation 2.3. So blocks wider than 4x2
have two densities.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from compression.methods import measured
from compression.rows import TRAININGS, Case, Found, Row, Training, add, load_rows, save_rows
from compression.summary import markdown, tables
from compression.tasks import BENCHMARKS
from sequences.cache import REPOSITORY
from stepcell.compress import CRITERIA
from stepcell.compress.criteria import SECOND_ORDER

RESULT = REPOSITORY / "build" / "bench" / "compression.json"
QUICK_RESULT = RESULT.with_name("compression-quick.json")
WIDTH = 130
"""Columns of tables that are written to a file."""

DENSITIES = (0.6, 0.35, 0.25, 0.1)
WIDE_DENSITIES = (0.6, 0.25)
UNITS_DENSITIES = (0.5, 0.35, 0.25, 0.144)
"""0.144 of the recurrent layer, and what then is left of the head, is a sixth of the multiplications."""
PATTERNS: dict[str, tuple[float, ...]] = {
    **dict.fromkeys(("unstructured", "4x1", "4x2"), DENSITIES),
    **dict.fromkeys(("4x4", "8x1", "8x2", "4x16"), WIDE_DENSITIES),
    "2:4": (0.5,),
    "units": UNITS_DENSITIES,
}
"""Single weights, every block that the cost table of some core has, 2 of 4 blocks 4x1, whole units."""
Method = tuple[Training, str, str, float, int]
"""training, criterion, pattern, density, bits"""
TRAINED: tuple[Method, ...] = (
    ("unlabelled", SECOND_ORDER, "unstructured", 0.15, 8),
    ("unlabelled", SECOND_ORDER, "4x1", 0.25, 8),
    ("unlabelled", "magnitude", "4x1", 0.25, 8),
    ("unlabelled", "activity", "units", 0.25, 8),
    ("unlabelled", "none", "unstructured", 1.0, 4),
    ("labelled", "activity", "4x2", 0.1, 8),
    ("labelled", "magnitude", "4x2", 0.1, 8),
    ("labelled", "activity", "4x2", 0.05, 8),
    ("labelled", "activity", "units", 0.144, 8),
    ("labelled", "none", "unstructured", 1.0, 8),
    ("labelled", "none", "unstructured", 1.0, 4),
)
DENSE: tuple[Method, ...] = tuple(("none", "none", "unstructured", 1.0, bits) for bits in (8, 4))
QUICK: tuple[Method, ...] = (
    DENSE[0],
    ("none", "magnitude", "4x2", 0.5, 8),
    ("none", "magnitude", "units", 0.5, 8),
    ("none", SECOND_ORDER, "4x1", 0.5, 8),
    ("unlabelled", SECOND_ORDER, "4x1", 0.25, 8),
    ("labelled", "activity", "4x2", 0.1, 8),
    ("labelled", "none", "unstructured", 1.0, 4),
)
"""A look at whether everything runs: few epochs, and no numbers to quote."""


Given = TypeVar("Given")
Result = TypeVar("Result")


class Job(NamedTuple):
    """What one process does in one go."""

    cases: tuple[Case, ...]
    seed: int
    quick: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is not measured yet, and print all that is."""
    options = _options(arguments)
    console, file = Console(), options.output or (QUICK_RESULT if options.quick else RESULT)
    if not console.is_terminal:
        console.width = WIDTH
    rows, only = load_rows(file), options.only or TRAININGS
    if options.fresh:
        rows = [row for row in rows if row.task not in options.tasks or row.training not in only]
    work = jobs(options.tasks, options.seeds, only, options.quick, rows)
    try:
        _measure(work, rows, file, options.processes, console)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    for table in tables(rows):
        console.print(table)
    console.print(f"-> {file}")
    return 0


def methods(quick: bool) -> Iterator[Method]:
    """Every row of a task; what takes longest first, so that the last jobs of a run are short."""
    if quick:
        yield from QUICK
        return
    yield from TRAINED
    for criterion in (SECOND_ORDER, *CRITERIA):
        for pattern, densities in PATTERNS.items():
            if (criterion, pattern) == (SECOND_ORDER, "units"):
                continue  # it ranks weights, which is no measure of a unit
            yield from (("none", criterion, pattern, density, 8) for density in densities)
    yield from DENSE


def jobs(
    tasks: Iterable[str], seeds: Iterable[int], only: Iterable[Training], quick: bool, done: Sequence[Row]
) -> list[Job]:
    """What the rows that are there leave to do."""
    seeds_done = {row.case: row.seeds for row in done}
    found: dict[tuple[int, tuple[object, ...]], list[Case]] = {}
    for task, seed in itertools.product(tasks, seeds):
        for training, criterion, pattern, density, bits in methods(quick):
            case = Case(task, criterion, pattern, density, training, bits)
            if training in only and seed not in seeds_done.get(case, ()):
                found.setdefault((seed, _shared(case)), []).append(case)
    work = [Job(tuple(cases), seed, quick) for (seed, _), cases in found.items()]
    return sorted(work, key=lambda job: job.cases[0].training == "none")


def _shared(case: Case) -> tuple[object, ...]:
    """What the cases of a job have in common: the work that they share."""
    if case.training != "none" or case.criterion == "none":
        return case
    return case[:3] if case.criterion == SECOND_ORDER else case[:2]


def _measure(work: Sequence[Job], rows: list[Row], file: Path, processes: int, console: Console) -> None:
    """Dense models first, since jobs share them; the file is whole after every job."""
    sources = list(dict.fromkeys((job.cases[0].task, job.seed) for job in work))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        ready = _each(_train_source, sources, processes)
        for _ in bar.track(ready, len(sources), description="dense models"):
            pass
        done = _each(_run, work, processes)
        for job, found in bar.track(done, len(work), description="compressing"):
            for case, numbers in found:
                add(rows, case, BENCHMARKS[case.task].cell, job.seed, numbers)
            save_rows(file, rows)
            file.with_suffix(".md").write_text(markdown(rows))


def _each(run: Callable[[Given], Result], work: Sequence[Given], processes: int) -> Iterator[Result]:
    """What `run` makes of each, as it comes; in this process where one is enough."""
    if min(processes, len(work)) <= 1:
        yield from map(run, work)
        return
    with multiprocessing.get_context("spawn").Pool(min(processes, len(work)), _one_thread) as pool:
        yield from pool.imap_unordered(run, work)


def _one_thread() -> None:
    torch.set_num_threads(1)


def _train_source(source: tuple[str, int]) -> None:
    task, seed = source
    BENCHMARKS[task].source(seed)


def _run(job: Job) -> tuple[Job, list[tuple[Case, Found]]]:
    return job, list(measured(job.cases, job.seed, job.quick))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure every way to compress on three tasks.")
    parser.add_argument("--tasks", nargs="+", default=list(BENCHMARKS), choices=list(BENCHMARKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=TRAININGS, help="rows trained so, in place of all")
    parser.add_argument("--quick", action="store_true", help="a few rows and epochs, to see that all runs")
    parser.add_argument("--fresh", action="store_true", help="measure again what is there")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--output", type=Path, help=f"by default {RESULT.relative_to(REPOSITORY)}")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
