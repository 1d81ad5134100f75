"""From a block and scores to what is kept: whole blocks, up to a budget of weights.

A block is `rows` rows that a kernel stores together, in the order in which it computes them
(ir/row_order.py), times `cols` consecutive columns: for an LSTM four rows are the gates of one unit. Where
rows or columns are no multiple of the block, its last block is smaller.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.model import Block, BoolArray, FloatArray
from stepcell.ir.row_order import Order


@dataclass(frozen=True, eq=False)
class Matrix:
    """What is known of a matrix: a score per weight, the order of its rows, which weights are still alive."""

    scores: FloatArray
    order: Order
    alive: BoolArray


def block_index(shape: tuple[int, int], order: Order, block: Block) -> NDArray[np.int64]:
    """The number of the block that each weight of a matrix lies in, its rows counted in `order`."""
    rows, cols = shape
    position = np.empty(rows, np.int64)
    position[order[order >= 0]] = np.flatnonzero(order >= 0)
    blocks_per_band = -(-cols // block.cols)
    return np.asarray((position // block.rows)[:, None] * blocks_per_band + np.arange(cols) // block.cols)


def keep_masks(matrices: Sequence[Matrix], block: Block, density: float) -> list[BoolArray]:
    """Keep the blocks with the highest mean score, over all matrices together.

    The kept weights are `density` of all, to within one block. A weight that is not alive is never kept;
    if fewer than the budget are alive, all of them stay.
    """
    index = _joint_index(matrices, block)
    alive = np.concatenate([matrix.alive.ravel() for matrix in matrices])
    scores = np.concatenate([matrix.scores.ravel() for matrix in matrices])
    sizes = np.bincount(index, alive).astype(np.float64)
    means = np.bincount(index, scores * alive) / np.maximum(sizes, 1)
    kept = _within_budget(means, sizes, round(density * alive.size))[index] & alive
    ends = np.cumsum([matrix.alive.size for matrix in matrices])[:-1]
    return [part.reshape(m.alive.shape) for part, m in zip(np.split(kept, ends), matrices, strict=True)]


def _joint_index(matrices: Sequence[Matrix], block: Block) -> NDArray[np.int64]:
    parts, start = [], 0
    for matrix in matrices:
        rows, cols = matrix.alive.shape
        part = block_index((rows, cols), matrix.order, block).ravel() + start
        start = int(part.max()) + 1
        parts.append(part)
    return np.concatenate(parts)


def _within_budget(means: FloatArray, sizes: FloatArray, budget: int) -> BoolArray:
    """The best blocks whose sizes add up to the budget; the last one where that comes closer to it."""
    order = np.argsort(-means, kind="stable")
    order = order[sizes[order] > 0]
    total = np.cumsum(sizes[order])
    count = int(np.searchsorted(total, budget, side="right"))
    if count < len(order) and 2 * (total[count] - budget) < sizes[order[count]]:
        count += 1
    kept = np.zeros(len(means), np.bool_)
    kept[order[:count]] = True
    return kept
