"""The plugin that counts instructions inside QEMU: built on demand, its result read back."""

import hashlib
from collections import Counter
from pathlib import Path

from stepcell.build.elf import Firmware
from stepcell.build.flags import command
from stepcell.build.objects import cache_dir, run_compiler
from stepcell.build.toolchains import Tool, first_tool
from stepcell.paths import targets_dir
from stepcell.run.counts import Counts, Marks, Watch, instruction_bytes


def build_plugin(qemu: Tool) -> Path:
    """The plugin as a shared library for the installed `qemu`, compiled once.

    Raises StepcellError where a host compiler is missing.
    """
    source = targets_dir() / "support" / "qemu_plugin" / "counts.c"
    define = f"-DQEMU_PLUGIN_INTERFACE={_interface(qemu.version)}"
    tool = first_tool(("gcc", "clang", "zig"))
    key = hashlib.sha256(f"{tool} {define}".encode() + source.read_bytes()).hexdigest()[:16]
    library = cache_dir() / f"counts-{key}.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        flags = ("-std=c99", "-D_DEFAULT_SOURCE", "-O2", "-fPIC", "-shared", "-Wl,-z,undefs", define)
        fresh = library.with_suffix(".new")
        run_compiler([*command(tool), *flags, str(source), "-o", str(fresh)], source.parent)
        fresh.replace(library)
    return library


def plugin_argument(library: Path, out: Path, watch: Watch) -> str:
    """What follows `-plugin`."""
    ranges = (f"watch={start:x}-{end:x}" for start, end in watch.ranges)
    return ",".join([str(library), f"out={out}", *ranges])


def marks_argument(library: Path, out: Path, marks: Marks) -> str:
    """What follows `-plugin` to count every single step."""
    ranges = (f"count={start:x}-{end:x}" for start, end in marks.ranges)
    return ",".join([str(library), f"out={out}", f"step={marks.step:x}", f"init={marks.init:x}", *ranges])


def read_steps(path: Path) -> list[int]:
    """The instructions of every step, in the order of execution."""
    return [int(line.removeprefix("T ")) for line in path.read_text(encoding="ascii").splitlines()]


def read_counts(path: Path, firmware: Firmware, isa: str) -> Counts:
    """The counts that the plugin wrote of a run of `firmware` on a core of `isa`."""
    counts = Counts(Counter(), Counter(), {}, {})
    for line in path.read_text(encoding="ascii").splitlines():
        _read_line(counts, line.split(), firmware)
    counts.sizes.update({pc: instruction_bytes(isa, firmware.read(pc, 2)) for _, pc in counts.instructions})
    for site, source, to in list(counts.edges):
        if source + counts.sizes[source] == to:
            del counts.edges[site, source, to]
    return counts


def _read_line(counts: Counts, words: list[str], firmware: Firmware) -> None:
    """Add one line, unless it is about the machine's own boot code."""
    if words[0] in ("I", "E") and not all(firmware.holds(int(pc, 16)) for pc in words[2:-1]):
        return
    match words:
        case ["S", site, to]:
            counts.sites[int(site, 16)] = int(to, 16)
        case ["I", site, pc, times]:
            counts.instructions[int(site, 16), int(pc, 16)] += int(times)
        case ["E", site, source, to, times]:
            counts.edges[int(site, 16), int(source, 16), int(to, 16)] += int(times)
        case _:
            raise ValueError(f"unknown line of counts: {' '.join(words)}")


def _interface(version: str) -> int:
    """The plugin interface that a QEMU accepts: 1 up to version 8, at least 2 from version 9 on."""
    return 1 if int(version.partition(".")[0]) < 9 else 2
