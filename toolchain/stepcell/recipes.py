"""A recipe on one screen: every pass, what it did to the model, and the files that it can go on from."""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from stepcell.compress.passes import Setting, describe, run_pass
from stepcell.compress.recipe import Pass, Qat, Quantize, Recipe, read_recipe
from stepcell.compress.task import Task, load_task
from stepcell.errors import StepcellError
from stepcell.importers import import_model
from stepcell.ir.files import dump_compressed
from stepcell.ir.model import Model
from stepcell.ir.qmodel import QModel
from stepcell.ir.sequences import Array, Sequences, by_function
from stepcell.lower.block import preferred_block
from stepcell.pipeline import original_of
from stepcell.quantize import quantize
from stepcell.report.compression import Line, density
from stepcell.report.finished_passes import Finished, made_from
from stepcell.report.target_cost import cost_on_target, longest_run
from stepcell.target import resolve_target
from stepcell.validate.metrics import Yardstick

if TYPE_CHECKING:
    from rich.console import Console

RECIPE = "recipe.toml"
Split = Literal["validation", "test"]
CALIBRATION = 256
"""Sequences of the training data that scales come from; passes read all of it."""


@dataclass(frozen=True, eq=False)
class Compressed:
    """The model after the last pass, the integers that it is made for, and a line for every pass.

    The last line is of the test split, where there is one.
    """

    model: Model
    integers: Quantize
    lines: tuple[Line, ...]


def run_recipe(
    model: Model,
    recipe: Recipe,
    task: Task,
    target: str = "cortex-m4",
    folder: Path | None = None,
    *,
    resume: bool = False,
    seed: int = 0,
    console: "Console | None" = None,
    on_line: Callable[[Line], None] = lambda _: None,
) -> Compressed:
    """Run the passes in order; after each, judge the model on validation data and cost it on the target.

    The test split is read once, after the last pass. folder: keeps passes/NN.npz and log.jsonl after every
    pass; with `resume`, passes that are found there for the same model, recipe, task and seed are not run
    again, and the next goes on from its last epoch. console: shows progress bars.
    Raises StepcellError as the passes do.
    """
    core, _ = resolve_target(target)
    judge, calibration = _Judge(model, task, target), calibration_of(task)
    setting = Setting(task, calibration, model, preferred_block(core), seed=seed, console=console)
    integers, lines = Quantize(), list[Line]()

    def add(line: Line) -> None:
        lines.append(line)
        on_line(line)
        if folder is not None:
            log = "".join(json.dumps(line.to_json()) + "\n" for line in lines)
            (folder / "log.jsonl").write_text(log)

    with tempfile.TemporaryDirectory(prefix="stepcell-") as temporary:
        place = Path(temporary) if folder is None else folder
        finished = Finished(place / "passes", resume, made_from(model, task, target, seed))
        for number, step in enumerate((None, *recipe.passes)):
            found = finished.begin(number, step)
            integers = _integers_after(step, integers)
            if found is None:
                start, setting = time.perf_counter(), replace(setting, checkpoint=finished.checkpoint(number))
                model = model if step is None else _run(model, number, step, setting)
                seconds = time.perf_counter() - start
                what = "source" if step is None else describe(step)
                found = model, judge(model, integers, number, what, "validation", seconds)
                finished.keep(number, *found)
            model, line = found
            add(line)
    if task.test is not None:
        add(judge(model, integers, len(recipe.passes), "result", "test", 0.0))
    return Compressed(model, integers, tuple(lines))


def _integers_after(step: Pass | None, before: Quantize) -> Quantize:
    match step:
        case Quantize():
            return step
        case Qat():
            return step.integers
        case _:
            return before


def _run(model: Model, number: int, step: Pass, setting: Setting) -> Model:
    """The pass, whose errors say which one it was."""
    try:
        return run_pass(model, step, setting)
    except StepcellError as error:
        where = f"pass {number} ({describe(step)})"
        raise StepcellError(f"{where}: {error.message}", error.hint) from error


