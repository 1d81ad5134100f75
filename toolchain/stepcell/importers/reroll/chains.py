"""Chains of cells: the same cell again and again, each starting at what the one before left."""

from dataclasses import dataclass

import numpy as np

from stepcell.importers.reroll.algebra import Algebra, Atom, TooComplex, Vector
from stepcell.importers.reroll.build import columns, input_weights
from stepcell.importers.reroll.cells import Cell, Matcher
from stepcell.importers.reroll.trace import Indices, is_whole
from stepcell.ir.ops import Activate, Binary

FEWEST = 3
"""Steps: the first is often folded together, and two are needed to compare."""


@dataclass(frozen=True, eq=False)
class Chain:
    """What each step leaves as h (and c), the cells of all steps but the first, and what they read as x."""

    h: tuple[Vector, ...]
    c: tuple[Vector, ...]
    cells: tuple[Cell, ...]
    x: tuple[tuple[tuple[str, Indices], ...], ...]
    """of every step, the first one's by extrapolation: (value, its elements), as the columns of W"""


def chains(algebra: Algebra, inputs: set[str]) -> list[Chain]:
    """Every chain of at least FEWEST steps."""
    found: dict[Atom, Cell] = {}
    after: dict[Atom, Vector] = {}
    for op in algebra.trace.ops:
        if isinstance(op, Binary | Activate):
            vector = Vector(op.y.name, np.arange(op.y.size))
            cell = _cell(algebra, vector, inputs)
            if cell is not None:
                found[vector.key] = cell
                after[vector.key] = vector
    following = {cell.h.key: key for key, cell in found.items()}
    starts = [cell.h for cell in found.values() if cell.h.key not in found]
    return [chain for start in starts if (chain := _chain(start, following, found, after)) is not None]


def _cell(algebra: Algebra, vector: Vector, inputs: set[str]) -> Cell | None:
    """The cell that computes this value, from whichever earlier value it is."""
    try:
        polynomial = algebra.polynomial(vector.value, vector.at)
    except TooComplex:
        return None
    if len(polynomial) > 3 or any(len(product) > 2 for product in polynomial):
        return None
    cells: dict[Atom, Vector] = {}
    starts: dict[Atom, Vector] = {}
    for atom in dict.fromkeys(atom for product in polynomial for atom in product):
        found = algebra.vector(atom)
        op = algebra.trace.producer.get(found.value)
        if not isinstance(op, Activate):
            starts[atom] = found
            continue
        inner = algebra.settled(op.x, found.at)
        if inner is not None:
            cells |= _cell_states(algebra, inner)
        starts |= _leaves(algebra, Vector(op.x, found.at))
    for start in starts.values():
        if start.value in inputs or len(start.at) != len(vector.at):
            continue
        if is_whole(start.at, algebra.trace.values[start.value].size):
            cell = Matcher(algebra).cell(vector, start, cells)
            if cell is not None and any(half.over_x.terms for half in cell.halves):
                return cell
    return None


def _cell_states(algebra: Algebra, after: Vector) -> dict[Atom, Vector]:
    """States c of which `after` could be the next one: factors that are no activations."""
    try:
        polynomial = algebra.polynomial(after.value, after.at)
    except TooComplex:
        return {}
    atoms = {atom for product in polynomial if len(product) == 2 for atom in product}
    producers = {atom: algebra.trace.producer.get(algebra.vector(atom).value) for atom in atoms}
    return {atom: after for atom, op in producers.items() if not isinstance(op, Activate)}


def _leaves(algebra: Algebra, vector: Vector) -> dict[Atom, Vector]:
    """The values that a pre-activation is linear in."""
    try:
        names = algebra.linear(vector.value, vector.at).terms
    except TooComplex:
        return {}
    found = [Vector(name, np.arange(algebra.trace.values[name].size)) for name in names]
    algebra.vectors.update({vector.key: vector for vector in found})
    return {vector.key: vector for vector in found}


def _chain(
    start: Vector, following: dict[Atom, Atom], found: dict[Atom, Cell], after: dict[Atom, Vector]
) -> Chain | None:
    h: list[Vector] = [start]
    cells: list[Cell] = []
    while h[-1].key in following and len(cells) < 4096:
        key = following[h[-1].key]
        cells.append(found[key])
        h.append(after[key])
    if len(h) < FEWEST or any(not _same(cells[0], cell) for cell in cells[1:]):
        return None
    c: list[Vector] = []
    if cells[0].c is not None:
        c = [cells[0].c, *(cell.c_next for cell in cells if cell.c_next is not None)]
        if any(cell.c is None or cell.c.key != c[k].key for k, cell in enumerate(cells)):
            return None
    x = [columns(cell) for cell in cells]
    first = _before(x[0], x[1])
    return None if first is None else Chain(tuple(h), tuple(c), tuple(cells), (first, *x))


def _before(
    second: tuple[tuple[str, Indices], ...], third: tuple[tuple[str, Indices], ...]
) -> tuple[tuple[str, Indices], ...] | None:
    """The first step's x where each part moves on in one value; other parts are the builder's to find."""
    first = []
    for (name, at), (other, later) in zip(second, third, strict=False):
        if name == other and len(at) == len(later):
            earlier = 2 * at - later
            if (earlier < 0).any():
                return None
            first.append((name, earlier))
        else:
            first.append(("", at))
    return tuple(first)


def _same(a: Cell, b: Cell) -> bool:
    """Whether two cells are one: the same matrices, biases and activations."""
    if a.kind != b.kind or a.gates != b.gates or len(columns(a)) != len(columns(b)):
        return False
    halves = zip(a.halves, b.halves, strict=True)
    same = all(
        np.array_equal(p.over_h, q.over_h) and np.allclose(p.over_x.bias, q.over_x.bias, atol=1e-12)
        for p, q in halves
    )
    if not same or not np.array_equal(input_weights(a, columns(a)), input_weights(b, columns(b))):
        return False
    inner = (a.inner_bias, b.inner_bias)
    return (inner[0] is None) == (inner[1] is None) and (inner[0] is None or np.allclose(*inner))  # type: ignore[arg-type]
