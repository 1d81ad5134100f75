"""How much each weight matters: one function a criterion, weights -> scores of the same shape."""

from collections.abc import Callable

import numpy as np

from stepcell.ir.model import FloatArray

Criterion = Callable[[FloatArray], FloatArray]


def magnitude(weights: FloatArray) -> FloatArray:
    """|w|."""
    return np.abs(weights)
