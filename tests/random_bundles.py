"""Random models compiled to bundles, with frames and the integer reference's answers to them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from random_graphs import Build
from random_models import random_frames, random_qmodel, random_sequences
from stepcell.build import Bundle, load_bundle
from stepcell.emit import emit
from stepcell.ir import Finish, Function, Model, Stage, verify
from stepcell.ir.ops import Value
from stepcell.ir.qmodel import IntArray, QModel
from stepcell.lower import Plan, lower
from stepcell.lower.formats import Optimize
from stepcell.lower.kernels import Kernel, kernels_of
from stepcell.quantize import quantize
from stepcell.reference.integer_data import Feed
from stepcell.reference.integer_model import IntegerRun, run_integer
from stepcell.run import Job, JobResult, Kind, Lane, lane
from stepcell.run.wire import MAX_LANES
from stepcell.target import Core, load_core
from stepcell.validate.backends import mismatches

M4 = load_core("cortex-m4")
Runner = Callable[[Sequence[Job]], list[JobResult]]


@dataclass(frozen=True, eq=False)
class Case:
    """A bundle and frames x [N, T, ...] for it."""

    qmodel: QModel
    plan: Plan
    bundle: Bundle
    x: IntArray

    @cached_property
    def reference(self) -> IntegerRun:
        """What the integer reference makes of `x`."""
        return run_integer(self.qmodel, self.x)

    def jobs(self, aligned: bool = False) -> list[Job]:
        """One job a sequence, every second one misaligned unless all shall be `aligned`."""
        return [
            Job((lane(self.bundle, frames),), misaligned=i % 2 == 1 and not aligned)
            for i, frames in enumerate(self.x)
        ]

    def mismatches(self, results: list[JobResult]) -> int:
        """How many states and outputs of `jobs` differ from the reference."""
        name = self.qmodel.main.name
        feed = Feed({self.qmodel.main.inputs[0].name: self.x}, np.full(len(self.x), self.x.shape[1]))
        return mismatches(self.bundle, results, {name: self.reference}, {name: feed})

    @property
    def functions(self) -> set[str]:
        """The runtime functions and kernels of a step."""
        return {name for call in self.plan.calls for name in (call.function, *call.kernels)}


def make_case(folder: Path, seed: int, core: Core = M4, **overrides: Any) -> Case:
    """The random model of a seed (even: int8, odd: int16 activations) as a bundle in `folder`."""
    rng = np.random.default_rng(seed)
    qmodel, _ = random_qmodel(rng, ("int8", "int16")[seed % 2], name=f"m{seed}", **overrides)
    return compile_case(folder, qmodel, rng, core)


def compile_case(
    folder: Path, qmodel: QModel, rng: Generator, core: Core = M4, optimize: Optimize = "size"
) -> Case:
    """A bundle of `qmodel` in a folder of its name, and frames drawn for it."""
    plan = lower(qmodel, core, optimize=optimize)
    bundle = load_bundle(emit(plan, folder / qmodel.name, {}, {}))
    return Case(qmodel, plan, bundle, random_frames(rng, qmodel))


def sized_model(
    name: str, layers: tuple[str, ...], features: int, units: int, outputs: int, head: str
) -> QModel:
    """An int8 model of exactly these sizes with Gaussian weights."""
    rng = np.random.default_rng(0)
    model = sized_float_model(rng, name, layers, features, units, outputs, head)
    return quantize(model, random_sequences(rng, model), "int8")


def sized_float_model(
    rng: Generator, name: str, layers: tuple[str, ...], features: int, units: int, outputs: int, head: str
) -> Model:
    """A float model of exactly these sizes with Gaussian weights."""
    build = Build(rng, units, "gaussian", False)
    build.size = lambda: units  # type: ignore[method-assign]
    x = y = Value("x", (features,))
    for layer in layers:
        y = build.layer(layer, y)
    build.size = lambda: outputs  # type: ignore[method-assign]
    output, finished = build.head(head, y, False)
    finish = Finish(tuple(build.finish), (output,)) if finished else None
    stage = Stage("main", (x,), tuple(build.ops), tuple(build.updates), () if finished else (output,))
    function = Function("main", (x,), (stage,), finish, (output,))
    return verify(Model(name, (function,), tuple(build.states), build.weights, build.masks))


def preferring(core: Core, form: str | Kernel) -> Core:
    """The core with costs that favour a kernel, or those of a format, wherever it is no bigger than dense."""
    if form == "measured":
        return core
    cost = {
        kernel.name: 2 * [0.0] if form in (kernel, kernel.format) else 2 * [1.0]
        for kernel in kernels_of(core)
    }
    costs = {name: {"group": group, "item": item} for name, (group, item) in cost.items()}
    return replace(core, costs={**core.costs, **costs})


def run_cases(cases: Sequence[Case], run: Runner, aligned: bool = False) -> dict[str, int]:
    """Run all in one go: model -> mismatches, of those that have any."""
    jobs = [case.jobs(aligned) for case in cases]
    results = run([job for part in jobs for job in part])
    wrong: dict[str, int] = {}
    for case, part in zip(cases, jobs, strict=True):
        mine, results = results[: len(part)], results[len(part) :]
        if count := case.mismatches(mine):
            wrong[case.bundle.name] = count
    return wrong


def run_selftests(bundles: Iterable[Bundle], run: Runner) -> dict[str, int]:
    """Run every self-test: model -> its answer, of those that fail."""
    every = tuple(bundles)
    lanes = [Lane(bundle, ()) for bundle in every]
    jobs = [Job(tuple(lanes[i : i + MAX_LANES]), Kind.SELFTEST) for i in range(0, len(lanes), MAX_LANES)]
    codes = [result.selftest for results in run(jobs) for result in results]
    return {b.name: code for b, code in zip(every, codes, strict=True) if code is not None and code != 0}
