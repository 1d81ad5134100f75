"""TensorFlow Lite import: files are parsed here, and checked by an interpreter where one is installed."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from stepcell.importers.check import check_against_source
from stepcell.importers.lift import lift_graph
from stepcell.importers.names import model_name
from stepcell.importers.tflite.integers import with_integers
from stepcell.importers.tflite.runtime import LITERT, find_interpreter, run_float_file
from stepcell.importers.tflite.schema import TfliteFile, read_tflite
from stepcell.importers.tflite.translate import to_graph
from stepcell.importers.tflite.weights import is_dynamic_range, is_integer, with_float_weights
from stepcell.importers.unrolled import rolled
from stepcell.ir import Model
from stepcell.ir.model import FloatArray

UNCHECKED = "nothing: ai-edge-litert is not installed (pip install 'stepcell[tflite]')"


def import_tflite(
    path: Path | str,
    name: str | None = None,
    calibration: FloatArray | None = None,
    states: Mapping[str, str] | None = None,
    max_steps: int | None = None,
) -> Model:
    """The Model of a .tflite file, checked against LiteRT's interpreter to 1e-5 where that is installed.

    calibration [N, T, ...] is checked besides random inputs; states, max_steps: see `import_onnx`. Weights
    of a file of int8 weights and float activations (dynamic range) are taken as the real numbers that they
    stand for, and checked against float kernels. `Source.judge` says what was checked.

    Raises StepcellError for anything that cannot be imported exactly.
    """
    path = Path(path)
    source = read_tflite(path)
    model = lift_graph(
        replace(rolled(to_graph(source)), max_steps=max_steps), model_name(name, path.stem), states
    )
    if is_integer(source):
        model = with_integers(source, model)
    return _checked(source, model, calibration)


def _checked(source: TfliteFile, model: Model, calibration: FloatArray | None) -> Model:
    interpreter = find_interpreter()
    if interpreter is None:
        return _judged(model, UNCHECKED)
    if is_integer(source):
        return _judged(model, f"{interpreter.name}: its integers, when it is compiled")
    judge, content = interpreter.name, source.content
    if is_dynamic_range(source):
        if interpreter.name != LITERT:
            return _judged(model, UNCHECKED)
        content = with_float_weights(source)
        judge += ", its float kernels with the weights that the file stores in int8"
    assert model.source is not None
    run = partial(run_float_file, interpreter, content, source, model.source)
    return _judged(check_against_source(model, run, calibration), judge)


def _judged(model: Model, judge: str) -> Model:
    assert model.source is not None
    return replace(model, source=replace(model.source, judge=judge))


__all__ = ["import_tflite"]
