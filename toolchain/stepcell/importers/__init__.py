"""From what users have to a Model: ONNX files and PyTorch modules, checked against their source.

An importer either computes exactly what its source computes, or refuses in one sentence.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from stepcell.errors import StepcellError
from stepcell.ir import Model
from stepcell.ir.model import FloatArray

_PLANNED = {
    ".tflite": "TensorFlow Lite",
    ".keras": "Keras",
    ".h5": "Keras",
    ".pt2": "exported PyTorch programs",
}


def import_model(
    spec: str | Path,
    name: str | None = None,
    weights: Path | str | None = None,
    bind: Mapping[str, float] | None = None,
    shapes: Mapping[str, Sequence[int | str | None]] | None = None,
    calibration: FloatArray | None = None,
    states: Mapping[str, str] | None = None,
) -> Model:
    """Import `file.onnx`, or `factory.py:function` (which returns an nn.Module) with a weights file.

    shapes {"x": (1, "T", 40)}: required for a factory (T: any number of steps), optional for ONNX.
    calibration [N, T, ...], bind and states: see `import_onnx`.

    Raises StepcellError for anything else, and for what cannot be imported exactly.
    """
    text = str(spec)
    suffix = Path(text).suffix.lower()
    if suffix == ".onnx":
        from stepcell.importers.onnx import import_onnx

        return import_onnx(Path(text), name, bind, shapes, calibration, states)
    if suffix in _PLANNED:
        raise StepcellError(
            f"{Path(text).name}: {_PLANNED[suffix]} files are planned, and not imported yet.",
            "export the model as ONNX.",
        )
    file, colon, function = text.rpartition(":")
    if colon and file.endswith(".py"):
        from stepcell.importers.pytorch.factory import import_factory

        return import_factory(Path(file), function, name, weights, shapes, calibration, states)
    raise StepcellError(
        f"{text}: it is neither file.onnx nor factory.py:function.",
        "export the model with torch.onnx.export.",
    )


__all__ = ["import_model"]
