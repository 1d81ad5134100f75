"""How the benchmark compresses: a trained dense model and a case -> the integer model. Settings stand here.

Nothing sees the test split. Without training and without labels, methods read the training sequences alone;
what trains chooses its epoch by the validation split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from compression.rows import RANGES, Case, Found, Labels, float_labels, integer_labels
from compression.tasks import BENCHMARKS, Benchmark
from sequences.training import Recipe
from stepcell.compress import Task, distill, prune, prune_and_retrain
from stepcell.compress.criteria import SECOND_ORDER, criterion_named
from stepcell.compress.second_order import cut, rank_removals
from stepcell.ir import Model
from stepcell.ir.qmodel import QModel
from stepcell.ir.sequences import Sequences
from stepcell.lower import lower
from stepcell.quantize import quantize
from stepcell.quantize.context import Weights
from stepcell.target import load_core
from stepcell.train import Noise, fit_quantized

CORE = "cortex-m4"
WEIGHTS: Mapping[int, Weights] = {8: "int8", 4: "int4"}


@dataclass(frozen=True)
class Epochs:
    """Of every kind of training."""

    gradual: int
    units: int
    distilled: int
    quantized: int


EPOCHS: Mapping[str, Epochs] = {
    "fsdd-gru128": Epochs(30, 20, 20, 4),
    "japanese-vowels-gru32": Epochs(100, 100, 60, 10),
    "digits-lstm64": Epochs(30, 30, 30, 4),
}
QUICK = Epochs(2, 1, 1, 1)
QUANTIZED_RATE = 1e-3


@dataclass(frozen=True, eq=False)
class Source:
    """A dense model, its data, and what it answers to the test sequences [N]."""

    benchmark: Benchmark
    seed: int
    epochs: Epochs
    dense: Model
    task: Task
    test: Sequences
    answers: Labels

    @property
    def clips(self) -> Sequences:
        """The training sequences without their labels."""
        return unlabelled(self.task.train)

    @property
    def calibration(self) -> Sequences:
        """Some of them, evenly spread: for ranges, and for criteria that need data."""
        clips = self.clips
        return clips.take(np.arange(0, len(clips), max(len(clips) // RANGES, 1)))

    @property
    def noise(self) -> Noise:
        """That of the dense model's training."""
        return Noise(self.recipe.frame_noise, self.recipe.sequence_noise)

    @property
    def recipe(self) -> Recipe:
        """How the dense model was trained."""
        return self.benchmark.recipe


def unlabelled(data: Sequences) -> Sequences:
    """The inputs alone."""
    return replace(data, y=None)


@lru_cache(maxsize=1)
def source(task: str, seed: int, quick: bool) -> Source:
    """The dense model of a seed; trained, if it is not there yet."""
    benchmark = BENCHMARKS[task]
    dense, data = benchmark.model(seed), benchmark.task(seed)
    assert data.test is not None
    answers = float_labels(dense, data.test)
    return Source(benchmark, seed, QUICK if quick else EPOCHS[task], dense, data, data.test, answers)


def measured(cases: Sequence[Case], seed: int, quick: bool = False) -> Iterator[tuple[Case, Found]]:
    """Cases that differ in pattern and density alone, compressed and judged on the test sequences."""
    found = source(cases[0].task, seed, quick)
    for case, model in _compressed(found, cases):
        qmodel = quantize(model, found.calibration, "auto", weights=WEIGHTS[case.bits])
        yield case, _judged(found, qmodel)


def _judged(found: Source, qmodel: QModel) -> Found:
    labels, y = integer_labels(qmodel, found.test), np.asarray(found.test.y)
    plan = lower(qmodel, load_core(CORE))
    estimate = plan.main.estimate
    assert estimate is not None  # the core's costs are all measured
    return Found(
        float(np.mean(found.answers == y)),
        float(np.mean(labels == y)),
        float(np.mean(labels == found.answers)),
        sum(table.bytes for table in plan.tables),
        estimate.instructions,
    )


def _compressed(found: Source, cases: Sequence[Case]) -> Iterator[tuple[Case, Model]]:
    match cases[0].training:
        case "none":
            yield from _pruned(found, cases)
        case "unlabelled":
            yield from ((case, _distilled(found, case)) for case in cases)
        case "labelled":
            yield from ((case, _retrained(found, case)) for case in cases)


def _pruned(found: Source, cases: Sequence[Case]) -> Iterator[tuple[Case, Model]]:
    """Without training: scores are found once for all cases, a ranking in closed form once a pattern."""
    criterion, pattern = cases[0].criterion, cases[0].pattern
    if criterion == "none":
        yield from ((case, found.dense) for case in cases)
    elif criterion == SECOND_ORDER:
        ranking = rank_removals(found.dense, found.clips, pattern, seed=found.seed)
        yield from ((case, cut(ranking, 1.0 - case.density)) for case in cases)
    else:
        data = found.calibration
        scores = criterion_named(criterion, found.seed)(found.dense, data)
        for case in cases:
            yield case, prune(found.dense, 1.0 - case.density, lambda *_: scores, case.pattern, data=data)


def _distilled(found: Source, case: Case) -> Model:
    """Pruned, then taught by the dense model alone; at density 1 as integers compute it."""
    if case.criterion == "none":
        return _on_integers(found, case, found.clips, unlabelled(found.task.validation))
    ((_, student),) = _pruned(found, [case])
    return distill(
        found.dense,
        student,
        found.clips,
        unlabelled(found.task.validation),
        classes=True,
        epochs=found.epochs.distilled,
        batch_size=found.recipe.batch,
        seed=found.seed,
        noise=found.noise,
    )


def _retrained(found: Source, case: Case) -> Model:
    """Pruned step by step while training on labels; units at once; at density 1 as integers compute it."""
    if case.criterion == "none":
        return _on_integers(found, case, found.task.train, found.task.validation)
    units = case.pattern == "units"
    return prune_and_retrain(
        found.dense,
        found.task.train,
        found.task.validation,
        1.0 - case.density,
        case.pattern,
        schedule="one-shot" if units else "gradual",
        criterion=case.criterion,
        epochs=found.epochs.units if units else found.epochs.gradual,
        learning_rate=found.recipe.learning_rate,
        batch_size=found.recipe.batch,
        seed=found.seed,
        noise=found.noise,
    )


def _on_integers(found: Source, case: Case, train: Sequences, validation: Sequences) -> Model:
    return fit_quantized(
        found.dense,
        train,
        validation,
        weights=WEIGHTS[case.bits],
        calibration=found.calibration,
        epochs=found.epochs.quantized,
        learning_rate=QUANTIZED_RATE,
        seed=found.seed,
    )
