"""A bundle: the folder of generated C, the runtime files it calls, its manifest and its ONNX models."""

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stepcell import __version__
from stepcell.emit.output import check_output
from stepcell.emit.render import render
from stepcell.ir.qmodel import NUMERICS_VERSION
from stepcell.lower.plan import Field, Plan, Port
from stepcell.paths import runtime_dir

SCHEMA_VERSION = 1
_FILES = {
    ".h": "model.h.j2",
    ".c": "model.c.j2",
    "_weights.h": "weights.h.j2",
    "_weights.c": "weights.c.j2",
    "_selftest.c": "selftest.c.j2",
    "_float.h": "float.h.j2",
    "_float.c": "float.c.j2",
}
_INCLUDE = re.compile(r'^#include "(sc_\w+\.h)"', re.MULTILINE)


def emit(plan: Plan, folder: Path, more_files: Mapping[str, bytes], facts: Mapping[str, Any]) -> Path:
    """Write the bundle to `folder`, which appears whole or not at all; the folder.

    more_files: further files by their path in the bundle (ONNX models); facts: further manifest keys.
    An older bundle of stepcell in `folder` is replaced.
    Raises StepcellError if `folder` is something else.
    """
    check_output(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        built = Path(temporary) / "bundle"
        _write(built, plan, more_files, facts)
        if folder.exists():
            folder.rename(Path(temporary) / "old")
        built.rename(folder)
    return folder


def _write(folder: Path, plan: Plan, more_files: Mapping[str, bytes], facts: Mapping[str, Any]) -> None:
    (folder / "stepcell").mkdir(parents=True)
    for suffix, template in _FILES.items():
        (folder / f"{plan.name}{suffix}").write_text(render(template, plan))
    for path in runtime_files(plan):
        shutil.copyfile(path, folder / "stepcell" / path.name)
    for name, content in more_files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    text = json.dumps({**manifest(plan), **facts}, indent=2, sort_keys=False)
    (folder / "manifest.json").write_text(text + "\n")


def runtime_files(plan: Plan) -> list[Path]:
    """The runtime's files that this bundle needs, headers included."""
    source = runtime_dir() / "src"
    called = {call.function for call in plan.calls} | {k for call in plan.calls for k in call.kernels}
    called |= {f"sc_checksum{8 * field.bytes // field.count}" for field in plan.state}
    files = {source / f"{_file_of(name)}.c" for name in called}
    if any(name in path.read_text() for path in files for name in ("sc_rows.h", "sc_arithmetic.h")):
        files.add(source / "sc_sigmoid_table.c")
    waiting = sorted(files)
    while waiting:
        for header in _INCLUDE.findall(waiting.pop().read_text()):
            if source / header not in files:
                files.add(source / header)
                waiting.append(source / header)
    return [runtime_dir() / "include" / "stepcell.h", *sorted(files)]


def _file_of(function: str) -> str:
    return "sc_mean" if function in ("sc_total", "sc_count") else function


def manifest(plan: Plan) -> dict[str, Any]:
    """What a build and a validation need to know of the bundle (docs/manifest.md)."""
    runtime = [f"stepcell/{path.name}" for path in runtime_files(plan) if path.suffix == ".c"]
    generated = [f"{plan.name}{suffix}" for suffix in (".c", "_weights.c", "_selftest.c")]
    return {
        "schema_version": SCHEMA_VERSION,
        "stepcell_version": __version__,
        "numerics_version": NUMERICS_VERSION,
        "name": plan.name,
        "target": plan.core,
        "sources": [*generated, *runtime],
        "include_dirs": [".", "stepcell"],
        "inputs": [_port(plan.input)],
        "outputs": [{**_port(plan.output), "left_to_caller": plan.left_to_caller}],
        "state": {"bytes": plan.state_bytes, "fields": [_field(field) for field in plan.state]},
        "calls": [
            {"layer": call.layer, "function": call.function, "macs": call.macs, "kernels": list(call.kernels)}
            for call in plan.calls
        ],
        **plan.facts(),
    }


def _port(port: Port) -> dict[str, Any]:
    return {
        "name": port.name,
        "dtype": port.ctype.removesuffix("_t"),
        "count": port.count,
        "scale": port.scale,
    }


def _field(field: Field) -> dict[str, Any]:
    dtype = field.ctype.removesuffix("_t")
    return {"name": field.name, "dtype": dtype, "count": field.count, "offset": field.offset}
