"""Cores without DSP instructions: two rows a register, 2 bytes a weight.

A word is w0 + 65536 w1, one column of two rows; the sum of two columns times int8 inputs is exact in both
halves, as 2 * 127 * 128 < 2^15. So no proof is needed that the kernels fit a matrix.
"""

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.qmodel import IntArray
from stepcell.lower.kernels.kernel import Kernel, Packed, Words, block_columns, split_blocks, starts_of

ROWS = 4
WIDTH = 2


def _pairs(values: IntArray) -> Words:
    """[..., 2] -> first + 65536 second, modulo 2^32."""
    return (values[..., 0] + 65536 * values[..., 1]).astype(np.uint32)


def _words(blocks: IntArray) -> Words:
    """[blocks, 4 rows, 2 columns] -> words [blocks * 4]: two columns of rows 0 and 1, two of rows 2 and 3."""
    by_column = blocks.astype(np.int64).reshape(-1, 2, 2, WIDTH).swapaxes(2, 3)
    return _pairs(by_column).reshape(-1)


def _starts(starts: IntArray) -> tuple[NDArray[np.int32], int]:
    """As starts_of, of each two rows [b0 + 65536 b1, b1]."""
    plain, stride = starts_of(starts, ROWS)
    two = plain.astype(np.int64).reshape(-1, 2)
    return np.stack([_pairs(two).view(np.int32), two[:, 1].astype(np.int32)], axis=1).reshape(-1), stride


def pack_dense(weights: IntArray, starts: IntArray) -> Packed:
    """[4 * groups, cols] -> words [groups * ceil(cols / 2) * 4]."""
    words = _words(split_blocks(weights, ROWS, WIDTH).reshape(-1, ROWS, WIDTH))
    return Packed(words, None, *_starts(starts), items=len(words) // 2)


def pack_blocks(weights: IntArray, starts: IntArray) -> Packed:
    """Four words a block, for the blocks that hold a weight."""
    blocks = split_blocks(weights, ROWS, WIDTH)
    present = np.asarray(blocks.any(axis=(2, 3)))
    words = _words(blocks[present])
    return Packed(words, block_columns(present), *_starts(starts), items=int(present.sum()))


KERNELS = (
    Kernel("sc_matvec_swar_dense", "dense", ROWS, WIDTH, "int32_t", 8, pack_dense),
    Kernel("sc_matvec_swar_4x2", "4x2", ROWS, WIDTH, "int32_t", 8, pack_blocks),
)
