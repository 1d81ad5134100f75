"""Tiles: a word is four columns of one row; eight rows dense, or four rows in blocks of four columns."""

import numpy as np

from stepcell.ir.qmodel import IntArray
from stepcell.lower.kernels.kernel import Kernel, Packed, Words, block_columns, split_blocks, starts_of

COLS = 4
DENSE_ROWS = 8
BLOCK_ROWS = 4


def _words(tiles: IntArray) -> Words:
    """[..., rows, 4 columns] -> one word a row."""
    return np.ascontiguousarray(tiles.astype(np.int8)).view("<u4").reshape(-1)


def pack_dense(weights: IntArray, starts: IntArray) -> Packed:
    """[8 * groups, cols] -> words [groups, tiles, 8]."""
    tiles = split_blocks(weights, DENSE_ROWS, COLS)
    words = _words(tiles)
    return Packed(words, None, *starts_of(starts, DENSE_ROWS), items=len(words) // DENSE_ROWS)


def pack_blocks(weights: IntArray, starts: IntArray) -> Packed:
    """Four words a block, for the blocks that hold a weight."""
    blocks = split_blocks(weights, BLOCK_ROWS, COLS)
    present = np.asarray(blocks.any(axis=(2, 3)))
    columns = block_columns(present)
    return Packed(_words(blocks[present]), columns, *starts_of(starts, BLOCK_ROWS), items=int(present.sum()))


KERNELS = tuple(
    kernel
    for bits in (8, 16)
    for kernel in (
        Kernel(f"sc_matvec_tiles_s{bits}", "dense", DENSE_ROWS, COLS, f"int{bits}_t", bits, pack_dense),
        Kernel(f"sc_matvec_tiles_4x4_s{bits}", "4x4", BLOCK_ROWS, COLS, f"int{bits}_t", bits, pack_blocks),
    )
)
