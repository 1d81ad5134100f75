"""What is pruned at once: blocks that a kernel stores together, and N of M of them.

A block is `rows` rows that a kernel stores together, in the order in which it computes them
(ir/row_order.py), times `cols` consecutive columns: for an LSTM four rows are the gates of one unit. Where
rows or columns are no multiple of the block, its last block is smaller.
"""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stepcell.errors import StepcellError
from stepcell.ir.model import Block
from stepcell.ir.row_order import Order

VECTOR = Block(4, 1)
"""What N:M is N of M of: the smallest block that kernels of every core run without an index a weight."""


@dataclass(frozen=True)
class InVectors:
    """`kept` of every `of` consecutive 4x1 vectors of a row group; stored and run as 4x1 blocks."""

    kept: int
    of: int

    def __str__(self) -> str:
        return f"{self.kept}:{self.of}"


Pattern = Block | InVectors
Units = Literal["units"]


def parse_pattern(text: str) -> Pattern | Units:
    """`unstructured`, `4x2`, `2:4` or `units` (whole hidden units: compress/units.py).

    Raises StepcellError for anything else.
    """
    if text == "units":
        return "units"
    if text == "unstructured":
        return Block(1, 1)
    found = re.fullmatch(r"(\d+)([x:])(\d+)", text)
    if found is not None:
        a, b = int(found[1]), int(found[3])
        if found[2] == "x" and a >= 1 and b >= 1:
            return Block(a, b)
        if found[2] == ":" and 1 <= a < b:
            return InVectors(a, b)
    raise StepcellError(
        f"pruning: '{text}' is no pattern.", "there are unstructured, ROWSxCOLS (4x2), N:M (2:4) and units."
    )


def stored_block(pattern: Pattern) -> Block:
    """The block that kernels store: N:M is a rule about where 4x1 blocks are."""
    return VECTOR if isinstance(pattern, InVectors) else pattern


def block_index(shape: tuple[int, int], order: Order, block: Block) -> NDArray[np.int64]:
    """The number of the block that each weight of a matrix lies in, its rows counted in `order`."""
    rows, cols = shape
    position = np.empty(rows, np.int64)
    position[order[order >= 0]] = np.flatnonzero(order >= 0)
    blocks_per_band = -(-cols // block.cols)
    return np.asarray((position // block.rows)[:, None] * blocks_per_band + np.arange(cols) // block.cols)
