"""An integer value of the QModel."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.ops import Dtype

IntArray = NDArray[np.int64]
Bits = Literal[8, 16, 32]


@dataclass(frozen=True)
class QValue:
    """An integer value: per-step shape, storage bits, and the real size of one unit."""

    name: str
    shape: tuple[int, ...]
    bits: Bits
    scale: float
    dtype: Dtype = "float"
    """A `token` is an integer without a scale: a class, a character; its scale is 1."""
    zero_point: int = 0
    """real = (stored - zero_point) * scale; only what comes from an already quantized source has one."""

    @property
    def size(self) -> int:
        """Number of elements in one step."""
        return int(np.prod(self.shape, dtype=np.int64))
