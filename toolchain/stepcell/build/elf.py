"""Read symbols and sections of objects and firmware."""

import bisect
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from stepcell.build.toolchains import device_module

Segments = tuple[tuple[int, bytes], ...]
"""Addresses in flash and what lies there."""


@dataclass(frozen=True)
class Symbol:
    """A function of the firmware: its address (Thumb bit cleared) and size in bytes."""

    name: str
    address: int
    size: int


@dataclass(frozen=True)
class Section:
    """An output section that takes memory."""

    name: str
    address: int
    size: int


class Firmware:
    """An ELF file of firmware: its load segments, sections and functions."""

    def __init__(self, path: Path) -> None:
        self.segments, self.sections, self.symbols, self.values = _contents(path.read_bytes())

    def function_at(self, address: int) -> str:
        """The name of the function around `address`; '?' where none is known."""
        index = bisect.bisect_right(self._by_address, address, key=lambda symbol: symbol.address) - 1
        return self._by_address[index].name if index >= 0 else "?"

    def names_at(self, address: int) -> set[str]:
        """Every name of the function that starts at `address`."""
        return {symbol.name for symbol in self.symbols if symbol.address == address}

    def in_section(self, address: int, *names: str) -> bool:
        """Whether `address` lies in one of the named output sections."""
        sections = [self.sections[name] for name in names if name in self.sections]
        return any(s.address <= address < s.address + s.size for s in sections)

    def holds(self, address: int) -> bool:
        """Whether `address` lies in flash that this file fills."""
        return any(start <= address < start + len(data) for start, data in self.segments)

    def read(self, address: int, size: int) -> bytes:
        """Bytes of flash at `address`."""
        for start, data in self.segments:
            if start <= address < start + len(data):
                return bytes(data[address - start : address - start + size])
        raise ValueError(f"no flash at {address:#x}")

    @cached_property
    def _by_address(self) -> list[Symbol]:
        return sorted(self.symbols, key=lambda symbol: symbol.address)


def undefined_symbols(objects: Iterable[Path]) -> set[str]:
    """Names that the objects use and none of them defines, except the linker script's."""
    used: set[str] = set()
    defined: set[str] = set()
    for path in objects:
        with path.open("rb") as stream:
            table: Any = _open(stream).get_section_by_name(".symtab")
            for symbol in table.iter_symbols():
                (used if symbol["st_shndx"] == "SHN_UNDEF" else defined).add(symbol.name)
    return {name for name in used - defined if name and not name.startswith("stepcell_")}


@lru_cache(maxsize=4)  # every run of a firmware reads it, and its symbols take longer than a short run
def _contents(file: bytes) -> tuple[Segments, dict[str, Section], tuple[Symbol, ...], dict[str, int]]:
    """Load segments, sections, functions, and the values of all symbols."""
    elf = _open(BytesIO(file))
    table: Any = elf.get_section_by_name(".symtab")
    every = [*table.iter_symbols()]
    return (
        tuple((s["p_paddr"], s.data()) for s in elf.iter_segments("PT_LOAD") if s["p_filesz"]),
        {s.name: _section(s) for s in elf.iter_sections() if s["sh_flags"] & 2},
        tuple(_symbol(s) for s in every if s["st_info"]["type"] == "STT_FUNC"),
        {s.name: s["st_value"] for s in every},
    )


def _open(stream: BinaryIO) -> Any:
    return device_module("elftools.elf.elffile").ELFFile(stream)


def _section(section: Any) -> Section:
    return Section(section.name, section["sh_addr"], section["sh_size"])


def _symbol(symbol: Any) -> Symbol:
    address = symbol["st_value"] & ~1
    return Symbol(symbol.name, address, symbol["st_size"])
