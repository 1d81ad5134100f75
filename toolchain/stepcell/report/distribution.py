"""What the steps of a data set cost, for models whose instructions depend on the data (`compile --delta`)."""

from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepcell.errors import StepcellError
from stepcell.ir.qmodel import IntArray, QHold, QModel
from stepcell.ir.sequences import Sequences
from stepcell.reference.integer_data import quantize_sequences
from stepcell.reference.integer_model import IntegerRun, run_functions
from stepcell.run import Job, profile_each_step
from stepcell.target import Board
from stepcell.validate import BundleFiles, OnStage
from stepcell.validate.backends import lanes

STEPS_AT_ONCE = 512
"""Sequences run in parts of about so many steps, for the progress bar."""


@dataclass(frozen=True)
class Spread:
    """Instructions of a step; median and 95th percentile are those of some step."""

    min: int
    median: int
    mean: float
    p95: int
    max: int


@dataclass(frozen=True)
class Distribution:
    """The steps of a data set: exact instructions, and which share of the columns was skipped, 0-1.

    `columns_skipped` is None for a model that holds nothing, `skipped` has the share of each held vector.
    """

    steps: int
    instructions: Spread
    columns_skipped: float | None
    skipped: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def measure_distribution(
    elf: Path, files: BundleFiles, board: Board, backend: str, data: Sequences, on_stage: OnStage
) -> Distribution:
    """Run every sequence in an emulator that counts, each from its initial state."""
    q, bundle = files.qmodel, files.bundle
    if len(bundle.functions) > 1 or not bundle.main.is_step:
        raise StepcellError(
            f"{bundle.name} is no model of one step function, and only steps are counted one by one.",
            "leave --data out.",
        )
    feeds = quantize_sequences(q, data)
    (feed,) = feeds.values()
    jobs = [Job((one,)) for one in lanes(bundle, feeds)]
    parts = []
    for part in _parts(feed.lengths):
        on_stage(f"count on {backend}", part.start / len(jobs))
        parts.append(profile_each_step(elf, bundle, board, jobs[part], backend))
    counts = np.concatenate(parts)
    (run,) = run_functions(q, feeds).values()
    share, of_each = skipped_columns(q, run, feed.lengths)
    return Distribution(len(counts), spread(counts), share, of_each)


def spread(counts: NDArray[np.int64]) -> Spread:
    """The numbers that describe the counts of some steps."""
    median, p95 = np.percentile(counts, [50, 95], method="inverted_cdf")
    return Spread(int(counts.min()), int(median), float(counts.mean()), int(p95), int(counts.max()))


def skipped_columns(
    qmodel: QModel, run: IntegerRun, lengths: IntArray
) -> tuple[float | None, dict[str, float]]:
    """(share of the columns of all steps that did not change, the same of each held vector)."""
    valid = np.arange(next(iter(run.states.values())).shape[1]) < lengths[:, None]
    of_each = {}
    kept = total = 0
    for held in (op.held for op in qmodel.all_ops if isinstance(op, QHold)):
        after = run.states[held].reshape(*valid.shape, -1)
        same = np.diff(after, axis=1, prepend=0)[valid] == 0
        kept, total = kept + int(same.sum()), total + same.size
        of_each[held] = float(same.mean())
    return (kept / total if total else None), of_each


def _parts(lengths: IntArray) -> list[slice]:
    """The sequences in order, in parts of about STEPS_AT_ONCE steps."""
    part = np.cumsum(lengths) // STEPS_AT_ONCE
    starts = [0, *(np.flatnonzero(np.diff(part)) + 1), len(lengths)]
    return [slice(int(a), int(b)) for a, b in pairwise(starts)]
