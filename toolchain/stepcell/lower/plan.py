"""The Plan: everything that the C text says, with every number finished. `emit` reads only this."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

C_BYTES = {
    "int8_t": 1,
    "uint8_t": 1,
    "int16_t": 2,
    "uint16_t": 2,
    "int32_t": 4,
    "uint32_t": 4,
    "sc_change": 4,
    "sc_change_pair": 8,
}


@dataclass(frozen=True, eq=False)
class Table:
    """A constant array in flash."""

    name: str
    ctype: str
    values: NDArray[np.int64]
    comment: str

    @property
    def bytes(self) -> int:
        """Size in flash."""
        return len(self.values) * C_BYTES[self.ctype]


@dataclass(frozen=True)
class MatrixRef:
    """How a layer's descriptor names a matrix: its kernel, its tables, and where it starts in them."""

    field: str
    kernel: str
    weights: str
    columns: str | None
    start: str | None
    cols: int
    stride: int


@dataclass(frozen=True)
class Descriptor:
    """The constant struct of one layer: matrices, tables, rounding shifts and plain numbers by field."""

    name: str
    ctype: str
    matrices: tuple[MatrixRef, ...]
    tables: tuple[tuple[str, str], ...]
    shifts: tuple[tuple[str, int], ...]
    numbers: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Buffer:
    """A local array of a function. `holds` says which values live in it, one after the other."""

    name: str
    ctype: str
    count: int
    holds: str

    @property
    def bytes(self) -> int:
        """Size on the stack."""
        return self.count * C_BYTES[self.ctype]


Work = tuple[tuple[str, str, int], ...]
"""(function, what, how often): what a call executes, in the terms of the core's cost table."""


@dataclass(frozen=True)
class Call:
    """One call of a runtime function; `macs` counts the multiplications of the dense layer that it is."""

    layer: str
    function: str
    arguments: tuple[str, ...]
    comment: str = ""
    macs: int = 0
    kernels: tuple[str, ...] = ()
    work: Work = ()


@dataclass(frozen=True)
class Body:
    """The locals and the calls of one generated function."""

    buffers: tuple[Buffer, ...]
    calls: tuple[Call, ...]


@dataclass(frozen=True, eq=False)
class Field:
    """A member of the state struct; `initial` is None for zeros."""

    name: str
    ctype: str
    count: int
    offset: int
    initial: NDArray[np.int64] | None

    @property
    def bytes(self) -> int:
        """Size in the struct."""
        return self.count * C_BYTES[self.ctype]


@dataclass(frozen=True)
class Port:
    """The input or the output of a step: real = stored * scale."""

    name: str
    ctype: str
    count: int
    scale: float


@dataclass(frozen=True, eq=False)
class SelfTest:
    """Known answers: input frames [K, X], outputs [K, Y] and a checksum of the state after each [K]."""

    frames: NDArray[np.int64]
    outputs: NDArray[np.int64]
    checksums: NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """What a step costs by the core's measured cost table: instructions, and a bound of the stack."""

    instructions: int
    stack_bytes: int


@dataclass(frozen=True, eq=False)
class Plan:
    """A whole bundle. `read` is None where the output comes with every step."""

    name: str
    core: str
    kernel_folder: str
    input: Port
    output: Port
    left_to_caller: str | None
    state: tuple[Field, ...]
    state_bytes: int
    tables: tuple[Table, ...]
    descriptors: tuple[Descriptor, ...]
    step: Body
    read: Body | None
    selftest: SelfTest
    estimate: Estimate | None
    banner: tuple[str, ...]
    choices: Mapping[str, str]

    @property
    def calls(self) -> tuple[Call, ...]:
        """Every runtime call of one `step`, in order."""
        return (*self.step.calls, *(self.read.calls if self.read is not None else ()))

    @property
    def macs(self) -> int:
        """Multiplications of one step with every matrix dense."""
        return sum(call.macs for call in self.calls)

    @property
    def depends_on_data(self) -> bool:
        """Whether a step takes other instructions for other data; estimates are then of the most."""
        return any(call.function.startswith("sc_hold") for call in self.calls)

    def facts(self) -> dict[str, Any]:
        """The choices and sizes that the manifest lists."""
        return {
            "macs_per_step": self.macs,
            "weights_bytes": sum(table.bytes for table in self.tables),
            "choices": dict(self.choices),
        }
