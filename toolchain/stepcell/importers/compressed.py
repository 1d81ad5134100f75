"""model.npz, which `stepcell compress` wrote: the Model as it is, and the source that it was."""

from dataclasses import replace
from pathlib import Path

from stepcell.errors import StepcellError
from stepcell.importers.names import model_name
from stepcell.ir import Model, verify
from stepcell.ir.files import load_compressed


def import_compressed(file: Path, name: str | None, *options: object) -> Model:
    """The compressed Model. `options` were for the import of its source, and are refused."""
    if any(options):
        raise StepcellError(
            f"{file.name}: --weights, --bind, --shape and --state were for the model that it was made of.",
            "leave them out.",
        )
    model, _ = _read(file)
    return model if name is None else replace(model, name=model_name(name, name))


def originals_of(file: Path) -> dict[str, bytes]:
    """The ONNX of each function of the source, before it was compressed."""
    return _read(file)[1]


def _read(file: Path) -> tuple[Model, dict[str, bytes]]:
    if not file.is_file():
        raise StepcellError(f"{file}: there is no such file.", "check the path.")
    model, originals = load_compressed(file.read_bytes(), str(file))
    return verify(model), originals
