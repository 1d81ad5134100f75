"""The parts of a Plan: tables in flash, descriptors of layers, members of the state, arrays and calls."""

from dataclasses import dataclass

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
    """A member of the state struct; `initial` is None for zeros.

    A buffer holds what one stage of a run leaves for later ones; it starts as anything.
    """

    name: str
    ctype: str
    count: int
    offset: int
    initial: NDArray[np.int64] | None
    is_buffer: bool = False

    @property
    def bytes(self) -> int:
        """Size in the struct."""
        return self.count * C_BYTES[self.ctype]
