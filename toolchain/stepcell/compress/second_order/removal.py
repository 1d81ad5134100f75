"""Exact optimal brain surgeon over every row of a layer: what it costs to remove each block, in greedy order.

The error of a row is (w' - w) H (w' - w), H its Hessian. With G = H^-1, removing the weights B of a row and
moving all others to where the error is least costs w_B (G_BB)^-1 w_B, and leaves w - G_:B (G_BB)^-1 w_B with
the inverse G - G_:B (G_BB)^-1 G_B: (Hassibi and Stork 1993, "Second order derivatives for network pruning";
Frantar and Alistarh 2022, "Optimal brain compression", arXiv 2208.11580). A block's rows lose together.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepcell.compress.second_order.samples import Floats, Samples
from stepcell.ir.model import BoolArray, FloatArray

Indices = NDArray[np.int64]
DAMPING = 0.01
"""Of a row's mean second moment, added to each: inputs that never occur must not take up any error."""
_PENDING = 32
"""Removals after which the inverses are brought up to date: one product of matrices for 32 outer ones."""
_BATCH_BYTES = 1 << 27
"""Of the inverses that are worked on at once."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """How rows and columns of [W R b] fall into blocks; -1 is padding where a block is cut off by an edge."""

    bands: Indices
    """[bands, rows of a block]"""
    columns: Indices
    """[blocks of a band, columns of a block]; the bias and matrices that are not pruned are in none."""


def removal_scores(
    samples: Samples,
    weights: FloatArray,
    alive: BoolArray,
    blocks: Blocks,
    on_progress: Callable[[int, int], None] | None = None,
) -> FloatArray:
    """Scores [rows, n] of a layer's weights: the error a block adds, per weight, when it is its turn to go.

    Within a band they rise in the order of removal, so that any threshold cuts it there. Weights outside of
    all blocks score 0.
    """
    damping = dampings(samples)
    n = weights.shape[1]
    scores = np.zeros_like(weights)
    columns = np.where(blocks.columns < 0, n, blocks.columns)
    size = max(1, _BATCH_BYTES // (8 * blocks.bands.shape[1] * (n + 1) ** 2))
    for first in range(0, len(blocks.bands), size):
        bands = blocks.bands[first : first + size]
        batch = _Batch(samples, weights, alive, damping, bands, columns)
        _place(scores, bands, columns, batch.remove_all())
        if on_progress is not None:
            on_progress(min(first + size, len(blocks.bands)), len(blocks.bands))
    return scores


def dampings(samples: Samples) -> FloatArray:
    """What is added to the diagonal of each row's Hessian, [rows]; never 0."""
    means = samples.mean_squares().mean(axis=1).astype(np.float64)
    largest = float(means.max(initial=0.0))
    return np.asarray(DAMPING * means + (1e-12 * largest if largest > 0.0 else 1.0))


def hessian(samples: Samples, row: int, columns: BoolArray | None = None) -> tuple[FloatArray, Floats]:
    """(sum of s v v' over the samples, without damping; sqrt(s) v [n, S]) of one row, or of some columns."""
    u = samples.part(row).operand(row, np.sqrt(samples.importance[row]), columns)
    return (u @ u.T).astype(np.float64), u


def _place(scores: FloatArray, bands: Indices, columns: Indices, losses: FloatArray) -> None:
    """losses [bands, blocks] to every weight of a block; columns beyond the layer's are padding."""
    inside = columns < scores.shape[1]
    for (band, _), row in _real(bands):
        scores[row, columns[inside]] = np.broadcast_to(losses[band][:, None], columns.shape)[inside]


