"""ONNX import."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from stepcell.importers.check import TOLERANCE, check_against_source
from stepcell.importers.lift import lift_graph
from stepcell.importers.names import model_name
from stepcell.importers.onnx.load import Shapes, read_model, to_graph
from stepcell.importers.onnx.quantized import TOLERANCE as QUANTIZED_TOLERANCE
from stepcell.importers.onnx.quantized import to_float
from stepcell.ir import Model
from stepcell.ir.model import FloatArray
from stepcell.reference.onnx_runtime import run_source

_ROUNDS = "the file rounds activations to 8 bits, the import does not"


def import_onnx(
    path: Path | str,
    name: str | None = None,
    bind: Mapping[str, float] | None = None,
    shapes: Shapes | None = None,
    calibration: FloatArray | None = None,
    states: Mapping[str, str] | None = None,
    max_steps: int | None = None,
) -> Model:
    """The Model of an ONNX file, checked against ONNX Runtime to 1e-5 (0.1 if it quantizes activations).

    bind fixes scalar inputs ({"sr": 16000}); shapes gives sizes that the file leaves open
    ({"x": (1, "T", 40)}); calibration [N, T, ...] is checked besides random inputs; states names
    state inputs and their outputs, where no LSTM, GRU or RNN tells ({"h": "hn"}); max_steps is the
    longest sequence, where attention stores all steps (default: the file's number of steps, or 256).

    Raises StepcellError for anything that cannot be imported exactly.
    """
    path = Path(path)
    proto, sha256 = read_model(path)
    graph, rounds = to_float(to_graph(proto, path.name, sha256, bind, shapes))
    model = lift_graph(replace(graph, max_steps=max_steps), model_name(name, path.stem), states)
    assert model.source is not None
    source = replace(model.source, bound=tuple((bind or {}).items()))
    tolerance = TOLERANCE
    if rounds:
        tolerance = QUANTIZED_TOLERANCE
        source = replace(source, judge=f"ONNX Runtime to {tolerance:g}: {_ROUNDS}")
    run = partial(run_source, proto.SerializeToString(), source)
    return check_against_source(replace(model, source=source), run, calibration, tolerance)
