"""The compiler flags: one strict set for every C file, plus what a compiler and a core need."""

from stepcell.build.toolchains import Tool
from stepcell.target import Core

STRICT = (
    "-std=c99",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-pedantic",
    "-Wconversion",
    "-Wshadow",
    "-Wundef",
    "-Wdouble-promotion",
    "-Wmissing-prototypes",
    "-Wvla",
    "-Werror",
)
_FIRMWARE = (
    "-ffreestanding",
    "-fbuiltin",
    "-ffunction-sections",
    "-fdata-sections",
    "-fomit-frame-pointer",
    "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables",
    "-fno-common",
)
_SANITIZE = ("-g", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")


def command(tool: Tool) -> tuple[str, ...]:
    """How the tool is called as a C compiler."""
    return (tool.path, "cc") if tool.name == "zig" else (tool.path,)


def host_flags(tool: Tool, *, sanitize: bool) -> tuple[str, ...]:
    """Compiler flags for the host; with `sanitize`, undefined behaviour and bad addresses end it."""
    if sanitize:
        return ("-O1", *_SANITIZE, *sanitizers(tool))
    zig_only = ("-fno-sanitize=undefined",) if tool.name == "zig" else ()
    return ("-O2", "-fPIC", *zig_only)


def sanitizers(tool: Tool) -> tuple[str, ...]:
    """The sanitizers of a compiler: zig and clang may lack the run-time library that addresses need."""
    if tool.name == "gcc":
        return ("-fsanitize=address,undefined",)
    return ("-fsanitize=undefined", "-fsanitize-trap=undefined")


def core_flags(tool: Tool, core: Core) -> tuple[str, ...]:
    """The flags that choose a core, for compiling and for linking."""
    if tool.name == "zig":
        return ("-target", core.zig_target, f"-mcpu={core.zig_cpu}")
    return core.gcc_flags


def firmware_flags(tool: Tool, core: Core, optimize: str) -> tuple[str, ...]:
    """Compiler flags for firmware."""
    zig_only = ("-fno-sanitize=undefined", "-fno-stack-protector") if tool.name == "zig" else ()
    return (*core_flags(tool, core), optimize, *_FIRMWARE, *zig_only)
