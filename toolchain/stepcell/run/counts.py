"""What an image executed, the same record from Unicorn and from QEMU."""

from collections import Counter
from dataclasses import dataclass

# The call site of instructions that run before the watched functions, or inside them.
NO_SITE = 0


@dataclass(frozen=True)
class Watch:
    """Address ranges [start, end) of the functions whose callees are told apart: step, push, read."""

    ranges: tuple[tuple[int, int], ...]

    def __contains__(self, pc: int) -> bool:
        return any(start <= pc < end for start, end in self.ranges)


@dataclass(frozen=True)
class Marks:
    """What is counted of every step: from its first instruction on, all in address ranges [start, end).

    `init` begins what belongs to no step.
    """

    step: int
    init: int
    ranges: tuple[tuple[int, int], ...]


def thumb_bytes(code: bytes) -> int:
    """Bytes of the Thumb instruction that `code` starts with: its first halfword tells."""
    return 4 if code[1] >> 3 in (0x1D, 0x1E, 0x1F) else 2


def instruction_bytes(isa: str, code: bytes) -> int:
    """Bytes of the instruction that `code` starts with."""
    if isa.startswith("rv32"):
        return 4 if code[0] & 3 == 3 else 2
    return 4 if isa == "aarch64" else thumb_bytes(code)


@dataclass(frozen=True)
class Counts:
    """Exact execution counts. A call site is the last address executed inside the watched functions.

    `instructions`: (site, pc) -> executions; `edges`: (site, from, to) -> times that `to` came after `from`
    without following it in memory, counted at the site of `from`; `sizes`: pc -> 2 or 4 bytes;
    `sites`: site -> the address that followed it the first time, in the order of first execution.
    """

    instructions: Counter[tuple[int, int]]
    edges: Counter[tuple[int, int, int]]
    sizes: dict[int, int]
    sites: dict[int, int]

    def minus(self, other: "Counts") -> "Counts":
        """What this run executed more often than the other; sites and sizes stay."""
        instructions, edges = self.instructions.copy(), self.edges.copy()
        instructions.subtract(other.instructions)
        edges.subtract(other.edges)
        return Counts(instructions, edges, self.sizes, self.sites)
