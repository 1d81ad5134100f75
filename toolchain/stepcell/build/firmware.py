"""Build bundles and the harness into firmware for a board."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from stepcell.build.bundle import Bundle
from stepcell.build.elf import undefined_symbols
from stepcell.build.flags import STRICT, command, core_flags, firmware_flags
from stepcell.build.image import bundle_units, harness_units, render
from stepcell.build.objects import compile_units, run_compiler
from stepcell.build.toolchains import Tool, choose_compiler
from stepcell.paths import targets_dir
from stepcell.target import Board, Core, load_core

FIRMWARE_COMPILERS = ("arm-gcc", "zig")
_SUPPORT = ("startup.c", "semihosting.c", "stack.c", "mem.c")


def build_firmware(
    bundles: Sequence[Bundle],
    board: Board,
    out_dir: Path,
    compiler: str | None = None,
    optimize: str = "-O2",
) -> Path:
    """Build the bundles into an ELF that runs the harness on `board`, without a C library.

    `compiler` is zig or arm-gcc; None takes arm-gcc where it is installed, else zig.
    Raises StepcellError for a missing compiler or bundles that do not go together.
    """
    tool = choose_compiler(compiler, FIRMWARE_COMPILERS)
    core = load_core(board.core)
    out_dir = out_dir.resolve()
    out_dir.mkdir(parents=True, exist_ok=True)
    support = [f"{board.support}/{name}" for name in _SUPPORT]
    units = bundle_units(bundles) + harness_units(bundles, support, out_dir)
    includes = f"-idirafter{targets_dir() / 'support' / board.support / 'include'}"
    flags = (*STRICT, *firmware_flags(tool, core, optimize), includes)
    objects = compile_units(tool, command(tool), flags, units, out_dir / "objects")
    return _link(tool, core, board, objects, out_dir)


def _link(tool: Tool, core: Core, board: Board, objects: Sequence[Path], out_dir: Path) -> Path:
    template = targets_dir() / "support" / board.support / "linker.ld.j2"
    (out_dir / "board.ld").write_text(render(template, board=board), encoding="utf-8")
    names = [f"objects/{path.name}" for path in objects]
    run_compiler(
        [
            *(*command(tool), *core_flags(tool, core), "-nostartfiles"),
            *("-Wl,-T,board.ld", "-Wl,--entry=Reset_Handler", "-Wl,--gc-sections"),
            *(*names, *_compiler_library(tool, objects), "-o", "firmware.elf"),
        ],
        out_dir,
    )
    return out_dir / "firmware.elf"


def _compiler_library(tool: Tool, objects: Iterable[Path]) -> tuple[str, ...]:
    """The compiler's own functions, such as division; zig builds its library per core, so only if used."""
    if tool.name != "zig":
        return ("-nostdlib", "-lgcc")
    return ("-nolibc", "-rtlib=compiler-rt") if undefined_symbols(objects) else ("-nostdlib",)
