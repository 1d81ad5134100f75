"""Dense or sparse: the choice of a storage format, and so of a kernel, for each matrix."""

from collections.abc import Mapping
from dataclasses import dataclass

from stepcell.ir.qmodel import IntArray
from stepcell.lower.pack import ROWS, block_map, fits_blocks
from stepcell.target.model import Costs


@dataclass(frozen=True)
class Format:
    """`width` columns a block, or None for dense, and why."""

    width: int | None
    instructions: int
    bytes: int
    why: str

    @property
    def kernel(self) -> str:
        """The format's part of a kernel's name."""
        return "dense" if self.width is None else f"{ROWS}x{self.width}"


def choose_format(weights: IntArray, input_bits: int, costs: Costs) -> Format:
    """The fastest format for rows in kernel order [4 * groups, cols] that is no bigger than dense.

    Instructions come from the core's measured costs: an affine function of row groups and blocks. A sparse
    kernel that was not measured is no candidate.
    """
    groups, cols = weights.shape[0] // ROWS, weights.shape[1]
    dense_cost = costs[f"sc_matvec_dense_s{input_bits}"]
    dense = Format(None, _instructions(dense_cost, groups, groups * cols), 4 * groups * cols, "")
    candidates = [dense]
    for width in (1, 2):
        cost = costs.get(f"sc_matvec_{ROWS}x{width}_s{input_bits}")
        if cost is not None and fits_blocks(weights, width):
            blocks = int(block_map(weights, width).sum())
            count = _instructions(cost, groups, blocks)
            candidates.append(Format(width, count, blocks * (4 * width + 1) + groups, ""))
    best = min((f for f in candidates if f.bytes <= dense.bytes), key=lambda f: (f.instructions, f.bytes))
    why = (
        f"{best.kernel}: {best.instructions} instructions, {best.bytes} bytes "
        f"(dense: {dense.instructions}, {dense.bytes})"
    )
    return Format(best.width, best.instructions, best.bytes, why)


def _instructions(cost: Mapping[str, float], groups: int, items: int) -> int:
    return round(cost["group"] * groups + cost["item"] * items)
