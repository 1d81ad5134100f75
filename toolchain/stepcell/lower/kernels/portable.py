"""Portable C: a word is one column of four rows, the lowest byte the first row; dense, or in blocks."""

from functools import partial

import numpy as np

from stepcell.ir.qmodel import IntArray
from stepcell.lower.kernels.kernel import Kernel, Packed, Words, block_columns, split_blocks, starts_of

ROWS = 4


def _words(blocks: IntArray) -> Words:
    """[..., 4 rows, width] -> one word a column."""
    lanes = np.swapaxes(blocks, -1, -2).astype(np.int8)
    return np.ascontiguousarray(lanes).view("<u4").reshape(-1)


def pack_dense(weights: IntArray, starts: IntArray) -> Packed:
    """[4 * groups, cols] -> words [groups * cols]."""
    words = _words(weights.reshape(-1, ROWS, weights.shape[1]))
    return Packed(words, None, *starts_of(starts, ROWS), items=len(words))


def pack_blocks(width: int, weights: IntArray, starts: IntArray) -> Packed:
    """`width` words a block, for the blocks that hold a weight."""
    blocks = split_blocks(weights, ROWS, width)
    present = np.asarray(blocks.any(axis=(2, 3)))
    columns = block_columns(present)
    return Packed(_words(blocks[present]), columns, *starts_of(starts, ROWS), items=int(present.sum()))


KERNELS = tuple(
    kernel
    for bits in (8, 16)
    for kernel in (
        Kernel(f"sc_matvec_dense_s{bits}", "dense", ROWS, 1, f"int{bits}_t", bits, pack_dense),
        *(
            Kernel(
                f"sc_matvec_4x{width}_s{bits}",
                f"4x{width}",
                ROWS,
                width,
                f"int{bits}_t",
                bits,
                partial(pack_blocks, width),
            )
            for width in (1, 2)
        ),
    )
)
