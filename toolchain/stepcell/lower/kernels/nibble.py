"""Cores with the DSP extension, weights of 4 bits: four rows of a column are a halfword.

A halfword is 4096 * w3 + 256 * (w2 + 8) + 16 * (w1 + 8) + (w0 + 8), a word two columns. The sum of whole
halfwords and those of the three lower digits, masked, give the four rows, with 8 times the sum of x too much.
"""

import numpy as np

from stepcell.ir.qmodel import IntArray
from stepcell.lower.kernels.kernel import Kernel, Packed

ROWS = 4
MULTIPLE = 4
LARGEST_INPUT = 128
LARGEST_WEIGHT = 7
OFFSETS = np.array([8, 8, 8, 0])
PLACES = np.array([1, 16, 256, 4096])
LIMITS = (1 << 31) // PLACES
"""What the sum of a row, offset included, stays below: it is shifted right from its place."""


def fits(weights: IntArray, starts: IntArray) -> bool:
    """Whether no sum of a row leaves the bits that its place leaves it, whatever int8 values x holds."""
    by_row = np.abs(weights.astype(np.int64)).reshape(-1, ROWS, weights.shape[1])
    if by_row.size and by_row.max() > LARGEST_WEIGHT:
        return False
    most = LARGEST_INPUT * (by_row + OFFSETS[:, None]).sum(axis=2)
    most += np.abs(starts.astype(np.int64)).reshape(-1, ROWS)
    return bool((most < LIMITS).all())


def pack_dense(weights: IntArray, starts: IntArray) -> Packed:
    """A word for each two columns of a row group."""
    padded = np.pad(weights.astype(np.int64), ((0, 0), (0, -weights.shape[1] % MULTIPLE)))
    lanes = np.einsum("grc,r->gc", padded.reshape(-1, ROWS, padded.shape[1]) + OFFSETS[:, None], PLACES)
    words = np.ascontiguousarray(lanes.astype(np.int16)).view("<u4").reshape(-1)
    placed = starts.astype(np.int64).reshape(-1, ROWS) * PLACES
    placed[:, 3] = placed.sum(axis=1)
    encoded = placed.astype(np.uint64).astype(np.uint32).view(np.int32)
    alike = bool((encoded == encoded[0]).all())
    return Packed(words, None, encoded[0] if alike else encoded.reshape(-1), 0 if alike else ROWS, len(words))


KERNELS = (
    Kernel(
        "sc_matvec_nibble_dense",
        "int4",
        ROWS,
        MULTIPLE,
        "int16_t",
        8,
        pack_dense,
        weight_limit=LARGEST_WEIGHT,
        fits=fits,
    ),
)
