"""The whole chain over a whole data set: source, compressed float, integers, ONNX Runtime, C, chips."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stepcell.build import Bundle, load_bundle
from stepcell.errors import StepcellError
from stepcell.importers.onnx.load import read_model
from stepcell.ir.files import load_model, load_qmodel, source_from_json
from stepcell.ir.model import FloatArray, Model, Source, SourceTensor
from stepcell.ir.ops import Value
from stepcell.ir.qmodel import IntArray, QModel
from stepcell.ir.sequences import Sequences
from stepcell.reference.float_model import run_float
from stepcell.reference.float_ops import softmax
from stepcell.reference.integer_model import IntegerRun, run_integer
from stepcell.reference.integer_ops import quantize_input
from stepcell.reference.integer_session import run_integer_in_onnx_runtime
from stepcell.reference.onnx_runtime import run_source
from stepcell.validate.backends import (
    check_backends,
    mismatches,
    outputs,
    run_backend,
    session_mismatches,
    values_compared,
)
from stepcell.validate.labels import accuracy, agreement, labels, valid_steps


@dataclass(frozen=True)
class Validation:
    """What `validate --json` prints.

    Accuracies are 0-1 of sequences or steps (`accuracy_unit`), None without labels; those of `accuracy_c`
    are judged by what the C itself answered on each backend.
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

    @property
    def mismatches(self) -> int:
        """Everything that should be zero."""
        return self.integer_vs_ort_mismatches + sum(self.c_vs_integer_mismatches.values())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


OnStage = Callable[[str, float], None]
"""Hears what is being run, and how much of that is done (0-1)."""


@dataclass(frozen=True, eq=False)
class BundleFiles:
    """What a bundle folder holds beside its C."""

    bundle: Bundle
    model: Model
    qmodel: QModel
    source: Source
    folder: Path

    @property
    def inputs(self) -> tuple[Value, ...]:
        """What data must look like."""
        return (Value(self.qmodel.input.name, self.qmodel.input.shape),)

    def onnx(self, name: str) -> Path:
        """One of the ONNX models: source, float or integer."""
        return self.folder / "onnx" / f"{name}.onnx"


def open_bundle(folder: Path) -> BundleFiles:
    """Raises StepcellError where `folder` is no complete bundle."""
    bundle = load_bundle(folder)
    floats, integers = folder / "onnx" / "float.npz", folder / "onnx" / "integer.npz"
    try:
        contents = floats.read_bytes(), integers.read_bytes()
        source = source_from_json(json.loads((folder / "manifest.json").read_text())["source"])
    except (OSError, KeyError, TypeError) as error:
        raise StepcellError(f"{folder} is not a complete bundle: {error}.", "compile it again.") from error
    model, qmodel = load_model(contents[0], str(floats)), load_qmodel(contents[1], str(integers))
    return BundleFiles(bundle, model, qmodel, source, folder)


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
    on_stage("source in ONNX Runtime", 0.0)
    source = _only(run_source(files.onnx("source"), files.source, data.x, data.lengths), files, data)
    on_stage("compressed float model", 0.0)
    floats, float_error = _run_float(files, data)
    on_stage("integer reference", 0.0)
    x = quantize_input(data.x, q.input.scale, q.input.bits)
    reference = run_integer(q, x, data.lengths)
    integers = _real_outputs(q, reference.outputs, data.lengths)
    on_stage("integer model in ONNX Runtime", 0.0)
    session = run_integer_in_onnx_runtime(read_model(files.onnx("integer"))[0], x, data.lengths)
    chips = {backend: _run_c(backend, files, x, data, reference, on_stage) for backend in backends}
    return Validation(
        float_vs_ort_max_abs=float_error,
        integer_vs_ort_mismatches=session_mismatches(*session, reference, data.lengths),
        c_vs_integer_mismatches={backend: wrong for backend, (wrong, _) in chips.items()},
        values_compared=values_compared(reference, data.lengths),
        accuracy_unit="sequence" if q.output_is_finished else "step",
        accuracy_source=accuracy(source, data, threshold),
        accuracy_float=accuracy(floats, data, threshold),
        accuracy_integer=accuracy(integers, data, threshold),
        accuracy_c={backend: accuracy(real, data, threshold) for backend, (_, real) in chips.items()},
        label_agreement=agreement(labels(integers, threshold), labels(source, threshold), data),
        max_abs_error=_largest(np.abs(integers - source), data),
        cell_saturations=reference.saturations,
    )


def _run_c(
    backend: str, files: BundleFiles, x: IntArray, data: Sequences, reference: IntegerRun, on_stage: OnStage
) -> tuple[int, FloatArray]:
    """(values that differ from the reference, the C's own outputs as real numbers)."""
    stage = f"C on {backend}"
    on_stage(stage, 0.0)
    results = run_backend(backend, files.bundle, x, data.lengths, on_part=lambda part: on_stage(stage, part))
    stored = outputs(results, x.shape[1]).reshape(reference.outputs.shape)
    wrong = mismatches(files.bundle, results, reference, data.lengths)
    return wrong, _real_outputs(files.qmodel, stored, data.lengths)


def _run_float(files: BundleFiles, data: Sequences) -> tuple[FloatArray, float]:
    """The compressed model's outputs in ONNX Runtime, and how far those are from the interpreter's."""
    run = run_float(files.model, np.asarray(data.x, np.float64), data.lengths)
    interpreted = run.outputs(files.model.main)
    layout = _exported_layout(files, {name: array.ndim for name, array in interpreted.items()})
    exported = run_source(files.onnx("float"), layout, data.x, data.lengths)
    found, wanted = _only(exported, files, data), _only(interpreted, files, data)
    return found, _largest(np.abs(found - wanted), data)


def _exported_layout(files: BundleFiles, axes_of_outputs: dict[str, int]) -> Source:
    """How `export_float` lays its tensors out: batch and time come first, and are free."""
    lead = ("batch",) if files.qmodel.output_is_finished else ("batch", "time")
    inputs = [
        SourceTensor(x.name, ("batch", "time", *["inner"] * len(x.shape)), (None, None, *x.shape))
        for x in files.model.main.inputs
    ]
    outputs = [
        SourceTensor(name, (*lead, *["inner"] * (axes - len(lead))), (None,) * axes)
        for name, axes in axes_of_outputs.items()
    ]
    return Source("float.onnx", "", "onnx", tuple(inputs), tuple(outputs))


def _real_outputs(q: QModel, stored: IntArray, lengths: IntArray) -> FloatArray:
    """Integer outputs of every step [N, T, ...] as real numbers, [N, O] or [N, T, O].

    A softmax that is left to the caller is applied.
    """
    if q.output_is_finished:
        stored = stored[np.arange(len(stored)), lengths - 1]
    real = stored.astype(np.float64) * q.output.scale
    real = softmax(real) if q.left_to_caller == "softmax" else real
    return real.reshape(*real.shape[: 1 if q.output_is_finished else 2], -1)


def _only(found: dict[str, FloatArray], files: BundleFiles, data: Sequences) -> FloatArray:
    """The single output, its inner axes flattened: [N, O] or [N, T, O]."""
    (array,) = found.values()
    return array.reshape(*data.x.shape[: 1 if files.qmodel.output_is_finished else 2], -1)


def _largest(errors: FloatArray, data: Sequences) -> float:
    """The largest over sequences [N, O], or over valid steps [N, T, O]."""
    return float((errors[valid_steps(data)] if errors.ndim == 3 else errors).max(initial=0.0))
