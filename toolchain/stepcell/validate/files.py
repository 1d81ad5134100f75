"""What a bundle folder holds beside its C."""

import json
from dataclasses import dataclass
from pathlib import Path

from stepcell.build import Bundle, load_bundle
from stepcell.errors import StepcellError
from stepcell.ir.files import load_model, load_qmodel, source_from_json
from stepcell.ir.model import Model, Source
from stepcell.ir.ops import Value
from stepcell.ir.qmodel import QModel
from stepcell.ir.sequences import frame_values


@dataclass(frozen=True, eq=False)
class BundleFiles:
    """The C of a bundle, its models, and where they came from."""

    bundle: Bundle
    model: Model
    qmodel: QModel
    source: Source
    folder: Path

    @property
    def inputs(self) -> tuple[Value, ...]:
        """What data for the only function must look like."""
        return frame_values(self.qmodel.main)

    def onnx(self, name: str) -> dict[str, Path]:
        """The ONNX models of one kind (source, float or integer) by function."""
        folder, functions = self.folder / "onnx", self.qmodel.functions
        if len(functions) == 1 or (name == "source" and self.has_one_source):
            return {function.name: folder / f"{name}.onnx" for function in functions[:1]}
        return {function.name: folder / f"{name}_{function.name}.onnx" for function in functions}

    @property
    def has_one_source(self) -> bool:
        """Whether the source is an ONNX file of the user's, with a layout of its own."""
        return self.source.kind == "onnx"


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
