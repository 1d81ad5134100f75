"""Build bundles and the harness for this computer."""

from collections.abc import Sequence
from pathlib import Path

from stepcell.build.bundle import Bundle
from stepcell.build.changed import blaming_changes
from stepcell.build.flags import STRICT, command, host_flags, sanitizers
from stepcell.build.image import bundle_units, harness_units
from stepcell.build.objects import compile_units, run_compiler
from stepcell.build.toolchains import Tool, choose_compiler

HOST_COMPILERS = ("zig", "gcc", "clang")


def build_host(
    bundles: Sequence[Bundle], out_dir: Path, compiler: str | None = None, sanitize: bool = False
) -> Path:
    """Build the bundles into a shared library; with `sanitize`, into a program that ends at a bad access.

    `compiler` is zig, gcc or clang; None takes the first that is installed.
    Raises StepcellError for a missing compiler or bundles that do not go together.
    """
    tool = choose_compiler(compiler, HOST_COMPILERS)
    out_dir = out_dir.resolve()
    out_dir.mkdir(parents=True, exist_ok=True)
    support = "host/port_files.c" if sanitize else "host/port_host.c"
    units = bundle_units(bundles) + harness_units(bundles, (support,), out_dir)
    flags = (*STRICT, *host_flags(tool, sanitize=sanitize))
    with blaming_changes(bundles):
        objects = compile_units(tool, command(tool), flags, units, out_dir / "objects")
        return _link(tool, objects, out_dir, sanitize)


def _link(tool: Tool, objects: Sequence[Path], out_dir: Path, sanitize: bool) -> Path:
    name, kind = ("models-checked", sanitizers(tool)) if sanitize else ("models.so", ("-shared",))
    names = [f"objects/{path.name}" for path in objects]
    run_compiler([*command(tool), *kind, *names, "-o", name], out_dir)
    return out_dir / name
