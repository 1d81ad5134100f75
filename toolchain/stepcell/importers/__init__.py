"""From what users have to a Model: ONNX files and PyTorch modules, checked against their source.

An importer either computes exactly what its source computes, or refuses in one sentence.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stepcell.errors import StepcellError
from stepcell.ir import Model
from stepcell.ir.model import FloatArray


def import_model(
    spec: str | Path,
    name: str | None = None,
    weights: Path | str | None = None,
    bind: Mapping[str, float] | None = None,
    shapes: Mapping[str, Sequence[int | str | None]] | None = None,
    calibration: FloatArray | None = None,
    states: Mapping[str, str] | None = None,
    expect: Path | str | None = None,
    max_steps: int | None = None,
) -> Model:
    """Import `file.onnx`, `file.tflite`, `file.keras`, `file.h5`, `file.pt2`, or `factory.py:function`.

    A factory returns an nn.Module; its weights are a file. model.npz of `stepcell compress` is read as it is.

    shapes {"x": (1, "T", 40)}: required for a factory (T: any number of steps), optional for ONNX.
    calibration [N, T, ...], bind and states: see `import_onnx`.

    max_steps: rows of the memories that attention over a sequence needs (default: the file's number of steps,
    else 256); no longer sequence runs.

    expect: .npz of inputs and outputs that the original framework recorded; see `check_expected`.

    Raises StepcellError for anything else, and for what cannot be imported exactly.
    """
    model = _imported(spec, name, weights, bind, shapes, calibration, states, max_steps)
    if expect is not None:
        from stepcell.importers.expect import check_expected

        check_expected(model, Path(expect))
    return model


def diagnose(spec: str | Path, **options: Any) -> list[str]:
    """One line for each node of the source that cannot be imported, with the reason; empty if it imports.

    options are those of `import_model`.
    """
    try:
        import_model(spec, **options)
    except StepcellError as refusal:
        return list(refusal.problems) or [refusal.message]
    return []


def _imported(
    spec: str | Path,
    name: str | None,
    weights: Path | str | None,
    bind: Mapping[str, float] | None,
    shapes: Mapping[str, Sequence[int | str | None]] | None,
    calibration: FloatArray | None,
    states: Mapping[str, str] | None,
    max_steps: int | None,
) -> Model:
    text = str(spec)
    suffix = Path(text).suffix.lower()
    if suffix == ".onnx":
        from stepcell.importers.onnx import import_onnx

        return import_onnx(Path(text), name, bind, shapes, calibration, states, max_steps)
    if suffix == ".npz":
        from stepcell.importers.compressed import import_compressed

        return import_compressed(Path(text), name, bind or weights, shapes or states)
    if suffix in (".tflite", ".keras", ".h5", ".hdf5"):
        _refuse_options(Path(text).name, bind, shapes)
    if suffix == ".tflite":
        from stepcell.importers.tflite import import_tflite

        return import_tflite(Path(text), name, calibration, states, max_steps)
    if suffix in (".keras", ".h5", ".hdf5"):
        from stepcell.importers.keras import import_keras

        return import_keras(Path(text), name, states, max_steps)
    if suffix == ".pt2":
        from stepcell.importers.pytorch.program import import_program

        return import_program(Path(text), name, calibration, states, max_steps)
    file, colon, function = text.rpartition(":")
    if colon and file.endswith(".py"):
        from stepcell.importers.pytorch.factory import import_factory

        return import_factory(Path(file), function, name, weights, shapes, calibration, states, max_steps)
    raise StepcellError(
        f"{text}: it is none of file.onnx, file.tflite, file.keras, file.h5, file.pt2, "
        "a compressed model.npz and factory.py:function.",
        "export the model with torch.onnx.export.",
    )


def _refuse_options(file: str, *given: Mapping[str, object] | None) -> None:
    """TensorFlow's files fix their inputs and shapes themselves."""
    if any(given):
        raise StepcellError(
            f"{file}: --bind and --shape are for ONNX files and modules; its shapes are its own.",
            "leave them out.",
        )


__all__ = ["diagnose", "import_model"]
