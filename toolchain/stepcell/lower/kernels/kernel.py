"""A matrix kernel as the compiler sees it: what it can multiply, and how its weights are stored."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.qmodel import IntArray

Words = NDArray[np.uint32]
Bytes = NDArray[np.uint8]
SEGMENT = 255
"""Block positions apart, a byte holds every count and position (SC_SEGMENT in stepcell.h)."""


@dataclass(frozen=True, eq=False)
class Packed:
    """The tables of one matrix, as its kernel reads them.

    `start` holds one int32 a row; or, where all rows start alike, those of one row group.
    """

    words: Words
    columns: Bytes | None
    start: NDArray[np.int32]
    stride: int
    """By how many words `start` moves on at each row group: 0 where all rows start alike."""
    items: int
    """Inner iterations (columns of dense row groups, or blocks): what the cost of a kernel is affine in."""

    @property
    def bytes(self) -> int:
        """Flash of the weights and of their positions; every format has the same starts."""
        return self.words.nbytes + (0 if self.columns is None else self.columns.nbytes)


Pack = Callable[[IntArray, IntArray], Packed]
"""(weights [rows, cols], starts [rows]) -> tables. Rows are padded to row groups, columns are not."""


@dataclass(frozen=True)
class Kernel:
    """A C function `sc_matvec_*` and what it asks of its operands (runtime_c/include/stepcell.h)."""

    name: str
    format: str
    """The storage, as users are told: dense, 4x1, 4x2, ..."""
    rows: int
    """Rows of a row group."""
    multiple: int
    """x and the count of columns are padded with zeros to a multiple of this."""
    vector: str
    """The C type of x's elements: int8_t, int16_t or int32_t."""
    input_bits: int
    """8: x holds int8 values, |x| <= 128, in whatever type. 16: x holds int16 values."""
    pack: Pack
    weight_limit: int = 127
    """The largest |weight| that the storage holds."""
    fits: Callable[[IntArray, IntArray], bool] = lambda _weights, _starts: True
    """Whether the kernel is exact for (weights, starts); where sums are packed, that is to be proven."""


def starts_of(starts: IntArray, rows: int) -> tuple[NDArray[np.int32], int]:
    """(`start` table, stride) of plain starts: one row group's worth where all are alike."""
    if len(np.unique(starts)) <= 1:
        return starts[:rows].astype(np.int32), 0
    return starts.astype(np.int32), rows


def segments(cols: int, width: int) -> int:
    """How many segments the blocks of a row group are listed in."""
    return -(-cols // (SEGMENT * width))


def block_columns(present: NDArray[np.bool_]) -> Bytes:
    """[groups, positions] -> for each row group and segment: a count of blocks, then their positions."""
    listed: list[NDArray[np.int64]] = []
    for group in present:
        for first in range(0, len(group), SEGMENT):
            positions = np.flatnonzero(group[first : first + SEGMENT])
            listed += [np.array([len(positions)]), positions]
    return np.concatenate(listed).astype(np.uint8)


def split_blocks(weights: IntArray, rows: int, width: int) -> IntArray:
    """[groups * rows, cols] -> [groups, ceil(cols / width), rows, width], padded with zero columns."""
    padded = np.pad(weights, ((0, 0), (0, -weights.shape[1] % width)))
    return padded.reshape(-1, rows, padded.shape[1] // width, width).transpose(0, 2, 1, 3)
