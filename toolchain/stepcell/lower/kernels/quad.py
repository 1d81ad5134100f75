"""Cores with the DSP extension, 16-bit inputs: a word is four columns of a row."""

import numpy as np

from stepcell.ir.qmodel import IntArray
from stepcell.lower.kernels.kernel import Kernel, Packed, split_blocks, starts_of

ROWS = 4
WIDTH = 4
_ORDER = (0, 2, 1, 3)
"""The columns of bytes 0 to 3: two bytes that are extended at once are neighbours in x."""


def pack_dense(weights: IntArray, starts: IntArray) -> Packed:
    """A word for each row of a group and four columns."""
    blocks = split_blocks(weights, ROWS, WIDTH)[..., _ORDER].astype(np.int8)
    words = np.ascontiguousarray(blocks).view("<u4").reshape(-1)
    return Packed(words, None, *starts_of(starts, ROWS), items=len(words) // ROWS)


KERNELS = (Kernel("sc_matvec_quad_dense_s16", "dense", ROWS, WIDTH, "int16_t", 16, pack_dense),)
