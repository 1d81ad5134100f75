"""Helium (MVE): 16 columns of a row fill a vector register, 8 rows the registers that dot products add to.

Blocks are as wide as a register. Sixteen single columns, collected by a gather, take about as many
instructions, more where their number is no multiple of 16; and what a gather of bytes costs in cycles is not
documented.
"""

import numpy as np

from stepcell.ir.qmodel import IntArray
from stepcell.lower.kernels.kernel import Kernel, Packed, Words, block_columns, split_blocks, starts_of

DENSE_ROWS, BLOCK_ROWS = 8, 4
BLOCK_COLS, WIDE_COLS = 16, 8
"""Columns of a vector register of int8 and of int16."""


def _words(blocks: IntArray) -> Words:
    """[..., rows, width], as they lie, four bytes a word."""
    return np.ascontiguousarray(blocks.astype(np.int8)).view("<u4").reshape(-1)


def _pack_dense(weights: IntArray, starts: IntArray, tile_cols: int) -> Packed:
    """[8 * groups, cols] -> [groups, tiles, 8 rows, tile_cols] bytes, whole vectors of int8."""
    padded = np.pad(weights, ((0, 0), (0, -weights.shape[1] % BLOCK_COLS)))
    tiles = split_blocks(padded, DENSE_ROWS, tile_cols)
    return Packed(_words(tiles), None, *starts_of(starts, DENSE_ROWS), items=tiles.shape[0] * tiles.shape[1])


def pack_dense(weights: IntArray, starts: IntArray) -> Packed:
    """Tiles of 8 rows and 16 columns."""
    return _pack_dense(weights, starts, BLOCK_COLS)


def pack_wide(weights: IntArray, starts: IntArray) -> Packed:
    """Tiles of 8 rows and 8 columns, an even number of them."""
    return _pack_dense(weights, starts, WIDE_COLS)


def pack_blocks(weights: IntArray, starts: IntArray) -> Packed:
    """16 words for each block of 4 rows and 16 columns that holds a weight."""
    blocks = split_blocks(weights, BLOCK_ROWS, BLOCK_COLS)
    present = np.asarray(blocks.any(axis=(2, 3)))
    columns = block_columns(present)
    items = int(present.sum())
    return Packed(_words(blocks[present]), columns, *starts_of(starts, BLOCK_ROWS), items=items)


KERNELS = (
    Kernel("sc_matvec_mve_dense", "dense", DENSE_ROWS, BLOCK_COLS, "int8_t", 8, pack_dense),
    Kernel("sc_matvec_mve_4x16", "4x16", BLOCK_ROWS, BLOCK_COLS, "int8_t", 8, pack_blocks),
    Kernel("sc_matvec_mve_dense_s16", "dense", DENSE_ROWS, BLOCK_COLS, "int16_t", 16, pack_wide),
)
