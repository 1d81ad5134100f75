"""Layers over windows: what each position reads, then the sums and their requantization."""

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.qmodel import IntArray, QConv, QTake
from stepcell.ir.window import window_indices
from stepcell.reference.arithmetic import view8
from stepcell.reference.integer_ops import requantized


def conv(op: QConv, x: IntArray) -> IntArray:
    """x [N, ...] -> y [N, *op.y.shape]."""
    seen = view8(x) if op.matrix.reads_view else x
    read = picked(seen.reshape(len(x), -1), window_indices(op.window))
    if op.depthwise:
        sums = (read * op.matrix.weights.T).sum(axis=2)
    else:
        flat = read.reshape(*read.shape[:2], -1)
        sums = (flat.astype(np.float64) @ op.matrix.weights.T.astype(np.float64)).astype(np.int64)
    y = requantized(op.requant, sums + op.bias)
    return np.asarray((np.maximum(y, 0) if op.relu else y).reshape(-1, *op.y.shape))


def picked(x: IntArray, indices: NDArray[np.int64]) -> IntArray:
    """x [N, size] -> [N, *indices.shape]: the elements at the indices, zero at -1."""
    return np.asarray(np.where(indices < 0, 0, x[:, np.maximum(indices, 0)]))


def take(op: QTake, x: IntArray) -> IntArray:
    """x [N, ...] -> y [N, *op.y.shape]."""
    return picked(x.reshape(len(x), -1), np.array(op.indices)).reshape(-1, *op.y.shape)
