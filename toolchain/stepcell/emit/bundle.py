"""A bundle: the folder of generated C, the runtime files it calls, its manifest and its ONNX models."""

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stepcell import __version__
from stepcell.emit.output import check_output, keep_users_files
from stepcell.emit.render import render
from stepcell.ir.qmodel import NUMERICS_VERSION
from stepcell.lower.parts import Body, Field
from stepcell.lower.plan import FunctionPlan, Plan, Port
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
RUNTIME_FOLDER = "stepcell"
_INCLUDE = re.compile(r'^#include "(sc_\w+\.h)"', re.MULTILINE)
_SIGMOID = re.compile(r"sc_sigmoid_table|sc_sigmoid1|sc_tanh1")


def emit(plan: Plan, folder: Path, more_files: Mapping[str, bytes], facts: Mapping[str, Any]) -> Path:
    """Write the bundle to `folder`, which appears whole or not at all; the folder.

    more_files: further files by their path in the bundle (ONNX models); facts: further manifest keys.
    An older bundle of stepcell in `folder` is replaced; files that it did not write stay.
    Raises StepcellError if `folder` is something else, or such a file stands in the way.
    """
    check_output(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        built = Path(temporary) / "bundle"
        _write(built, plan, more_files, facts)
        keep_users_files(folder, built)
        if folder.exists():
            folder.rename(Path(temporary) / "old")
        built.rename(folder)
    return folder


def _write(folder: Path, plan: Plan, more_files: Mapping[str, bytes], facts: Mapping[str, Any]) -> None:
    (folder / "stepcell").mkdir(parents=True)
    for suffix, template in _FILES.items():
        (folder / f"{plan.name}{suffix}").write_text(render(template, plan))
    for name, path in runtime_files(plan).items():
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(path, folder / name)
    for name, content in more_files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    written = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in written
    }
    described = {**manifest(plan), **facts, "files": hashes}
    (folder / "manifest.json").write_text(json.dumps(described, indent=2, sort_keys=False) + "\n")


def runtime_files(plan: Plan) -> dict[str, Path]:
    """The runtime's files that this bundle needs, headers included, by where they lie in it.

    For a core with a kernel folder, each function goes in portable C and, where the folder has it, in the
    core's instructions; the folder's sc_isa.h tells the compiler which to take.
    """
    source, folder = runtime_dir() / "src", plan.kernel_folder
    files = {f"{_file_of(name)}.c": source / f"{_file_of(name)}.c" for name in _called(plan)}
    if folder:
        own = {path.stem: path for path in (source / folder).glob("sc_*.[cS]")}
        files |= {f"{folder}/{own[f].name}": own[f] for f in map(_file_of, _called(plan)) if f in own}
    waiting = list(files.values())
    while waiting:
        path = waiting.pop()
        for header in _INCLUDE.findall(path.read_text()):
            if header not in files:
                files[header] = _header(header, path, folder)
                waiting.append(files[header])
    uses = (path for path in files.values() if path.name != "sc_arithmetic.h")
    if any(_SIGMOID.search(path.read_text()) for path in uses):
        files["sc_sigmoid_table.c"] = source / "sc_sigmoid_table.c"
    files["stepcell.h"] = runtime_dir() / "include" / "stepcell.h"
    return {f"{RUNTIME_FOLDER}/{name}": files[name] for name in sorted(files)}


def _called(plan: Plan) -> set[str]:
    called = {call.function for call in plan.calls} | {k for call in plan.calls for k in call.kernels}
    members = [field for field in plan.state if not field.is_buffer]
    return called | {f"sc_checksum{8 * field.bytes // field.count}" for field in members}


def _header(name: str, includer: Path, folder: str) -> Path:
    """sc_isa.h is the kernel folder's; other headers lie beside what includes them, or among the portable."""
    source = runtime_dir() / "src"
    candidates = [source / folder / name, includer.parent / name, source / name]
    return next(path for path in candidates if path.is_file())


def _file_of(function: str) -> str:
    return "sc_mean" if function in ("sc_total", "sc_count") else function


def manifest(plan: Plan) -> dict[str, Any]:
    """What a build and a validation need to know of the bundle (docs/manifest.md)."""
    runtime = [name for name, path in runtime_files(plan).items() if path.suffix in (".c", ".S")]
    generated = [f"{plan.name}{suffix}" for suffix in (".c", "_weights.c", "_selftest.c")]
    return {
        "schema_version": SCHEMA_VERSION,
        "stepcell_version": __version__,
        "numerics_version": NUMERICS_VERSION,
        "name": plan.name,
        "target": plan.core,
        "sources": [*generated, *runtime],
        "include_dirs": [".", "stepcell"],
        **_functions(plan),
        **plan.facts(),
    }


def _functions(plan: Plan) -> dict[str, Any]:
    """What is said of a function is said of the model where that has one, else of each in a list."""
    state = {"bytes": plan.state_bytes, "fields": [_field(field) for field in plan.state]}
    described = [_function(function) for function in plan.functions]
    if len(described) > 1:
        return {"functions": described, "state": state}
    ports = {key: described[0].pop(key) for key in ("inputs", "outputs")}
    return {**ports, "state": state, **{key: v for key, v in described[0].items() if key != "name"}}


def _function(function: FunctionPlan) -> dict[str, Any]:
    inputs = [_port(port) for port in function.inputs]
    outputs = [
        {**_port(p), "left_to_caller": p.left_to_caller, **({"finished": True} if p.finished else {})}
        for p in function.outputs
    ]
    described: dict[str, Any] = {
        "name": function.name,
        "inputs": inputs,
        "outputs": outputs,
        "calls": [call for body in function.bodies for call in _calls(body)],
    }
    if function.frames_per_step != 1:
        described["frames_per_step"] = function.frames_per_step
    if function.max_steps is not None:
        described |= {"max_steps": function.max_steps, "calls_at_the_end": _calls(function.read)}
        described["calls"] = [call for stage in function.stages for call in _calls(stage.body)]
    return described


def _calls(body: Body | None) -> list[dict[str, Any]]:
    calls = () if body is None else body.calls
    return [
        {"layer": call.layer, "function": call.function, "macs": call.macs, "kernels": list(call.kernels)}
        for call in calls
    ]


def _port(port: Port) -> dict[str, Any]:
    described = {
        "name": port.name,
        "dtype": port.ctype.removesuffix("_t"),
        "count": port.count,
        "scale": port.scale,
        **({"zero_point": port.zero_point} if port.zero_point else {}),
    }
    return {**described, "token": True} if port.token else described


def _field(field: Field) -> dict[str, Any]:
    dtype = field.ctype.removesuffix("_t")
    described = {"name": field.name, "dtype": dtype, "count": field.count, "offset": field.offset}
    return {**described, "buffer": True} if field.is_buffer else described