def compress_file(
    spec: str,
    recipe_file: Path,
    task_file: Path,
    folder: Path,
    target: str = "cortex-m4",
    *,
    resume: bool = False,
    seed: int = 0,
    console: "Console | None" = None,
    on_line: Callable[[Line], None] = lambda _: None,
    **import_options: object,
) -> Compressed:
    """Run a recipe on a model file and write `folder`: model.npz, calibration.npz, log.jsonl, recipe.toml.

    model.npz is read by `stepcell compile`; it keeps the source, which stays the judge of what it becomes.
    Raises StepcellError for every mistake in what was given, before anything is written.
    """
    resolve_target(target)
    _check_folder(folder)
    recipe = read_recipe(recipe_file)
    model = import_model(spec, **import_options)  # type: ignore[arg-type]
    original, task = original_of(model, spec), load_task(task_file)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECIPE).write_text(recipe.text)
    options = {"resume": resume, "seed": seed, "console": console, "on_line": on_line}
    found = run_recipe(model, recipe, task, target, folder, **options)  # type: ignore[arg-type]
    (folder / "model.npz").write_bytes(dump_compressed(found.model, original.onnx))
    _save_data(folder / "calibration.npz", found.model, calibration_of(task))
    return found


def _check_folder(folder: Path) -> None:
    """StepcellError where the folder holds something else than an earlier compression."""
    if folder.exists() and not folder.is_dir():
        raise StepcellError(f"{folder} is a file, not a folder.", "choose another output folder.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / RECIPE).is_file():
        raise StepcellError(
            f"{folder} is not empty, and `stepcell compress` has not written it.",
            "choose another folder, or empty this one.",
        )


def _save_data(path: Path, model: Model, data: Sequences) -> None:
    """The data file that `load_sequences_for` reads, without labels."""
    arrays: dict[str, Array] = {}
    for index, (function, (name, fed)) in enumerate(
        zip(model.functions, by_function(model.functions, data).items(), strict=True)
    ):
        prefix = f"{name}." if index else ""
        streams = fed.feed([value.name for value in function.inputs])
        named = streams if len(streams) > 1 else {"x": fed.x}
        arrays |= {f"{prefix}{key}": x for key, x in {**named, "lengths": fed.lengths}.items()}
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def calibration_of(task: Task) -> Sequences:
    """The training sequences that scales come from: all, or `CALIBRATION` of them drawn at random."""
    count = len(task.train)
    chosen = np.random.default_rng(0).permutation(count)[:CALIBRATION]
    return task.train if count <= CALIBRATION else task.train.take(np.sort(chosen))


def quantize_as(model: Model, calibration: Sequences, integers: Quantize) -> QModel:
    """The integer model that a recipe's `quantize` asks for."""
    return quantize(
        model,
        calibration,
        integers.activations,
        integers.percentile,
        integers.weights,
        calibrator=integers.calibrator,
        bias_correction=integers.bias_correction,
    )


class _Judge:
    """Lines of the table, all against the same source."""

    def __init__(self, source: Model, task: Task, target: str) -> None:
        self._source, self._task, self._target = source, task, target
        self._calibration = calibration_of(task)
        self._yardsticks: dict[str, Yardstick] = {}

    def __call__(
        self, model: Model, integers: Quantize, number: int, what: str, split: Split, seconds: float
    ) -> Line:
        qmodel = quantize_as(model, self._calibration, integers)
        yardstick = self._yardstick(split, qmodel)
        floats, whole = yardstick.floats(model), yardstick.integers(qmodel)
        cost = cost_on_target(qmodel, self._target, longest_run(model, self._task.train))
        return Line(
            number=number,
            what=what,
            split=split,
            density=density(model),
            bits=integers.weights,
            floats=dict(floats.numbers),
            integers=dict(whole.numbers),
            label_agreement=whole.label_agreement,
            seconds=round(seconds, 1),
            **asdict(cost),
        )

    def _yardstick(self, split: Split, qmodel: QModel) -> Yardstick:
        if split not in self._yardsticks:
            data = self._task.test if split == "test" else self._task.validation
            assert data is not None
            metric, threshold = self._task.metric, self._task.threshold
            self._yardsticks[split] = Yardstick(self._source, qmodel, data, metric, threshold)
        return self._yardsticks[split]
