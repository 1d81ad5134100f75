"""Find compilers and emulators, and say how to install the ones that are missing."""

import importlib
import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from stepcell.errors import StepcellError

_INSTALL_DEVICE = 'pip install "stepcell[device]"'

# Each tool: the program, the argument that prints its version, and how it is installed.
_TOOLS = {
    "zig": ("zig", "version", _INSTALL_DEVICE),
    "gcc": ("gcc", "--version", "apt-get install gcc"),
    "clang": ("clang", "--version", "apt-get install clang"),
    "arm-gcc": ("arm-none-eabi-gcc", "--version", "apt-get install gcc-arm-none-eabi"),
    "riscv-gcc": ("riscv64-unknown-elf-gcc", "--version", "apt-get install gcc-riscv64-unknown-elf"),
    "qemu": ("qemu-system-arm", "--version", "apt-get install qemu-system-arm"),
    "qemu-riscv": ("qemu-system-riscv32", "--version", "apt-get install qemu-system-misc"),
    "aarch64-gcc": ("aarch64-linux-gnu-gcc", "--version", "apt-get install gcc-aarch64-linux-gnu"),
    "avr-gcc": ("avr-gcc", "--version", "apt-get install gcc-avr avr-libc"),
    "simavr": ("simavr", "--help", "apt-get install simavr"),
    "qemu-user": ("qemu-aarch64", "--version", "apt-get install qemu-user"),
}


@dataclass(frozen=True)
class Tool:
    """An installed program and the version that it reports."""

    name: str
    path: str
    version: str


@lru_cache
def find_tool(name: str) -> Tool:
    """The installed tool `name`, one of _TOOLS.

    Raises StepcellError with the command that installs it where it is missing.
    """
    program, argument, install = _TOOLS[name]
    path = _zig_in_this_environment() if name == "zig" else None
    path = path or shutil.which(program)
    if path is None:
        raise StepcellError(f"{program} is not installed.", f"Install it: {install}")
    return Tool(name, path, _version(path, argument))


def installed_tools() -> dict[str, Tool | None]:
    """Every tool that stepcell can use, None where it is missing."""
    return {name: _find_or_none(name) for name in _TOOLS}


def install_command(name: str) -> str:
    """The command that installs tool `name`."""
    return _TOOLS[name][2]


def first_tool(names: tuple[str, ...]) -> Tool:
    """The first of `names` that is installed.

    Raises StepcellError of the first name where none is.
    """
    for name in names:
        tool = _find_or_none(name)
        if tool is not None:
            return tool
    return find_tool(names[0])


def choose_compiler(name: str | None, allowed: tuple[str, ...]) -> Tool:
    """The named compiler, or the first installed one of `allowed` where `name` is None.

    Raises StepcellError for a name that is not allowed or not installed.
    """
    if name is None:
        return first_tool(allowed)
    if name not in allowed:
        raise StepcellError(
            f"Compiler {name!r} is unknown here; allowed are {', '.join(allowed)}.", "Name one of these."
        )
    return find_tool(name)


def device_module(name: str) -> Any:
    """A Python module of the [device] extra, imported when it is first needed.

    Raises StepcellError with the command that installs it where it is missing.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise StepcellError(
            f"The Python module {name} is not installed.", f"Install it: {_INSTALL_DEVICE}"
        ) from error


def _find_or_none(name: str) -> Tool | None:
    try:
        return find_tool(name)
    except StepcellError:
        return None


def _zig_in_this_environment() -> str | None:
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        return None
    return shutil.which("zig", path=str(Path(spec.origin).parent))


def _version(path: str, argument: str) -> str:
    result = subprocess.run([path, argument], capture_output=True, text=True, check=False)
    match = re.search(r"\d+\.\d+(\.\d+)?", result.stdout)
    return match.group() if match else "unknown"
