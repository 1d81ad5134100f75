"""One step of an unrolled network, from what its steps read: which elements of which values, at every step.

`Step.of` finds what has these elements at every step (a frame of the input, a layer's state, or what an
operation makes of such), and raises `Different` where the steps do not compute the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from stepcell.importers.reroll.algebra import Algebra, Vector
from stepcell.importers.reroll.chains import Chain
from stepcell.importers.reroll.trace import Indices, Trace, is_whole
from stepcell.ir import Model
from stepcell.ir.model import FloatArray
from stepcell.ir.ops import (
    Activate,
    Binary,
    Concat,
    Constant,
    Dense,
    Normalize,
    Op,
    Reduce,
    Take,
    Value,
)

Places = tuple[tuple[str, Indices], ...]
"""(value, its elements) at every step"""


class Different(Exception):
    """The steps do not compute the same."""


@dataclass(eq=False)
class Step:
    """The step that is being built: its operations, and which values of the sequence are its values."""

    whole: Model
    trace: Trace
    chains: list[Chain]
    steps: int
    ops: list[Op] = field(default_factory=list)
    weights: dict[str, FloatArray] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    axes: dict[str, int] = field(default_factory=dict)
    """input -> its time axis"""
    made: dict[tuple[tuple[str, bytes], ...], str] = field(default_factory=dict)
    ends: list[Op] = field(default_factory=list)
    at_end: bool = False

    def emit(self, op: Op, y: Value) -> str:
        """Append an operation to the step, or to what follows the last one; the name of its result."""
        (self.ends if self.at_end else self.ops).append(op)
        self.values[y.name] = y
        return y.name

    def fresh(self, shape: tuple[int, ...]) -> Value:
        """A value of a name of its own."""
        return Value(f"v{len(self.values) + 1}", shape)

    def joined(self, parts: list[str]) -> str:
        """The values one behind the other."""
        size = sum(self.values[part].size for part in parts)
        y = self.fresh((size,))
        return self.emit(Concat(tuple(parts), y), y)

    def shaped(self, name: str, shape: tuple[int, ...]) -> str:
        """The value in another shape."""
        if self.values[name].shape == shape:
            return name
        y = self.fresh(shape)
        return self.emit(Take(name, y, tuple(range(y.size))), y)

    def of(self, places: Places) -> str:
        """The value of the step that has, at every step, these elements; flat."""
        settled = [self._settled(name, at) for name, at in places]
        if any(len(found) != len(settled[-1]) for found in settled):
            raise Different
        if len(settled[0]) > 1:
            return self._several(settled)
        one = tuple((found[0][0], found[0][2]) for found in settled)
        key = tuple((name, at.tobytes()) for name, at in one)
        if key not in self.made:
            self.made[key] = self._single(one)
        return self.made[key]

    def _settled(self, name: str, at: Indices) -> list[tuple[str, Indices, Indices]]:
        """(value, where in the result, its elements) for every value that the elements come from."""
        if name == "":
            return [("", np.arange(len(at)), at)]
        names, indices = self.trace.origins(name)
        names, indices = names[at], indices[at]
        return [
            (found, np.flatnonzero(names == found), indices[names == found]) for found in dict.fromkeys(names)
        ]

    def _several(self, settled: Sequence[list[tuple[str, Indices, Indices]]]) -> str:
        parts = []
        for p in range(len(settled[0])):
            where = [found[p][1] for found in settled]
            if any(not np.array_equal(where[0], other) for other in where):
                raise Different
            parts.append(self.of(tuple((found[p][0], found[p][2]) for found in settled)))
        order = np.argsort(np.concatenate([part[1] for part in settled[0]]))
        joined = self.joined(parts)
        if is_whole(order, len(order)):
            return joined
        y = self.fresh((len(order),))
        return self.emit(Take(joined, y, tuple(map(int, order))), y)

    def _single(self, places: Places) -> str:
        state = self._of_chain(places)
        if state is not None:
            return state
        names = {name for name, _ in places}
        if len(names) == 1 and next(iter(names)) in {v.name for v in self.whole.main.inputs}:
            return self._of_input(next(iter(names)), [at for _, at in places])
        ops = [self.trace.producer.get(name) for name, _ in places]
        return self._operation(ops, [at for _, at in places])

    def _of_chain(self, places: Places) -> str | None:
        """A layer's state, where that is what every step reads; of the first step it may be unknown."""
        for k, chain in enumerate(self.chains):
            kind = chain.cells[0].kind.lower()
            n = 1 + sum(c.cells[0].kind == chain.cells[0].kind for c in self.chains[:k])
            for letter, vectors in (("h", chain.h), ("c", chain.c)):
                for shift, suffix in ((0, "_next"), (1, "")):
                    if self._matches(places, vectors, shift):
                        value = f"{kind}{n}_{letter}{'' if self.at_end else suffix}"
                        return self.taken(value, places[-1][1])
        return None

    def _matches(self, places: Places, vectors: tuple[Vector, ...], shift: int) -> bool:
        if not vectors:
            return False
        if self.at_end:
            return shift == 0 and places[0][0] == vectors[-1].value
        known = [(t, places[t]) for t in range(self.steps) if places[t][0] != ""]
        return all(
            t >= shift and name == vectors[t - shift].value and np.array_equal(at, places[-1][1])
            for t, (name, at) in known
        )

    def taken(self, value: str, at: Indices) -> str:
        """Some elements of a value."""
        if is_whole(at, self.values[value].size) and self.values[value].shape == at.shape:
            return value
        y = self.fresh(at.shape)
        return self.emit(Take(value, y, tuple(map(int, at))), y)

    def _of_input(self, name: str, at: list[Indices]) -> str:
        """A frame of the input: from step to step the elements differ in one coordinate, the step."""
        if self.at_end:
            raise Different
        value = self.trace.values[name]
        places = [np.array(np.unravel_index(found, value.shape)) for found in at]
        for axis, size in enumerate(value.shape):
            rest = [np.delete(place, axis, 0) for place in places]
            moves = all((place[axis] == t).all() for t, place in enumerate(places))
            if size != self.steps or not moves or any(not np.array_equal(rest[0], r) for r in rest):
                continue
            if self.axes.setdefault(name, axis) != axis:
                raise Different
            shape = value.shape[:axis] + value.shape[axis + 1 :]
            self.values[name] = replace(value, shape=shape)
            flat = np.ravel_multi_index(tuple(rest[0]), shape) if shape else np.zeros(1, np.intp)
            return self.taken(name, np.asarray(flat, np.intp))
        raise Different

    def _operation(self, ops: list[Op | None], at: list[Indices]) -> str:
        first = ops[-1]
        if first is None or any(type(op) is not type(first) for op in ops):
            raise Different
        match first:
            case Activate(function="softmax" | "log_softmax") | Reduce() | Normalize() | Dense():
                return self._by_rows(first, ops, at)
            case Activate():
                return self._activate(first, ops, at)
            case Binary():
                return self._binary(first, ops, at)
            case Constant():
                return self._constant(ops, at)
            case _:
                raise Different

    def _activate(self, first: Activate, ops: list[Op | None], at: list[Indices]) -> str:
        places = []
        for op, found in zip(ops, at, strict=True):
            assert isinstance(op, Activate)
            if not self._same_parameters(first, op):
                raise Different
            places.append((op.x, found))
        x, y = self.of(tuple(places)), self.fresh(at[-1].shape)
        return self.emit(replace(first, x=x, y=y), y)

    def _constant(self, ops: list[Op | None], at: list[Indices]) -> str:
        arrays = []
        for op, found in zip(ops, at, strict=True):
            assert isinstance(op, Constant)
            arrays.append(self.whole.weights[op.weights].ravel()[found])
        if any(not np.array_equal(arrays[0], array) for array in arrays):
            raise Different
        y = self.fresh(at[-1].shape)
        self.weights[f"{y.name}_value"] = arrays[0]
        return self.emit(Constant(y, f"{y.name}_value"), y)

    def _binary(self, first: Binary, ops: list[Op | None], at: list[Indices]) -> str:
        algebra = Algebra(self.trace, self.whole.weights)
        sides = []
        for side in ("a", "b"):
            places = []
            for op, found in zip(ops, at, strict=True):
                assert isinstance(op, Binary)
                if op.operator != first.operator:
                    raise Different
                operand = getattr(op, side)
                places.append((operand, algebra.operand_at(op, operand, found)))
            sides.append(self.of(tuple(places)))
        y = self.fresh(at[-1].shape)
        return self.emit(Binary(sides[0], sides[1], y, first.operator), y)

    def _by_rows(self, first: Op, ops: list[Op | None], at: list[Indices]) -> str:
        """Operations along the last axis: whole rows of their operand; of the result any elements."""
        assert isinstance(first, Activate | Reduce | Normalize | Dense)
        places = []
        width = self.trace.values[first.x].shape[-1]
        made = 1 if isinstance(first, Reduce) else first.y.shape[-1]
        picked = []
        for op, found in zip(ops, at, strict=True):
            assert isinstance(op, Activate | Reduce | Normalize | Dense)
            if not self._same_parameters(first, op):
                raise Different
            rows = np.unique(found // made)
            places.append((op.x, (rows[:, None] * width + np.arange(width)).ravel()))
            picked.append(np.searchsorted(rows, found // made) * made + found % made)
        if any(not np.array_equal(picked[0], other) for other in picked):
            raise Different
        count = len(places[-1][1]) // width
        lead = (count,) if count > 1 else ()
        x = self.shaped(self.of(tuple(places)), (*lead, width))
        y = self.fresh(lead if isinstance(first, Reduce) else (*lead, made))
        for field_name in ("weights", "bias", "gain"):
            name = getattr(first, field_name, None)
            if name is not None:
                self.weights[name] = self.whole.weights[name]
        self.emit(replace(first, x=x, y=y), y)
        return self.taken(y.name, picked[0])

    def _same_parameters(self, a: Op, b: Op) -> bool:
        if type(a) is not type(b):
            return False
        for name in ("function", "alpha", "beta", "kind", "epsilon"):
            if getattr(a, name, None) != getattr(b, name, None):
                return False
        arrays = [(getattr(a, n, None), getattr(b, n, None)) for n in ("weights", "bias", "gain")]
        weights = self.whole.weights
        return all(p == q or np.array_equal(weights[p], weights[q]) for p, q in arrays if p and q)