class _Batch:
    """Some bands, block by block, all at once. One column more than the layer has stands for padding.

    What was pruned before, and padding, is weight 0 with an inverse of 1: it neither loses nor moves.
    """

    def __init__(
        self,
        samples: Samples,
        weights: FloatArray,
        alive: BoolArray,
        damping: FloatArray,
        bands: Indices,
        columns: Indices,
    ) -> None:
        self._bands, self._columns = bands, columns
        count, rows, n = *bands.shape, weights.shape[1] + 1
        self._w = np.zeros((count, rows, n))
        self._inverse = np.zeros((count, rows, n, n))
        self._here = np.zeros((count, rows, n), np.bool_)
        for at, row in _real(bands):
            keep = np.append(alive[row], [False])
            self._here[at] = keep
            self._w[at] = np.where(keep, np.append(weights[row], 0.0), 0.0)
            self._inverse[at] = _inverse(hessian(samples, row)[0], keep, damping[row])
        self._inverse[bands < 0] = np.eye(n)
        self._pending = np.zeros((count, rows, _PENDING, n))
        self._waiting = 0
        self._own = self._diagonal_blocks()

    def remove_all(self) -> FloatArray:
        """The scores [bands, blocks], by greedy removal of everything."""
        sizes = self._here[:, :, self._columns].sum(axis=(1, 3))
        is_open, scores = sizes > 0, np.zeros(sizes.shape)
        every, highest = np.arange(len(sizes)), np.zeros(len(sizes))
        while is_open.any():
            losses = np.where(is_open, self._losses() / np.maximum(sizes, 1), np.inf)
            chosen = losses.argmin(axis=1)
            is_active = is_open[every, chosen]
            # A little more each time: blocks that cost the same must not lose their order.
            highest = np.where(is_active, np.maximum(losses.min(axis=1), highest * (1.0 + 1e-9)), highest)
            scores[every, chosen] = np.where(is_active, highest, scores[every, chosen])
            is_open[every, chosen] = False
            for column in self._columns[chosen].T:
                self._eliminate(column, is_active)
            self._own[every, :, chosen] = np.eye(self._columns.shape[1])
            self._w[every[:, None], :, self._columns[chosen]] = 0.0
        return scores

    def _losses(self) -> FloatArray:
        """[bands, blocks]: w_B (G_BB)^-1 w_B summed over the rows, by elimination within every block."""
        y, a = self._w[:, :, self._columns], self._own.copy()
        total = np.zeros(y.shape[:3])
        for k in range(y.shape[3]):
            pivot = a[..., k, k]
            total += y[..., k] ** 2 / pivot
            factors = a[..., k + 1 :, k] / pivot[..., None]
            y[..., k + 1 :] -= factors * y[..., k, None]
            a[..., k + 1 :, k + 1 :] -= factors[..., :, None] * a[..., k, None, k + 1 :]
        return np.asarray(total.sum(axis=1))

    def _eliminate(self, column: Indices, is_active: BoolArray) -> None:
        """Take column[band] out of every band: u = G_:j / sqrt(G_jj), w -= w_j / G_jj G_:j, G -= u u'."""
        count, rows, n = self._w.shape
        band, row, at = np.arange(count)[:, None], np.arange(rows), column[:, None]
        g = self._inverse[band, row, at]
        if self._waiting:
            before = self._pending[:, :, : self._waiting]
            g = g - (before[band, row, :, at][:, :, None] @ before)[:, :, 0]
        moves = (is_active & (column < n - 1))[:, None]
        root = np.sqrt(np.where(moves, g[band, row, at], 1.0))
        u = np.where(moves[..., None], g / root[..., None], 0.0)
        self._w -= (self._w[band, row, at] / root)[..., None] * u
        own = u[:, :, self._columns]
        self._own -= own[..., :, None] * own[..., None, :]
        self._pending[:, :, self._waiting] = u
        self._waiting += 1
        if self._waiting == _PENDING:
            self._inverse -= self._pending.swapaxes(-1, -2) @ self._pending
            self._waiting = 0

    def _diagonal_blocks(self) -> FloatArray:
        """G_BB of every block, [bands, rows, blocks, columns, columns]; of padding, 1."""
        own = self._inverse[:, :, self._columns[:, :, None], self._columns[:, None, :]]
        is_padding = self._columns == self._inverse.shape[-1] - 1
        either = is_padding[:, :, None] | is_padding[:, None, :]
        return np.where(either, np.eye(self._columns.shape[1]), own)


def _inverse(h: FloatArray, keep: BoolArray, damping: float) -> FloatArray:
    """(H + damping)^-1 of the columns that are kept, 1 for the others; H lacks the last column of `keep`."""
    n = len(keep)
    found = np.eye(n)
    at = np.ix_(keep, keep)
    found[at] = np.linalg.inv(h[np.ix_(keep[:-1], keep[:-1])] + damping * np.eye(int(keep.sum())))
    return found


def _real(bands: Indices) -> Iterator[tuple[tuple[int, int], int]]:
    """((band, place in it), row) without padding."""
    for band, place in zip(*np.nonzero(bands >= 0), strict=True):
        yield (int(band), int(place)), int(bands[band, place])
