"""What is known of a core and of a board; every field comes from its TOML file."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Cycles = tuple[int, int, int]
Costs = Mapping[str, Mapping[str, float]]
"""Of every runtime function: the instructions of a `call`, of each row `group` and `item` in it, and the
`stack` bytes of its frame."""


@dataclass(frozen=True)
class CycleTable:
    """Processor cycles per instruction class with zero wait states, from the core's manual.

    `costs` maps a class to (low, estimate, high); a class that is absent costs what `default` says.
    """

    source: str
    costs: Mapping[str, Cycles]

    def cost(self, kind: str) -> Cycles:
        """Cycles of one execution of class `kind`: extras and savings default to 0, the rest to `other`."""
        if kind.endswith(("_extra", "_saving")):
            return self.costs.get(kind, (0, 0, 0))
        return self.costs.get(kind, self.costs["other"])


@dataclass(frozen=True)
class Core:
    """A processor core: how to compile for it, how to emulate it, what its instructions cost."""

    name: str
    description: str
    isa: str
    fpu: bool
    dsp: bool
    gcc: str = ""
    """The GCC that compiles for it, by its name in build/toolchains.py."""
    gcc_flags: tuple[str, ...] = ()
    zig_target: str = ""
    zig_cpu: str = ""
    unicorn_cpu: str = ""
    kernels: tuple[str, ...] = ("portable",)
    """Families of matrix kernels (lower/kernels) that may run on it."""
    kernel_folder: str = ""
    """The folder of runtime_c/src with functions in its own instructions; empty for none."""
    pass_units: int = 8
    """How many units its layers compute at once: SC_PASS in the folder's sc_isa.h."""
    cycles: CycleTable | None = None
    costs: Costs = field(default_factory=dict)
    costs_of: str = ""
    """The core whose measured costs stand in for this one's; empty if `costs` were measured on it."""

    @property
    def is_host(self) -> bool:
        """Whether this is the computer that stepcell runs on."""
        return self.isa == "host"


@dataclass(frozen=True)
class Board:
    """A memory map around a core, the support code that starts it, and the machine that emulates it."""

    name: str
    description: str
    core: str
    support: str
    flash_origin: int
    flash_bytes: int
    ram_origin: int
    ram_bytes: int
    reset_origin: int | None = None
    """Where the core looks for its vectors after reset; None: at the start of flash."""
    qemu: str = "qemu"
    """The QEMU that has its machine, by its name in build/toolchains.py."""
    qemu_machine: str = ""
    qemu_options: tuple[str, ...] = ()
    qemu_user_cpu: str = ""
    """The processor of QEMU's user mode; a board that has one is a Linux process."""
    simavr_mcu: str = ""
    near_flash_bytes: int = 0
    """How much of the start of flash the core reads data from; tables must lie there. 0: all of it."""
