"""Cores with the DSP extension: two rows are a halfword, a high and a low one.

A halfword is 256 * w1 + w0 for rows 2k and 2k + 1 of one column; a word is two columns, the lower one in the
lower half. The sum of whole halfwords less that of their low bytes is 256 times the high row.
"""

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.qmodel import IntArray
from stepcell.lower.kernels.kernel import (
    SEGMENT,
    Bytes,
    Kernel,
    Packed,
    Words,
    block_columns,
    split_blocks,
)

ROWS = 4
LARGEST_INPUT = 128
HIGH_LIMIT = 1 << 23
"""The sum of a high row has 24 bits: a 32-bit difference, shifted right by 8."""


def fits(weights: IntArray, starts: IntArray) -> bool:
    """Whether no sum of a high row leaves 24 bits, whatever int8 values x holds.

    Of the low rows nothing is asked: their sums fit int32 as every accumulator does, and `full` may wrap.
    """
    most = np.abs(starts.astype(np.int64)) + LARGEST_INPUT * np.abs(weights.astype(np.int64)).sum(axis=1)
    return bool((most[1::2] < HIGH_LIMIT).all())


def pack_dense(weights: IntArray, starts: IntArray) -> Packed:
    """Two words for each two columns of a row group."""
    blocks = split_blocks(weights, ROWS, 2)
    return Packed(pair_rows(blocks), None, *_starts(starts), items=blocks.shape[0] * blocks.shape[1])


def pack_blocks(weights: IntArray, starts: IntArray) -> Packed:
    """Two words for each block of 4 rows and 2 columns that holds a weight."""
    blocks = split_blocks(weights, ROWS, 2)
    present = blocks.any(axis=(2, 3))
    return Packed(
        pair_rows(blocks[present]),
        block_columns(np.asarray(present)),
        *_starts(starts),
        items=int(present.sum()),
    )


def pack_columns(weights: IntArray, starts: IntArray) -> Packed:
    """Columns of a row group that hold a weight, in pairs: two words and two positions a pair.

    The count of a segment is that of pairs. An odd column out is paired with a zero one.
    """
    words: list[Words] = []
    listed: list[Bytes] = []
    for group in weights.reshape(-1, ROWS, weights.shape[1]):
        for first in range(0, group.shape[1], SEGMENT):
            segment = group[:, first : first + SEGMENT]
            positions = np.flatnonzero(segment.any(axis=0))
            odd = len(positions) % 2
            pairs = np.pad(segment[:, positions], ((0, 0), (0, odd))).reshape(ROWS, -1, 2)
            words.append(pair_rows(pairs.transpose(1, 0, 2)))
            count = np.array([pairs.shape[1]])
            listed.append(np.concatenate([count, positions, np.zeros(odd, np.int64)]).astype(np.uint8))
    columns = np.concatenate(listed)
    packed = np.concatenate(words)
    return Packed(packed, columns, *_starts(starts), items=len(packed) // 2)


def pair_rows(blocks: IntArray) -> Words:
    """[..., 4 rows, 2 columns] -> a word for rows 0 and 1, a word for rows 2 and 3."""
    halves = 256 * blocks[..., 1::2, :].astype(np.int64) + blocks[..., ::2, :]
    return np.ascontiguousarray(halves.astype(np.int16)).view("<u4").reshape(-1)


def _starts(starts: IntArray) -> tuple[NDArray[np.int32], int]:
    """Low sums start with b0 and full ones with b0 + 256 * b1, modulo 2^32."""
    encoded = starts.astype(np.int64)
    encoded[1::2] = encoded[::2] + 256 * encoded[1::2]
    wrapped = encoded.astype(np.uint64).astype(np.uint32).view(np.int32)
    if (wrapped.reshape(-1, ROWS) == wrapped[:ROWS]).all():
        return wrapped[:ROWS], 0
    return wrapped, ROWS


KERNELS = tuple(
    Kernel(f"sc_matvec_hilo_{storage}", storage, ROWS, multiple, "int16_t", 8, pack, fits=fits)
    for storage, multiple, pack in (
        ("dense", 2, pack_dense),
        ("4x1", 1, pack_columns),
        ("4x2", 2, pack_blocks),
    )
)
