"""A network unrolled over a fixed number of steps, rolled up again into one step.

Here the Model has no state, and one call holds the whole sequence: an axis of its input is time. Cells that
follow each other with the same weights are one recurrent layer; what stands before and after them is the same
at every step, or is computed from the last state. `roll` finds all that by elements (which elements of which
value does each step read?), builds the step, and keeps it only if both Models compute the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from stepcell.importers.names import identifier
from stepcell.importers.reroll.algebra import Algebra, Vector
from stepcell.importers.reroll.build import columns, operation
from stepcell.importers.reroll.chains import Chain, chains
from stepcell.importers.reroll.trace import Indices, Trace, is_whole, live, substituted
from stepcell.ir import Finish, Function, Model, Source, SourceTensor, Stage, State, verify
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
    parameters,
    reads,
)
from stepcell.reference.float_model import run_float

_TOLERANCE = 1e-9
Places = tuple[tuple[str, Indices], ...]
"""(value, its elements) at every step"""


class _Different(Exception):
    """The steps do not compute the same."""


def roll(model: Model) -> Model | None:
    """The Model as one step over time; None if it is no unrolled recurrent network, or not the same."""
    if model.states or len(model.functions) != 1 or len(model.main.stages) != 1:
        return None
    stage = model.main.stages[0]
    trace = Trace(stage.ops, stage.inputs)
    algebra = Algebra(trace, model.weights, shared_is_atom=True)
    found = chains(algebra, {value.name for value in stage.inputs})
    steps = {len(chain.h) for chain in found}
    if len(steps) != 1:
        return None
    try:
        rolled = _Builder(model, trace, found, steps.pop()).model()
    except _Different:
        return None
    return rolled if _proven(model, rolled) else None


@dataclass(eq=False)
class _Builder:
    """The step that is being built: its operations, and which values of the sequence are its values."""

    whole: Model
    trace: Trace
    chains: list[Chain]
    steps: int
    ops: list[Op] = field(default_factory=list)
    weights: dict[str, FloatArray] = field(default_factory=dict)
    states: list[State] = field(default_factory=list)
    updates: list[tuple[str, str]] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    axes: dict[str, int] = field(default_factory=dict)
    """input -> its time axis"""
    made: dict[tuple[tuple[str, bytes], ...], str] = field(default_factory=dict)
    ends: list[Op] = field(default_factory=list)
    at_end: bool = False

    def model(self) -> Model:
        """The rolled Model, with the source's axes relabelled."""
        waiting = [*enumerate(self.chains)]
        for k, chain in waiting:
            self._cell(k, chain)
        function = self.whole.main
        every: list[str] = []
        last: list[str] = []
        source = self.whole.source
        outputs: list[SourceTensor] = []
        for k, name in enumerate(function.outputs):
            tensor = source.outputs[k] if source else None
            axis, made = self._output(name)
            (last if axis is None else every).append(made)
            if tensor is not None:
                outputs.append(
                    tensor if axis is None else _timed(tensor, self.trace.values[name].shape, axis)
                )
        inputs = tuple(self._input_value(value) for value in function.inputs)
        if source is not None:
            names = self._renamed([*every, *last], [tensor.name for tensor in source.outputs])
            every, last = ([names.get(name, name) for name in made] for made in (every, last))
        ops, updates = self._live({*every, *last, *(name for op in self.ends for name in reads(op))})
        stage = Stage("forward", inputs, ops, updates, tuple(dict.fromkeys(every)))
        finish = Finish(tuple(self.ends), tuple(last)) if last else None
        kept = {state for state, _ in updates}
        used = {name for op in (*ops, *self.ends) for name in parameters(op)}
        if every and last:
            raise _Different
        new = Function("main", inputs, (stage,), finish, tuple(every or last))
        return verify(
            Model(
                self.whole.name,
                (new,),
                tuple(state for state in self.states if state.name in kept),
                {name: array for name, array in self.weights.items() if name in used},
                source=None if source is None else self._source(source, tuple(outputs)),
            )
        )

    def _renamed(self, made: list[str], sources: list[str]) -> dict[str, str]:
        """Outputs under the source's names, unless they are a layer's own values."""
        names: dict[str, str] = {}
        for k, (value, source) in enumerate(zip(made, sources, strict=True)):
            new = identifier(source, f"y{k}" if len(sources) > 1 else "y")
            if value.startswith("v") and value not in names and new not in self.values:
                names[value] = new
        self.ops = [substituted(op, names) for op in self.ops]
        self.ends = [substituted(op, names) for op in self.ends]
        return names

    def _live(self, wanted: set[str]) -> tuple[tuple[Op, ...], tuple[tuple[str, str], ...]]:
        """The operations and updates that the outputs depend on: a chain that nothing reads was none."""
        while True:
            ops = live(self.ops, wanted)
            read = wanted.union(*(reads(op) for op in ops))
            updates = tuple((state, value) for state, value in self.updates if state in read)
            if read.issuperset(value for _, value in updates) and wanted == read:
                return ops, updates
            wanted = read.union(value for _, value in updates)

    def _input_value(self, value: Value) -> Value:
        if value.name not in self.axes:
            raise _Different
        axis = self.axes[value.name]
        return replace(value, shape=value.shape[:axis] + value.shape[axis + 1 :])

    def _source(self, source: Source, outputs: tuple[SourceTensor, ...]) -> Source:
        pairs = zip(source.inputs, self.whole.main.inputs, strict=True)
        inputs = tuple(_timed(tensor, value.shape, self.axes[value.name]) for tensor, value in pairs)
        return replace(source, inputs=inputs, outputs=outputs)

    def _cell(self, k: int, chain: Chain) -> None:
        cell = chain.cells[0]
        units = len(cell.h.at)
        name = f"{cell.kind.lower()}{1 + sum(c.cells[0].kind == cell.kind for c in self.chains[:k])}"
        parts = [
            self.step(tuple((chain.x[t][p][0], chain.x[t][p][1]) for t in range(self.steps)))
            for p in range(len(chain.x[1]))
        ]
        x = parts[0] if len(parts) == 1 else self._joined(parts)
        op, weights = operation(cell, name, x, columns(cell))
        self.weights |= weights
        for letter in ("h", "c") if cell.c is not None else ("h",):
            self._state(f"{name}_{letter}", units)
        self.ops.append(op)

    def _state(self, name: str, units: int) -> None:
        self.states.append(State(name, np.zeros(units)))
        self.updates.append((name, f"{name}_next"))
        self.values[name] = Value(name, (units,))
        self.values[f"{name}_next"] = Value(f"{name}_next", (units,))

    def _emit(self, op: Op, y: Value) -> str:
        (self.ends if self.at_end else self.ops).append(op)
        self.values[y.name] = y
        return y.name

    def _fresh(self, shape: tuple[int, ...]) -> Value:
        return Value(f"v{len(self.values) + 1}", shape)

    def _joined(self, parts: list[str]) -> str:
        size = sum(self.values[part].size for part in parts)
        y = self._fresh((size,))
        return self._emit(Concat(tuple(parts), y), y)

    def _output(self, name: str) -> tuple[int | None, str]:
        """(time axis, value of the step), or (None, value of `finish`)."""
        shape = self.trace.values[name].shape
        whole = np.arange(self.trace.values[name].size).reshape(shape)
        for axis, size in enumerate(shape):
            if size != self.steps:
                continue
            try:
                saved = list(self.ops)
                made = self.step(tuple((name, whole.take(t, axis).ravel()) for t in range(size)))
            except _Different:
                self.ops = saved
                continue
            return axis, self._shaped(made, shape[:axis] + shape[axis + 1 :])
        self.at_end, self.made = True, {}
        made = self._shaped(self.step(((name, whole.ravel()),)), shape)
        self.at_end, self.made = False, {}
        return None, made

    def _shaped(self, name: str, shape: tuple[int, ...]) -> str:
        if self.values[name].shape == shape:
            return name
        y = self._fresh(shape)
        return self._emit(Take(name, y, tuple(range(y.size))), y)

    def step(self, places: Places) -> str:
        """The value of the step that has, at every step, these elements; flat."""
        settled = [self._settled(name, at) for name, at in places]
        if any(len(found) != len(settled[-1]) for found in settled):
            raise _Different
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
                raise _Different
            parts.append(self.step(tuple((found[p][0], found[p][2]) for found in settled)))
        order = np.argsort(np.concatenate([part[1] for part in settled[0]]))
        joined = self._joined(parts)
        if is_whole(order, len(order)):
            return joined
        y = self._fresh((len(order),))
        return self._emit(Take(joined, y, tuple(map(int, order))), y)

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
                        return self._taken(value, places[-1][1])
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

    def _taken(self, value: str, at: Indices) -> str:
        if is_whole(at, self.values[value].size) and self.values[value].shape == at.shape:
            return value
        y = self._fresh(at.shape)
        return self._emit(Take(value, y, tuple(map(int, at))), y)

    def _of_input(self, name: str, at: list[Indices]) -> str:
        """A frame of the input: from step to step the elements differ in one coordinate, the step."""
        if self.at_end:
            raise _Different
        value = self.trace.values[name]
        places = [np.array(np.unravel_index(found, value.shape)) for found in at]
        for axis, size in enumerate(value.shape):
            rest = [np.delete(place, axis, 0) for place in places]
            moves = all((place[axis] == t).all() for t, place in enumerate(places))
            if size != self.steps or not moves or any(not np.array_equal(rest[0], r) for r in rest):
                continue
            if self.axes.setdefault(name, axis) != axis:
                raise _Different
            shape = value.shape[:axis] + value.shape[axis + 1 :]
            self.values[name] = replace(value, shape=shape)
            flat = np.ravel_multi_index(tuple(rest[0]), shape) if shape else np.zeros(1, np.intp)
            return self._taken(name, np.asarray(flat, np.intp))
        raise _Different

    def _operation(self, ops: list[Op | None], at: list[Indices]) -> str:
        first = ops[-1]
        if first is None or any(type(op) is not type(first) for op in ops):
            raise _Different
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
                raise _Different

    def _activate(self, first: Activate, ops: list[Op | None], at: list[Indices]) -> str:
        places = []
        for op, found in zip(ops, at, strict=True):
            assert isinstance(op, Activate)
            if not self._same_parameters(first, op):
                raise _Different
            places.append((op.x, found))
        x, y = self.step(tuple(places)), self._fresh(at[-1].shape)
        return self._emit(replace(first, x=x, y=y), y)

    def _constant(self, ops: list[Op | None], at: list[Indices]) -> str:
        arrays = []
        for op, found in zip(ops, at, strict=True):
            assert isinstance(op, Constant)
            arrays.append(self.whole.weights[op.weights].ravel()[found])
        if any(not np.array_equal(arrays[0], array) for array in arrays):
            raise _Different
        y = self._fresh(at[-1].shape)
        self.weights[f"{y.name}_value"] = arrays[0]
        return self._emit(Constant(y, f"{y.name}_value"), y)

    def _binary(self, first: Binary, ops: list[Op | None], at: list[Indices]) -> str:
        algebra = Algebra(self.trace, self.whole.weights)
        sides = []
        for side in ("a", "b"):
            places = []
            for op, found in zip(ops, at, strict=True):
                assert isinstance(op, Binary)
                if op.operator != first.operator:
                    raise _Different
                operand = getattr(op, side)
                places.append((operand, algebra.operand_at(op, operand, found)))
            sides.append(self.step(tuple(places)))
        y = self._fresh(at[-1].shape)
        return self._emit(Binary(sides[0], sides[1], y, first.operator), y)

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
                raise _Different
            rows = np.unique(found // made)
            places.append((op.x, (rows[:, None] * width + np.arange(width)).ravel()))
            picked.append(np.searchsorted(rows, found // made) * made + found % made)
        if any(not np.array_equal(picked[0], other) for other in picked):
            raise _Different
        count = len(places[-1][1]) // width
        lead = (count,) if count > 1 else ()
        x = self._shaped(self.step(tuple(places)), (*lead, width))
        y = self._fresh(lead if isinstance(first, Reduce) else (*lead, made))
        for field_name in ("weights", "bias", "gain"):
            name = getattr(first, field_name, None)
            if name is not None:
                self.weights[name] = self.whole.weights[name]
        self._emit(replace(first, x=x, y=y), y)
        return self._taken(y.name, picked[0])

    def _same_parameters(self, a: Op, b: Op) -> bool:
        if type(a) is not type(b):
            return False
        for name in ("function", "alpha", "beta", "kind", "epsilon"):
            if getattr(a, name, None) != getattr(b, name, None):
                return False
        arrays = [(getattr(a, n, None), getattr(b, n, None)) for n in ("weights", "bias", "gain")]
        weights = self.whole.weights
        return all(p == q or np.array_equal(weights[p], weights[q]) for p, q in arrays if p and q)


def _timed(tensor: SourceTensor, shape: tuple[int, ...], axis: int) -> SourceTensor:
    """The source's tensor with the axis that is this one of the Model's value as its time axis."""
    inner = [i for i, kind in enumerate(tensor.axes) if kind == "inner"]
    if len(inner) != len(shape):
        inner = [i for i in inner if tensor.shape[i] != 1]
    if len(inner) != len(shape):
        raise _Different
    return replace(tensor, axes=tuple("time" if i == inner[axis] else a for i, a in enumerate(tensor.axes)))


def _proven(whole: Model, rolled: Model) -> bool:
    """Whether both compute the same of random sequences."""
    random = np.random.default_rng(0)
    axes = {
        v.name: next(k for k in range(len(v.shape)) if v.shape[:k] + v.shape[k + 1 :] == r.shape)
        for v, r in zip(whole.main.inputs, rolled.main.inputs, strict=True)
    }
    x = {v.name: random.standard_normal((4, 1, *v.shape)) for v in whole.main.inputs}
    frames = {name: np.moveaxis(array[:, 0], axes[name] + 1, 1) for name, array in x.items()}
    wanted = run_float(whole, x).outputs(whole.main)
    found = run_float(rolled, frames).outputs(rolled.main)
    for old, new in zip(whole.main.outputs, rolled.main.outputs, strict=True):
        a, b = wanted[old][:, 0], found[new]
        candidates = [b] if a.ndim != b.ndim else [np.moveaxis(b, 1, k) for k in range(1, b.ndim)] + [b]
        same = [c for c in candidates if c.shape == a.shape and np.abs(c - a).max(initial=0.0) <= _TOLERANCE]
        if not same:
            return False
    return True


__all__ = ["roll"]
