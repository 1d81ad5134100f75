"""An already quantized source against the QModel made of it: its interpreter runs on the same integers."""

from pathlib import Path

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.tflite.runtime import find_interpreter, run_integer_file
from stepcell.importers.tflite.schema import read_tflite
from stepcell.ir.qmodel import IntArray, QModel
from stepcell.reference.integer_model import run_integer

TOLERANCE = 1
"""Units of the output: interpreters round dense layers in ways that differ by one at ties."""
_SEQUENCES = 16


def check_source_integers(qmodel: QModel, path: Path) -> int | None:
    """The largest difference from the file's interpreter, in units of the output; None without one.

    Runs on random integers. Raises StepcellError where it exceeds one unit.
    """
    interpreter = find_interpreter()
    if interpreter is None:
        return None
    file = read_tflite(path)
    (value,) = qmodel.main.inputs
    steps = _steps(file.graphs[0].tensors[file.graphs[0].inputs[0]].shape)
    random = np.random.default_rng(0)
    x = random.integers(-128, 128, (_SEQUENCES, steps, *value.shape))
    expected = run_integer_file(interpreter, file, x)
    worst = int(np.abs(_as_read(qmodel, x, expected.ndim) - expected).max(initial=0))
    if worst > TOLERANCE:
        raise StepcellError(
            f"{path.name}: the integers of the import differ from its interpreter's by {worst} units; "
            f"{TOLERANCE} is allowed, so the importer does not trust the file.",
            "convert the model without quantization; stepcell quantizes it with your calibration data.",
        )
    return worst


def _steps(shape: tuple[int, ...]) -> int:
    return shape[1] if len(shape) == 3 else 1


def _as_read(qmodel: QModel, x: IntArray, rank: int) -> IntArray:
    """The first output, [N, T, ...] or, after the last step, [N, ...]."""
    found = run_integer(qmodel, x).outputs[qmodel.main.outputs[0].value.name]
    return found if found.ndim == rank else found[:, -1]


__all__ = ["check_source_integers"]
