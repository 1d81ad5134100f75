"""Build bundles and the harness into firmware for a board."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from stepcell.build.bundle import Bundle
from stepcell.build.changed import blaming_changes
from stepcell.build.elf import undefined_symbols
from stepcell.build.flags import STRICT, command, core_flags, firmware_flags
from stepcell.build.image import bundle_units, harness_units, render
from stepcell.build.objects import CompileError, compile_units, run_compiler
from stepcell.build.toolchains import Tool, choose_compiler
from stepcell.errors import StepcellError
from stepcell.paths import targets_dir
from stepcell.target import Board, Core, load_core

_ENTRY = {
    "cortex-m": "Reset_Handler",
    "riscv": "Reset_Handler",
    "aarch64-linux": "_start",
    "avr": "stepcell_reset",
}
_SEMIHOSTED = ("cortex-m", "riscv")


def firmware_compilers(core: Core) -> tuple[str, ...]:
    """The compilers that know a core, the preferred one first."""
    return (core.gcc, "zig") if core.zig_target else (core.gcc,)


def build_firmware(
    bundles: Sequence[Bundle],
    board: Board,
    out_dir: Path,
    compiler: str | None = None,
    optimize: str = "-O2",
) -> Path:
    """Build the bundles into an ELF that runs the harness on `board`, without a C library.

    `compiler` is zig or the core's GCC; None takes the GCC where it is installed, else zig.
    Raises StepcellError for a missing compiler, bundles that do not go together, or too small a memory.
    """
    core = load_core(board.core)
    tool = choose_compiler(compiler, firmware_compilers(core))
    out_dir = out_dir.resolve()
    out_dir.mkdir(parents=True, exist_ok=True)
    folder = targets_dir() / "support" / board.support
    support = [f"{board.support}/{path.name}" for path in sorted(folder.glob("*.c"))]
    if board.support in _SEMIHOSTED:
        support.append("harness/semihosting.c")
    units = bundle_units(bundles) + harness_units(bundles, support, out_dir)
    includes = f"-idirafter{folder / 'include'}"
    flags = (*STRICT, *firmware_flags(tool, core, optimize), includes)
    with blaming_changes(bundles):
        objects = compile_units(tool, command(tool), flags, units, out_dir / "objects")
        return _link(tool, core, board, objects, out_dir)


def _link(tool: Tool, core: Core, board: Board, objects: Sequence[Path], out_dir: Path) -> Path:
    template = targets_dir() / "support" / board.support / "linker.ld.j2"
    (out_dir / "board.ld").write_text(render(template, board=board), encoding="utf-8")
    names = [f"objects/{path.name}" for path in objects]
    arguments = [
        *(*command(tool), *core_flags(tool, core), "-nostartfiles"),
        *("-Wl,-T,board.ld", f"-Wl,--entry={_ENTRY[board.support]}", "-Wl,--gc-sections"),
        *(*names, *_compiler_library(tool, objects), "-o", "firmware.elf"),
    ]
    try:
        run_compiler(arguments, out_dir)
    except CompileError as error:
        memory = _exceeded(str(error))
        if memory is None:
            raise
        raise StepcellError(
            f"The firmware does not fit in the {memory} of {board.name}.",
            "use fewer units, lower --density, or choose a larger board.",
        ) from error
    return out_dir / "firmware.elf"


def _exceeded(errors: str) -> str | None:
    """The memory that the linker found too small."""
    if "tables lie beyond near flash" in errors:
        return "near flash, where data has 16-bit addresses,"
    for region, memory in (("FLASH", "flash"), ("RAM", "RAM")):
        if re.search(rf"region .?{region}.? overflowed", errors):
            return memory
    return None


def _compiler_library(tool: Tool, objects: Iterable[Path]) -> tuple[str, ...]:
    """The compiler's own functions, such as division; zig builds its library per core, so only if used."""
    if tool.name != "zig":
        return ("-nostdlib", "-lgcc")
    return ("-nolibc", "-rtlib=compiler-rt") if undefined_symbols(objects) else ("-nostdlib",)
