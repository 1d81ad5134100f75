"""A network unrolled over a fixed number of steps, rolled up again into one step.

Here the Model has no state, and one call holds the whole sequence: an axis of its input is time. Cells that
follow each other with the same weights are one recurrent layer; what stands before and after them is the same
at every step, or is computed from the last state. `roll` finds all that by elements (which elements of which
value does each step read?), builds the step, and keeps it only if both Models compute the same.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from stepcell.importers.names import identifier
from stepcell.importers.reroll.algebra import Algebra
from stepcell.importers.reroll.build import columns, operation
from stepcell.importers.reroll.chains import Chain, chains
from stepcell.importers.reroll.proof import computes_the_same
from stepcell.importers.reroll.step import Different, Step
from stepcell.importers.reroll.trace import Trace, live, substituted
from stepcell.ir import Finish, Function, Model, Source, SourceTensor, Stage, State, verify
from stepcell.ir.graph import parameters, reads
from stepcell.ir.ops import Op, Value


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
        rolled = _Builder(Step(model, trace, found, steps.pop())).model()
    except Different:
        return None
    return rolled if computes_the_same(model, rolled) else None


@dataclass(eq=False)
class _Builder:
    """The Model of a step: its layers, states, inputs and outputs."""

    step: Step
    states: list[State] = field(default_factory=list)
    updates: list[tuple[str, str]] = field(default_factory=list)

    def model(self) -> Model:
        """The rolled Model, with the source's axes relabelled."""
        waiting = [*enumerate(self.step.chains)]
        for k, chain in waiting:
            self._cell(k, chain)
        function = self.step.whole.main
        every: list[str] = []
        last: list[str] = []
        source = self.step.whole.source
        outputs: list[SourceTensor] = []
        for k, name in enumerate(function.outputs):
            tensor = source.outputs[k] if source else None
            axis, made = self._output(name)
            (last if axis is None else every).append(made)
            if tensor is not None:
                outputs.append(
                    tensor if axis is None else _timed(tensor, self.step.trace.values[name].shape, axis)
                )
        inputs = tuple(self._input_value(value) for value in function.inputs)
        if source is not None:
            names = self._renamed([*every, *last], [tensor.name for tensor in source.outputs])
            every, last = ([names.get(name, name) for name in made] for made in (every, last))
        ops, updates = self._live({*every, *last, *(name for op in self.step.ends for name in reads(op))})
        stage = Stage("forward", inputs, ops, updates, tuple(dict.fromkeys(every)))
        finish = Finish(tuple(self.step.ends), tuple(last)) if last else None
        kept = {state for state, _ in updates}
        used = {name for op in (*ops, *self.step.ends) for name in parameters(op)}
        if every and last:
            raise Different
        new = Function("main", inputs, (stage,), finish, tuple(every or last))
        return verify(
            Model(
                self.step.whole.name,
                (new,),
                tuple(state for state in self.states if state.name in kept),
                {name: array for name, array in self.step.weights.items() if name in used},
                source=None if source is None else self._source(source, tuple(outputs)),
            )
        )

    def _renamed(self, made: list[str], sources: list[str]) -> dict[str, str]:
        """Outputs under the source's names, unless they are a layer's own values."""
        names: dict[str, str] = {}
        for k, (value, source) in enumerate(zip(made, sources, strict=True)):
            new = identifier(source, f"y{k}" if len(sources) > 1 else "y")
            if value.startswith("v") and value not in names and new not in self.step.values:
                names[value] = new
        self.step.ops = [substituted(op, names) for op in self.step.ops]
        self.step.ends = [substituted(op, names) for op in self.step.ends]
        return names

    def _live(self, wanted: set[str]) -> tuple[tuple[Op, ...], tuple[tuple[str, str], ...]]:
        """The operations and updates that the outputs depend on: a chain that nothing reads was none."""
        while True:
            ops = live(self.step.ops, wanted)
            read = wanted.union(*(reads(op) for op in ops))
            updates = tuple((state, value) for state, value in self.updates if state in read)
            if read.issuperset(value for _, value in updates) and wanted == read:
                return ops, updates
            wanted = read.union(value for _, value in updates)

    def _input_value(self, value: Value) -> Value:
        if value.name not in self.step.axes:
            raise Different
        axis = self.step.axes[value.name]
        return replace(value, shape=value.shape[:axis] + value.shape[axis + 1 :])

    def _source(self, source: Source, outputs: tuple[SourceTensor, ...]) -> Source:
        pairs = zip(source.inputs, self.step.whole.main.inputs, strict=True)
        inputs = tuple(_timed(tensor, value.shape, self.step.axes[value.name]) for tensor, value in pairs)
        return replace(source, inputs=inputs, outputs=outputs)

    def _cell(self, k: int, chain: Chain) -> None:
        cell = chain.cells[0]
        units = len(cell.h.at)
        name = f"{cell.kind.lower()}{1 + sum(c.cells[0].kind == cell.kind for c in self.step.chains[:k])}"
        parts = [
            self.step.of(tuple((chain.x[t][p][0], chain.x[t][p][1]) for t in range(self.step.steps)))
            for p in range(len(chain.x[1]))
        ]
        x = parts[0] if len(parts) == 1 else self.step.joined(parts)
        op, weights = operation(cell, name, x, columns(cell))
        self.step.weights |= weights
        for letter in ("h", "c") if cell.c is not None else ("h",):
            self._state(f"{name}_{letter}", units)
        self.step.ops.append(op)

    def _state(self, name: str, units: int) -> None:
        self.states.append(State(name, np.zeros(units)))
        self.updates.append((name, f"{name}_next"))
        self.step.values[name] = Value(name, (units,))
        self.step.values[f"{name}_next"] = Value(f"{name}_next", (units,))

    def _output(self, name: str) -> tuple[int | None, str]:
        """(time axis, value of the step), or (None, value of `finish`)."""
        shape = self.step.trace.values[name].shape
        whole = np.arange(self.step.trace.values[name].size).reshape(shape)
        for axis, size in enumerate(shape):
            if size != self.step.steps:
                continue
            try:
                saved = list(self.step.ops)
                made = self.step.of(tuple((name, whole.take(t, axis).ravel()) for t in range(size)))
            except Different:
                self.step.ops = saved
                continue
            return axis, self.step.shaped(made, shape[:axis] + shape[axis + 1 :])
        self.step.at_end, self.step.made = True, {}
        made = self.step.shaped(self.step.of(((name, whole.ravel()),)), shape)
        self.step.at_end, self.step.made = False, {}
        return None, made


def _timed(tensor: SourceTensor, shape: tuple[int, ...], axis: int) -> SourceTensor:
    """The source's tensor with the axis that is this one of the Model's value as its time axis."""
    inner = [i for i, kind in enumerate(tensor.axes) if kind == "inner"]
    if len(inner) != len(shape):
        inner = [i for i in inner if tensor.shape[i] != 1]
    if len(inner) != len(shape):
        raise Different
    return replace(tensor, axes=tuple("time" if i == inner[axis] else a for i, a in enumerate(tensor.axes)))


__all__ = ["roll"]
