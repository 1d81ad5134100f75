"""What a function reads of a memory that another function fills: affine maps of its rows."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepcell.importers.lift.axes import Axes
from stepcell.importers.lift.context import Lifted, Tensor, tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class Rows(Tensor):
    """What a function reads of a memory that another one fills: element i is matrix[i] . row + offset[i].

    An affine map of keys becomes one of the query (what it adds to all scores alike changes no weight), and
    an affine map of values one of their mean, whose weights sum to 1: neither is computed for every row.
    """

    memory: str
    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]


def readable(operand: Lifted | None) -> Tensor:
    """The operand as data, or as rows of a memory."""
    return operand if isinstance(operand, Rows) else tensor(operand)


def projected(x: Rows, weights: NDArray[Any]) -> Rows:
    """The rows times a constant matrix [outputs, inputs], along the last axis."""
    elements = x.table.reshape(-1, x.table.shape[-1])
    matrix = np.concatenate([weights @ x.matrix[found] for found in elements])
    offset = np.concatenate([weights @ x.offset[found] for found in elements])
    shape = (*x.table.shape[:-1], len(weights))
    axes: Axes = (*x.axes[:-1], (len(weights),))
    table = np.arange(len(matrix)).reshape(shape)
    return replace(
        x, table=table, axes=axes, matrix=matrix.astype(np.float64), offset=offset.astype(np.float64)
    )


def adjusted(x: Rows, operator: str, numbers: NDArray[Any]) -> Rows:
    """The rows plus, minus or times constants that have the table's shape."""
    matrix, offset = x.matrix[x.table.ravel()], x.offset[x.table.ravel()]
    constant = numbers.astype(np.float64).ravel()
    if operator == "mul":
        matrix, offset = matrix * constant[:, None], offset * constant
    else:
        offset = offset + (constant if operator == "add" else -constant)
    return replace(x, table=np.arange(x.table.size).reshape(x.table.shape), matrix=matrix, offset=offset)
