"""The whole chain over a whole data set: source, compressed float, integers, ONNX Runtime, C, chips."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stepcell.importers.onnx.load import read_model
from stepcell.ir.sequences import Sequences
from stepcell.reference.float_model import run_float_functions
from stepcell.reference.float_session import run_float_in_onnx_runtime
from stepcell.reference.integer_data import Feed, quantize_sequences
from stepcell.reference.integer_model import IntegerRun, run_functions
from stepcell.reference.integer_session import run_functions_in_onnx_runtime
from stepcell.reference.onnx_runtime import run_source
from stepcell.validate.backends import (
    check_backends,
    mismatches,
    outputs,
    run_backend,
    session_mismatches,
    values_compared,
)
from stepcell.validate.clipping import clipped_inputs
from stepcell.validate.files import BundleFiles, open_bundle
from stepcell.validate.judge import Outputs, from_integers, in_order, judge_of, largest_errors, rms_errors


@dataclass(frozen=True)
class Validation:
    """What `validate --json` prints.

    Accuracies are 0-1 of sequences or steps (`accuracy_unit`), None without labels; those of `accuracy_c`
    are judged by what the C itself answered on each backend. Of several outputs one is judged.
    """

    float_vs_ort_max_abs: float
    integer_vs_ort_mismatches: int
    c_vs_integer_mismatches: dict[str, int]
    values_compared: int
    accuracy_unit: str
    accuracy_source: float | None
    accuracy_float: float | None
    accuracy_integer: float | None
    accuracy_c: dict[str, float | None]
    label_agreement: float
    max_abs_error: float
    cell_saturations: dict[str, int]
    clipped_inputs: dict[str, int]
    judged_output: str
    max_abs_errors: dict[str, float]
    rms_errors: dict[str, float]

    @property
    def mismatches(self) -> int:
        """Everything that should be zero."""
        return self.integer_vs_ort_mismatches + sum(self.c_vs_integer_mismatches.values())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; which output is judged goes without saying where there is one."""
        found = asdict(self)
        if len(self.max_abs_errors) == 1:
            del found["judged_output"], found["max_abs_errors"]
        return found


OnStage = Callable[[str, float], None]
"""Hears what is being run, and how much of that is done (0-1)."""


def validate(
    folder: Path,
    data: Sequences,
    backends: tuple[str, ...] = ("host",),
    threshold: float = 0.5,
    on_stage: OnStage = lambda *_: None,
) -> Validation:
    """Compare every link of the chain over `data`; `on_stage` hears what is being run.

    Raises StepcellError for data that does not fit the model, a missing tool, or an unknown backend.
    """
    check_backends(backends)
    files = open_bundle(folder)
    q = files.qmodel
    feeds = quantize_sequences(q, data)
    judge = judge_of(q, data, feeds, threshold)
    on_stage("source in ONNX Runtime", 0.0)
    source = _run_source(files, data)
    on_stage("compressed float model", 0.0)
    floats, float_error = _run_float(files, data, feeds)
    on_stage("integer reference", 0.0)
    runs = run_functions(q, feeds)
    integers = from_integers(q, {name: run.outputs for name, run in runs.items()}, feeds)
    on_stage("integer model in ONNX Runtime", 0.0)
    protos = {name: read_model(path)[0] for name, path in files.onnx("integer").items()}
    session = run_functions_in_onnx_runtime(q, protos, feeds)
    chips = {backend: _run_c(backend, files, feeds, runs, on_stage) for backend in backends}
    errors = _by_name(files, largest_errors(integers, source, feeds))
    judged = _names(files)[judge.function.name][0]
    return Validation(
        float_vs_ort_max_abs=float_error,
        integer_vs_ort_mismatches=session_mismatches(session, runs, feeds),
        c_vs_integer_mismatches={backend: wrong for backend, (wrong, _) in chips.items()},
        values_compared=values_compared(runs, feeds),
        accuracy_unit=judge.unit,
        accuracy_source=judge.accuracy(source),
        accuracy_float=judge.accuracy(floats),
        accuracy_integer=judge.accuracy(integers),
        accuracy_c={backend: judge.accuracy(real) for backend, (_, real) in chips.items()},
        label_agreement=judge.agreement(integers, source),
        max_abs_error=errors[judged],
        cell_saturations=_saturations(runs),
        clipped_inputs=clipped_inputs(q, data),
        judged_output=judged,
        max_abs_errors=errors,
        rms_errors=_by_name(files, rms_errors(integers, source, feeds)),
    )


def _names(files: BundleFiles) -> dict[str, list[str]]:
    """What the outputs of each function are called: as in C, after their function where there are several."""
    several = len(files.bundle.functions) > 1
    return {
        name.name: [f"{of.name}.{port.name}" if several else port.name for port in of.outputs]
        for name, of in zip(files.qmodel.functions, files.bundle.functions, strict=True)
    }


def _by_name(files: BundleFiles, errors: dict[str, list[float]]) -> dict[str, float]:
    names = _names(files)
    return {name: error for of in errors for name, error in zip(names[of], errors[of], strict=True)}


def _saturations(runs: dict[str, IntegerRun]) -> dict[str, int]:
    """Over all functions."""
    total: dict[str, int] = {}
    for run in runs.values():
        for state, count in run.saturations.items():
            total[state] = total.get(state, 0) + count
    return total


def _run_c(
    backend: str,
    files: BundleFiles,
    feeds: dict[str, Feed],
    runs: dict[str, IntegerRun],
    on_stage: OnStage,
) -> tuple[int, Outputs]:
    """(values that differ from the reference, the C's own outputs as real numbers)."""
    stage = f"C on {backend}"
    on_stage(stage, 0.0)
    results = run_backend(backend, files.bundle, feeds, on_part=lambda part: on_stage(stage, part))
    stored = outputs(files.bundle, files.qmodel, results, feeds)
    return mismatches(files.bundle, results, runs, feeds), from_integers(files.qmodel, stored, feeds)


def _run_source(files: BundleFiles, data: Sequences) -> Outputs:
    """What the user trained answers, in ONNX Runtime."""
    if not files.has_one_source:
        return in_order(files.qmodel, run_float_in_onnx_runtime(files.model, files.onnx("source"), data))
    function = files.model.main
    ((name, path),) = files.onnx("source").items()
    streams = data.feed([value.name for value in function.inputs])
    return in_order(files.qmodel, {name: run_source(path, files.source, streams, data.lengths)})


def _run_float(files: BundleFiles, data: Sequences, feeds: dict[str, Feed]) -> tuple[Outputs, float]:
    """The compressed model's outputs in ONNX Runtime, and how far those are from the interpreter's."""
    runs = run_float_functions(files.model, data)
    q = files.qmodel
    interpreted = in_order(q, {f.name: runs[f.name].outputs(f) for f in files.model.functions})
    exported = in_order(q, run_float_in_onnx_runtime(files.model, files.onnx("float"), data))
    errors = largest_errors(exported, interpreted, feeds)
    return exported, max((error for of in errors.values() for error in of), default=0.0)
