"""From scores to what is kept: whole blocks, within a budget of weights for each set of blocks.

What shares a budget: everything ("global"), a matrix, or a group of rows that a kernel computes at once
("rows": every group then takes equally long); within that, gates with densities of their own; and in N:M
every M vectors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stepcell.compress.pattern import InVectors, Pattern, Units, block_index, parse_pattern, stored_block
from stepcell.errors import StepcellError
from stepcell.ir.model import Block, BoolArray, FloatArray
from stepcell.ir.row_order import Order

Scope = Literal["global", "matrix", "rows"]
DEFAULT_PATTERN = Block(4, 2)
DEFAULT_FRACTION = 0.8


@dataclass(frozen=True)
class Budget:
    """How much is kept, of what. density: 0-1; gates: densities of gates by letter, others keep `density`."""

    density: float
    pattern: Pattern
    scope: Scope = "global"
    gates: Mapping[str, float] | None = None
    keep_diagonal: bool = False


@dataclass(frozen=True, eq=False)
class Matrix:
    """A matrix [rows, cols]: its scores, the order of its rows, which weights are alive and which must stay.

    `gates` are the letters of the gates whose rows follow each other.
    """

    scores: FloatArray
    order: Order
    alive: BoolArray
    fixed: BoolArray
    gates: tuple[str, ...] = ("all",)


@dataclass(frozen=True, eq=False)
class _Blocks:
    """Of every block: the mean score, what it takes from its budget, its budget's number, and the budgets."""

    means: FloatArray
    costs: FloatArray
    owner: NDArray[np.int64]
    budgets: FloatArray


def budget_of(
    fraction: float | None,
    pattern: str | Pattern | Units,
    scope: Scope = "global",
    gates: Mapping[str, float] | None = None,
    keep_diagonal: bool = False,
) -> Budget:
    """What `prune` takes, as a Budget. fraction: what is removed, 0.8 by default; N:M says it itself.

    Raises StepcellError for fractions that are none or are not the pattern's, and for units.
    """
    pattern = parse_pattern(pattern) if isinstance(pattern, str) else pattern
    if pattern == "units":
        raise StepcellError(
            "pruning: 'units' are removed, not masked.", "use remove_units, or another pattern."
        )
    removed = _removed(fraction, pattern)
    if not 0.0 <= removed < 1.0:
        raise StepcellError(
            f"pruning: the fraction {removed} is no removed fraction.",
            "it lies from 0 to below 1; 0.75 removes three quarters.",
        )
    for gate, kept in (gates or {}).items():
        if not 0.0 < kept <= 1.0:
            raise StepcellError(
                f"pruning: gate '{gate}' keeps {kept}, which is no kept fraction.", "0.05 keeps a twentieth."
            )
    return Budget(round(1.0 - removed, 12), pattern, scope, gates, keep_diagonal)


def _removed(fraction: float | None, pattern: Pattern) -> float:
    """The fraction, which an N:M pattern says itself."""
    if not isinstance(pattern, InVectors):
        return DEFAULT_FRACTION if fraction is None else fraction
    own = 1.0 - pattern.kept / pattern.of
    if fraction is not None and abs(fraction - own) > 1e-6:
        raise StepcellError(
            f"pruning: {pattern} removes {own:.4g} of the weights, not {fraction:.4g}.",
            "leave the fraction out, or choose another pattern.",
        )
    return own


def keep_masks(matrices: Sequence[Matrix], budget: Budget) -> list[BoolArray]:
    """Keep the blocks with the highest mean score of each budget, to within half a block.

    A weight that is not alive is never kept; if fewer than the budget are alive, all of them stay. The
    diagonal comes first. Raises StepcellError where it alone is more than the budget, and where gates that
    share blocks were given different densities.
    """
    index, bands, windows, number = _joint_index(matrices, budget.pattern)
    alive = np.concatenate([m.alive.ravel() for m in matrices])
    fixed = np.concatenate([(m.fixed & m.alive).ravel() for m in matrices])
    scores = np.concatenate([m.scores.ravel() for m in matrices])
    sizes = np.bincount(index, alive).astype(np.float64)
    means = np.bincount(index, scores * alive) / np.maximum(sizes, 1)
    means[index[fixed]] = np.inf
    blocks = _with_budgets(matrices, budget, index, means, sizes, (bands, windows, number))
    kept = _within(blocks)
    if not kept[index[fixed]].all():
        raise StepcellError(
            f"pruning: the diagonals alone are more than the {budget.density:.3g} that is kept.",
            "keep more, leave keep_diagonal out, or use smaller blocks.",
        )
    ends = np.cumsum([m.alive.size for m in matrices])[:-1]
    flat = kept[index] & alive
    return [part.reshape(m.alive.shape) for part, m in zip(np.split(flat, ends), matrices, strict=True)]


