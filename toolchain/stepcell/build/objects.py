"""Compile C files into objects: two at a time, and each content only once."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from stepcell.build.toolchains import Tool

_CACHE_MAX_OBJECTS = 4000


class CompileError(RuntimeError):
    """The compiler or the linker refused generated or shipped C: a bug, shown with its output."""


@dataclass(frozen=True)
class Unit:
    """One C file: `source` relative to `folder`, include folders relative to it or absolute."""

    folder: Path
    source: str
    includes: tuple[str, ...]
    object_name: str


def compile_units(
    tool: Tool, compiler: Sequence[str], flags: Sequence[str], units: Sequence[Unit], out_dir: Path
) -> list[Path]:
    """Compile every unit into `out_dir`; returns the objects in the units' order.

    Raises CompileError with the compiler's output.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    _trim_cache()
    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(lambda unit: _compile(tool, compiler, flags, unit, out_dir), units))


def cache_dir() -> Path:
    """Where compiled objects are kept between runs; STEPCELL_CACHE_DIR overrides it."""
    override = os.environ.get("STEPCELL_CACHE_DIR")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(override) if override else Path(base) / "stepcell"


def run_compiler(arguments: Sequence[str], folder: Path) -> None:
    """Run a compiler or linker in `folder`; raises CompileError with its output."""
    environment = os.environ | {"ZIG_LOCAL_CACHE_DIR": str(cache_dir() / "zig")}
    result = subprocess.run(
        list(arguments), cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise CompileError(f"{' '.join(arguments)}\n{result.stderr or result.stdout}")


def _compile(tool: Tool, compiler: Sequence[str], flags: Sequence[str], unit: Unit, out_dir: Path) -> Path:
    target = out_dir / unit.object_name
    cached = cache_dir() / "objects" / f"{_key(tool, flags, unit)}.o"
    if not _recalled(cached, target):
        includes = [f"-I{folder}" for folder in unit.includes]
        run_compiler([*compiler, *flags, *includes, "-c", unit.source, "-o", str(target)], unit.folder)
        _remember(target, cached)
    return target


def _recalled(cached: Path, target: Path) -> bool:
    """Whether the object was in the cache, which another process may be trimming."""
    try:
        shutil.copyfile(cached, target)
    except FileNotFoundError:
        return False
    return True


def _remember(compiled: Path, cached: Path) -> None:
    """Copy an object into the cache, where it appears whole or not at all."""
    cached.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cached.parent) as scratch:
        shutil.copyfile(compiled, Path(scratch) / "unit.o")
        (Path(scratch) / "unit.o").replace(cached)


def _key(tool: Tool, flags: Sequence[str], unit: Unit) -> str:
    """A hash of all that decides the object: the tool, the flags, the file and every header it could see."""
    digest = hashlib.sha256(repr((tool.path, tool.version, tuple(flags), unit.source)).encode())
    for path in [unit.folder / unit.source, *_headers(unit)]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _headers(unit: Unit) -> list[Path]:
    return [path for folder in unit.includes for path in sorted((unit.folder / folder).glob("*.h"))]


def _trim_cache() -> None:
    """Forget the older half of the objects once there are too many."""
    objects = list((cache_dir() / "objects").glob("*.o"))
    if len(objects) <= _CACHE_MAX_OBJECTS:
        return
    objects.sort(key=_last_written)
    for path in objects[: len(objects) // 2]:
        path.unlink(missing_ok=True)


def _last_written(path: Path) -> float:
    """Seconds since the epoch; 0 if another process has removed the file."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
