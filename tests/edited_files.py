"""Model files of other tools, with something in them changed."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Edit = Callable[[Any], None]


def edited_tflite(path: Path, edit: Edit) -> bytes:
    """The file after `edit` has changed its tables."""
    flatbuffers = pytest.importorskip("flatbuffers")
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    edit(model)
    builder = flatbuffers.Builder(1 << 14)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def operator_code(model: Any, graph: int, operator: int, name: str) -> None:
    """Every operator of the code that this one has becomes another one."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    code = model.operatorCodes[model.subgraphs[graph].operators[operator].opcodeIndex]
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)


def edited_keras(path: Path, folder: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    """The file with its configuration edited."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    edit(config["config"])
    members["config.json"] = json.dumps(config).encode()
    written = folder / "model.keras"
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return written
