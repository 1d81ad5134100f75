"""The whole chain over a whole data set: source, compressed float, integers, ONNX Runtime, C, chips."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stepcell.build import Bundle, load_bundle
from stepcell.errors import StepcellError
from stepcell.importers.onnx import import_onnx
from stepcell.ir.files import load_qmodel, source_from_json
from stepcell.ir.model import FloatArray, Source
from stepcell.ir.ops import Value
from stepcell.ir.qmodel import IntArray, QModel
from stepcell.ir.sequences import Sequences
from stepcell.reference.float_model import run_float
from stepcell.reference.float_ops import softmax
from stepcell.reference.integer_model import IntegerRun, run_integer
from stepcell.reference.integer_ops import quantize_input
from stepcell.reference.integer_session import run_integer_in_onnx_runtime
from stepcell.reference.onnx_runtime import run_source
from stepcell.validate.backends import mismatches, run_backend, session_mismatches, values_compared
from stepcell.validate.labels import accuracy, agreement, labels, valid_steps


@dataclass(frozen=True)
class Validation:
    """What `validate --json` prints. Accuracies are 0-1 of sequences or steps (`accuracy_unit`), None without labels."""

    float_vs_ort_max_abs: float
    integer_vs_ort_mismatches: int
    c_vs_integer_mismatches: dict[str, int]
    values_compared: int
    accuracy_unit: str
    accuracy_source: float | None
    accuracy_float: float | None
    accuracy_integer: float | None
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


@dataclass(frozen=True, eq=False)
class BundleFiles:
    """What a bundle folder holds beside its C."""

    bundle: Bundle
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
    try:
        content = (folder / "onnx" / "integer.npz").read_bytes()
        source = source_from_json(json.loads((folder / "manifest.json").read_text())["source"])
    except (OSError, KeyError, TypeError) as error:
        raise StepcellError(f"{folder} is not a complete bundle: {error}.", "compile it again.") from error
    return BundleFiles(bundle, load_qmodel(content, str(folder / "onnx" / "integer.npz")), source, folder)


def validate(
    folder: Path,
    data: Sequences,
    backends: tuple[str, ...] = ("host",),
    threshold: float = 0.5,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Validation:
    """Compare every link of the chain over `data`; `on_stage` hears what is being run.

    Raises StepcellError for data that does not fit the model, a missing tool, or an unknown backend.
    """
    files = open_bundle(folder)
    q = files.qmodel
    on_stage("source in ONNX Runtime")
    source = _only(run_source(files.onnx("source"), files.source, data.x, data.lengths), data)
    on_stage("compressed float model")
    floats, float_error = _run_float(files, data)
    on_stage("integer reference")
    x = quantize_input(data.x, q.input.scale, q.input.bits)
    reference = run_integer(q, x, data.lengths)
    integers = _dequantized(q, reference)
    on_stage("integer model in ONNX Runtime")
    session = run_integer_in_onnx_runtime(files.onnx("integer"), x, data.lengths)
    chips: dict[str, int] = {}
    for backend in backends:
        on_stage(f"C on {backend}")
        chips[backend] = mismatches(
            files.bundle, run_backend(backend, files.bundle, x, data.lengths), reference, data.lengths
        )
    decided = labels(source, threshold)
    return Validation(
        float_vs_ort_max_abs=float_error,
        integer_vs_ort_mismatches=session_mismatches(*session, reference, data.lengths),
        c_vs_integer_mismatches=chips,
        values_compared=values_compared(reference, data.lengths),
        accuracy_unit="sequence" if q.output_is_finished else "step",
        accuracy_source=accuracy(source, data, threshold),
        accuracy_float=accuracy(floats, data, threshold),
        accuracy_integer=accuracy(integers, data, threshold),
        label_agreement=agreement(labels(integers, threshold), decided, data),
        max_abs_error=_largest(np.abs(integers - source), data),
        cell_saturations=reference.saturations,
    )


def _run_float(files: BundleFiles, data: Sequences) -> tuple[FloatArray, float]:
    """The compressed model's outputs, and how far ONNX Runtime's run of its export is from the interpreter's."""
    path = files.onnx("float")
    model = import_onnx(path)
    assert model.source is not None
    exported = _only(run_source(path, model.source, data.x, data.lengths), data)
    run = run_float(model, np.asarray(data.x, np.float64), data.lengths)
    interpreted = _only(run.outputs(model.main), data)
    return exported, _largest(np.abs(exported - interpreted), data)


def _dequantized(q: QModel, run: IntegerRun) -> FloatArray:
    """The outputs as real numbers, [N, O] or [N, T, O]; a softmax that is left to the caller is applied."""
    stored: IntArray = run.last_outputs() if q.output_is_finished else run.outputs
    real = stored.astype(np.float64) * q.output.scale
    real = softmax(real) if q.left_to_caller == "softmax" else real
    return real.reshape(*real.shape[: 1 if q.output_is_finished else 2], -1)


def _only(outputs: dict[str, FloatArray], data: Sequences) -> FloatArray:
    """The single output, its inner axes flattened: [N, O] or [N, T, O]."""
    (array,) = outputs.values()
    steps = array.ndim > 1 and array.shape[:2] == data.x.shape[:2] and array.ndim > 2
    return array.reshape(*array.shape[: 2 if steps else 1], -1)


def _largest(errors: FloatArray, data: Sequences) -> float:
    """The largest over sequences [N, O], or over valid steps [N, T, O]."""
    return float((errors[valid_steps(data)] if errors.ndim == 3 else errors).max(initial=0.0))
