"""Rows in the order of a kernel."""

import numpy as np

from stepcell.ir.qmodel import IntArray


def permute(array: IntArray, order: IntArray, padding: int = 0) -> IntArray:
    """array[order] along the first axis, `padding` where order is -1."""
    taken = array[np.maximum(order, 0)]
    return np.where((order >= 0).reshape(-1, *[1] * (array.ndim - 1)), taken, padding)
