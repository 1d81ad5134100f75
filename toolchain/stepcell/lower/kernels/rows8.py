"""Row groups of eight rows, a byte a weight: two words a column, the lowest byte the first row."""

import numpy as np

from stepcell.ir.qmodel import IntArray
from stepcell.lower.kernels.kernel import Kernel, Packed, Words, block_columns, split_blocks, starts_of

ROWS = 8


def _words(columns: IntArray) -> Words:
    """[..., 8 rows] -> two words a column."""
    return np.ascontiguousarray(columns.astype(np.int8)).view("<u4").reshape(-1)


def pack_dense(weights: IntArray, starts: IntArray) -> Packed:
    """[8 * groups, cols] -> words [groups * cols * 2]."""
    columns = weights.reshape(-1, ROWS, weights.shape[1]).swapaxes(1, 2)
    return Packed(_words(columns), None, *starts_of(starts, ROWS), items=columns.shape[0] * columns.shape[1])


def pack_blocks(weights: IntArray, starts: IntArray) -> Packed:
    """Two words a block of one column, for the blocks that hold a weight."""
    blocks = split_blocks(weights, ROWS, 1)[..., 0]
    present = np.any(blocks, axis=2)
    columns = block_columns(present)
    return Packed(_words(blocks[present]), columns, *starts_of(starts, ROWS), items=int(present.sum()))


KERNELS = tuple(
    kernel
    for suffix, bits in (("", 8), ("_s16", 16))
    for kernel in (
        Kernel(f"sc_matvec_rows8_dense{suffix}", "dense", ROWS, 1, f"int{bits}_t", bits, pack_dense),
        Kernel(f"sc_matvec_8x1{suffix}", "8x1", ROWS, 1, f"int{bits}_t", bits, pack_blocks),
    )
)
