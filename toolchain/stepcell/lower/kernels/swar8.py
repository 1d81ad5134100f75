"""Row groups of eight rows in pairs, two bytes a weight: one multiplication serves two rows.

A word holds two rows of one column, P = (w1 << 16) + w0. For two columns of int8 inputs

    T = P x + P' x' = (s1 << 16) + s0,   |s0|, |s1| <= 2 * 127 * 128 = 32512,

so T + 0x8000 stays within int32 and its upper half is s1, whatever the weights. A pair of rows sums T, modulo
2^32, and those upper halves: its first row is the one less the other << 16. Each row's sum is proven within
int32.
"""

import numpy as np

from stepcell.ir.qmodel import IntArray
from stepcell.lower.kernels.kernel import Bytes, Kernel, Packed, Words, block_columns, split_blocks, starts_of

ROWS = 8


def _words(pairs: IntArray) -> Words:
    """[..., 8 rows, 2 columns] -> [..., 4 pairs of rows, 2 columns], flat."""
    w0, w1 = pairs[..., 0::2, :].astype(np.int64), pairs[..., 1::2, :].astype(np.int64)
    return ((w1 << 16) + w0).astype(np.uint32).reshape(-1)


def _starts(starts: IntArray) -> IntArray:
    """[b0, b1] of each pair of rows -> [(b1 << 16) + b0, b1], int32: how the sums are kept."""
    b0, b1 = starts[0::2], starts[1::2]
    packed = ((b1 << 16) + b0).astype(np.uint32).astype(np.int32)
    return np.stack([packed, b1], axis=1).reshape(-1)


def _packed(blocks: IntArray, columns: Bytes | None, starts: IntArray) -> Packed:
    table, stride = starts_of(starts, ROWS)
    return Packed(
        _words(blocks), columns, _starts(table.astype(np.int64)).astype(np.int32), stride, items=len(blocks)
    )


def pack_dense(weights: IntArray, starts: IntArray) -> Packed:
    """[8 * groups, cols] -> words [groups, column pairs, 4 pairs of rows, 2 columns]."""
    return _packed(split_blocks(weights, ROWS, 2).reshape(-1, ROWS, 2), None, starts)


def pack_blocks(weights: IntArray, starts: IntArray) -> Packed:
    """Eight words a block of two columns, for the blocks that hold a weight."""
    blocks = split_blocks(weights, ROWS, 2)
    present = np.any(blocks, axis=(2, 3))
    return _packed(blocks[present], block_columns(present), starts)


KERNELS = (
    Kernel("sc_matvec_swar8_dense", "dense", ROWS, 2, "int8_t", 8, pack_dense),
    Kernel("sc_matvec_swar8_8x2", "8x2", ROWS, 2, "int8_t", 8, pack_blocks),
)
