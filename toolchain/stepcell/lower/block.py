"""What the cost table of a core says about blocks: which to prune, and from which density on they pay."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from stepcell.ir.model import Block
from stepcell.ir.qmodel import IntArray
from stepcell.lower.formats import instructions_of
from stepcell.lower.kernels import Kernel, Packed, kernels_of
from stepcell.target.model import Core

ROWS, COLS = 512, 128
"""The matrix that blocks are compared on: the recurrent matrix of an LSTM with 128 units."""
DENSITY = 0.25
TOLERANCE = 1.1
"""Small blocks keep more of a network's accuracy: a larger one has to be this much faster to be preferred."""


@dataclass(frozen=True)
class BreakEven:
    """Below which kept fraction of a 512 x 128 matrix a kernel is faster, and its tables smaller, than dense.

    Dense is the fastest kernel that stores a byte a weight; the blocks lie anywhere, so that padding is paid.
    """

    kernel: str
    format: str
    faster_below: float
    smaller_below: float


def preferred_block(core: Core) -> Block:
    """The smallest block whose kernel is about as fast as the fastest one of the core at density 0.25."""
    costs = {block_of(k): _instructions(core, k, DENSITY) for k in reversed(_by_speed(core))}
    fastest = min(costs.values())
    blocks = [block for block, cost in costs.items() if cost <= TOLERANCE * fastest]
    return min(blocks, key=lambda block: (block.rows * block.cols, block.cols))


def break_even(core: Core) -> tuple[BreakEven, ...]:
    """Of every sparse kernel of the core for 8-bit inputs, the fastest first."""
    plain = [k for k in _measured(core) if k.format == "dense" and _pack(k, 1.0).bytes <= ROWS * COLS]
    dense = min(_instructions(core, kernel, 1.0) for kernel in plain)
    return tuple(
        BreakEven(
            kernel.name,
            kernel.format,
            _crossing(_instructions(core, kernel, 0.0), _instructions(core, kernel, 0.5), dense),
            _crossing(_pack(kernel, 0.0).bytes, _pack(kernel, 0.5).bytes, ROWS * COLS),
        )
        for kernel in _by_speed(core)
    )


def block_of(kernel: Kernel) -> Block:
    """Rows and columns of a sparse kernel's format."""
    rows, _, cols = kernel.format.partition("x")
    return Block(int(rows), int(cols))


def _crossing(at_none: float, at_half: float, limit: float) -> float:
    """Where a line through (0, at_none) and (0.5, at_half) reaches `limit`, at most 1."""
    return float(np.clip((limit - at_none) / (2 * (at_half - at_none)), 0.0, 1.0))


def _measured(core: Core) -> list[Kernel]:
    return [k for k in kernels_of(core) if k.input_bits == 8 and k.weight_limit > 7 and k.name in core.costs]


def _by_speed(core: Core) -> list[Kernel]:
    sparse = [kernel for kernel in _measured(core) if "x" in kernel.format]
    return sorted(sparse, key=lambda kernel: _instructions(core, kernel, DENSITY))


def _instructions(core: Core, kernel: Kernel, density: float) -> int:
    return instructions_of(kernel, core.costs[kernel.name], ROWS, _pack(kernel, density).items)


@cache
def _pack(kernel: Kernel, density: float) -> Packed:
    block = block_of(kernel) if "x" in kernel.format else Block(1, 1)
    return kernel.pack(_example(block, density), np.zeros(ROWS, np.int64))


def _example(block: Block, density: float) -> IntArray:
    """Blocks of ones anywhere, exactly `density` of them."""
    shape = (ROWS // block.rows, -(-COLS // block.cols))
    kept = np.random.default_rng(0).permutation(shape[0] * shape[1]).reshape(shape)
    present = kept < density * kept.size
    return np.kron(present, np.ones((block.rows, block.cols), np.int64))[:, :COLS].astype(np.int64)
