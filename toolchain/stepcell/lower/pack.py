"""Weights in the order that the kernels read them: row groups of four, dense or in blocks.

A word holds one column of four rows, the lowest byte being the first row (runtime_c/include/stepcell.h).
"""

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.qmodel import IntArray

Words = NDArray[np.uint32]
Bytes = NDArray[np.uint8]
ROWS = 4
MAX_BLOCKS = 255
"""A row group's block count is a byte, and so is a block's position."""


def gate_row_order(units: int, gates: tuple[int, ...]) -> IntArray:
    """Model rows in kernel order, -1 for padding: for every four units, their rows of each gate in turn."""
    groups = -(-units // ROWS)
    unit = np.arange(groups * ROWS).reshape(groups, 1, ROWS)
    rows = np.asarray(gates).reshape(1, -1, 1) * units + unit
    return np.where(unit < units, rows, -1).reshape(-1)


def permute(array: IntArray, order: IntArray) -> IntArray:
    """array[order] along the first axis, zeros where order is -1."""
    taken = array[np.maximum(order, 0)]
    return np.where((order >= 0).reshape(-1, *[1] * (array.ndim - 1)), taken, 0)


def pack_dense(weights: IntArray) -> Words:
    """[4 * groups, cols] -> words [groups * cols]."""
    groups = weights.reshape(-1, ROWS, weights.shape[1])
    lanes = groups.transpose(0, 2, 1).astype(np.int8).view(np.uint8)
    return np.ascontiguousarray(lanes).reshape(-1, ROWS).copy().view("<u4").reshape(-1)


def unpack_dense(words: Words, cols: int) -> IntArray:
    """The inverse of `pack_dense`."""
    lanes = words.astype("<u4").view(np.int8).reshape(-1, cols, ROWS)
    return lanes.transpose(0, 2, 1).reshape(-1, cols).astype(np.int64)


def block_map(weights: IntArray, width: int) -> NDArray[np.bool_]:
    """Which blocks of four rows by `width` columns hold a weight: [groups, ceil(cols / width)]."""
    return np.asarray(_blocks(weights, width).any(axis=(2, 3)))


def _blocks(weights: IntArray, width: int) -> IntArray:
    """[4 * groups, cols] -> [groups, ceil(cols / width), width, 4], padded with zero columns."""
    padded = np.pad(weights, ((0, 0), (0, -weights.shape[1] % width)))
    split = padded.reshape(-1, ROWS, padded.shape[1] // width, width)
    return split.transpose(0, 2, 3, 1)


def fits_blocks(weights: IntArray, width: int) -> bool:
    """Can a byte say where each block lies and how many a row group has?"""
    blocks = block_map(weights, width)
    return blocks.shape[1] <= MAX_BLOCKS + 1 and int(blocks.sum(axis=1).max(initial=0)) <= MAX_BLOCKS


def pack_blocks(weights: IntArray, width: int) -> tuple[Words, Bytes]:
    """[4 * groups, cols] -> (words: `width` a block, bytes: for each group its block count and positions)."""
    blocks, present = _blocks(weights, width), block_map(weights, width)
    lanes = blocks[present].astype(np.int8).view(np.uint8).reshape(-1, ROWS)
    words = np.ascontiguousarray(lanes).view("<u4").reshape(-1)
    columns = [np.concatenate([[row.sum()], np.flatnonzero(row)]) for row in present]
    return words, np.concatenate(columns).astype(np.uint8)


def unpack_blocks(words: Words, columns: Bytes, width: int, cols: int) -> IntArray:
    """The inverse of `pack_blocks`."""
    lanes = words.astype("<u4").view(np.int8).reshape(-1, width, ROWS)
    groups: list[IntArray] = []
    at, block = 0, 0
    while at < len(columns):
        count = int(columns[at])
        rows = np.zeros((ROWS, -(-cols // width) * width), np.int64)
        for position in columns[at + 1 : at + 1 + count]:
            first = int(position) * width
            rows[:, first : first + width] = lanes[block].T
            block += 1
        groups.append(rows[:, :cols])
        at += 1 + count
    return np.concatenate(groups)
