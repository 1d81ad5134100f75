"""Cores without DSP instructions: 1 byte a weight, a word is one column of four rows, x lies as int32.

The lowest byte is the first row. Signed bytes are for cores that extend any byte of a word in one
instruction; offset bytes, w + 128, for cores that load bytes only unsigned. Both are exact for int16 x, too.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from stepcell.ir.qmodel import IntArray
from stepcell.lower.kernels.kernel import Kernel, Packed, Words, block_columns, split_blocks, starts_of

ROWS = 4
COLUMNS = 4
"""What dense kernels read at once."""
OFFSET = 128


def _words(offset: int, columns: IntArray) -> Words:
    """[columns, 4 rows] -> one word a column."""
    return np.ascontiguousarray((columns + offset).astype(np.uint8)).view("<u4").reshape(-1)


def pack_dense(offset: int, weights: IntArray, starts: IntArray) -> Packed:
    """[4 * groups, cols] -> words [groups * cols], cols padded to fours."""
    words = _words(offset, split_blocks(weights, ROWS, COLUMNS).swapaxes(2, 3).reshape(-1, ROWS))
    return Packed(words, None, *starts_of(starts, ROWS), items=len(words))


def pack_blocks(offset: int, weights: IntArray, starts: IntArray) -> Packed:
    """One word a block, for the blocks that hold a weight."""
    blocks = split_blocks(weights, ROWS, 1)[..., 0]
    present = np.asarray(blocks.any(axis=2))
    words = _words(offset, blocks[present])
    return Packed(words, block_columns(present), *starts_of(starts, ROWS), items=len(words))


def _kernels(dense: str, blocks: str, offset: int) -> tuple[Kernel, ...]:
    """Each kernel as one of int8 and as one of int16 inputs."""

    def kernel(
        name: str, storage: str, multiple: int, bits: int, pack: Callable[[int, IntArray, IntArray], Packed]
    ) -> Kernel:
        return Kernel(name, storage, ROWS, multiple, "int32_t", bits, partial(pack, offset))

    return tuple(
        made
        for bits in (8, 16)
        for made in (
            kernel(dense, "dense", COLUMNS, bits, pack_dense),
            kernel(blocks, "4x1", 1, bits, pack_blocks),
        )
    )


SIGNED = _kernels("sc_matvec_dense_s32", "sc_matvec_4x1_s32", 0)
UNSIGNED = _kernels("sc_matvec_offset_dense", "sc_matvec_offset_4x1", OFFSET)