def _joint_index(
    matrices: Sequence[Matrix], pattern: Pattern
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Of every weight: its block; of every block: its row group, its M vectors, its matrix."""
    block, of = stored_block(pattern), pattern.of if isinstance(pattern, InVectors) else 1
    index, bands, windows, number = [], [], [], []
    blocks = groups = places = 0
    for at, matrix in enumerate(matrices):
        rows, cols = matrix.alive.shape
        own = block_index((rows, cols), matrix.order, block)
        per_band = -(-cols // block.cols)
        each = np.arange(int(own.max()) + 1)
        per_window = -(-per_band // of)
        index.append(own.ravel() + blocks)
        bands.append(each // per_band + groups)
        windows.append(each // per_band * per_window + each % per_band // of + places)
        number.append(np.full(len(each), at))
        blocks, groups = blocks + len(each), int(bands[-1][-1]) + 1
        places = int(windows[-1][-1]) + 1
    return np.concatenate(index), np.concatenate(bands), np.concatenate(windows), np.concatenate(number)


def _with_budgets(
    matrices: Sequence[Matrix],
    budget: Budget,
    index: NDArray[np.int64],
    means: FloatArray,
    sizes: FloatArray,
    places: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
) -> _Blocks:
    bands, windows, number = places
    if isinstance(budget.pattern, InVectors):
        kept = max(budget.pattern.kept, int(np.ceil(budget.density * budget.pattern.of - 1e-9)))
        owner = np.unique(windows, return_inverse=True)[1]
        costs = (sizes > 0).astype(np.float64)
        return _Blocks(means, costs, owner, np.full(int(owner.max()) + 1, float(kept)))
    gates, densities = _gates(matrices, budget, index)
    scope = {"global": np.zeros_like(number), "matrix": number, "rows": bands}[budget.scope]
    owner = np.unique(scope * (int(gates.max()) + 1) + gates, return_inverse=True)[1]
    weights = np.bincount(index).astype(np.float64)
    return _Blocks(means, sizes, owner, np.rint(np.bincount(owner, weights * densities)))


def _gates(
    matrices: Sequence[Matrix], budget: Budget, index: NDArray[np.int64]
) -> tuple[NDArray[np.int64], FloatArray]:
    """Of every block: which gates it holds rows of, as a set of bits, and the density of those gates."""
    count = int(index.max()) + 1
    given = budget.gates or {}
    if not given:
        return np.zeros(count, np.int64), np.full(count, budget.density)
    known = list(dict.fromkeys(gate for m in matrices for gate in m.gates))
    unknown = [gate for gate in given if gate not in known]
    if unknown:
        raise StepcellError(
            f"pruning: no matrix has a gate '{unknown[0]}'.", f"these have {', '.join(known)}."
        )
    bits, lowest, highest = np.zeros(count, np.int64), np.ones(count), np.zeros(count)
    start = 0
    for matrix in matrices:
        rows, cols = matrix.alive.shape
        names = np.repeat(matrix.gates, rows // len(matrix.gates) * cols)
        own = index[start : start + rows * cols]
        for gate in matrix.gates:
            at, density = own[names == gate], given.get(gate, budget.density)
            bits[at] |= 1 << known.index(gate)
            lowest[at], highest[at] = np.minimum(lowest[at], density), np.maximum(highest[at], density)
        start += rows * cols
    mixed = np.flatnonzero(lowest < highest)
    if len(mixed):
        shared = ", ".join(gate for at, gate in enumerate(known) if bits[mixed[0]] >> at & 1)
        raise StepcellError(
            f"pruning: blocks of {stored_block(budget.pattern)} hold rows of the gates {shared}, which were "
            "given different densities.",
            "give those gates one density, or use a pattern of one row.",
        )
    return bits, lowest


def _within(blocks: _Blocks) -> BoolArray:
    """The best blocks of each budget; the last one where that comes closer to the budget than without it."""
    order = np.lexsort((-blocks.means, blocks.owner))
    order = order[blocks.costs[order] > 0]
    costs, owner = blocks.costs[order], blocks.owner[order]
    total = np.cumsum(costs)
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    spent_before = np.zeros(len(blocks.budgets))
    spent_before[owner[first]] = total[first] - costs[first]
    over = total - spent_before[owner] - blocks.budgets[owner]
    kept = np.zeros(len(blocks.means), np.bool_)
    kept[order[(over <= 0) | (2 * over < costs)]] = True
    return kept
