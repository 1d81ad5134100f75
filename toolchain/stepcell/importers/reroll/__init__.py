"""Re-rolling: cells written as matrix products and activations become LSTM, GRU and RNN operations.

`reroll(model)` is for every importer: it needs a Model whose states are updated at every step, one flat state
[H] for h and one for c (`split_states` makes them of packed ones), and whose step computes the new ones with
Dense, Binary, Activate, Take, Concat and Constant. It matches equations, not names or shapes of graphs: any
order of gates, one matrix or eight, biases anywhere, both forms of GRU. What it does not recognise stays as
it is, and the result is proven: both Models run on random inputs and states, and must agree to 1e-9.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from stepcell.importers.reroll.algebra import Algebra, Vector
from stepcell.importers.reroll.build import Columns, columns, operation
from stepcell.importers.reroll.cells import Cell, Matcher
from stepcell.importers.reroll.proof import prove
from stepcell.importers.reroll.trace import Trace, in_order, is_whole, live, substituted
from stepcell.ir import Model, Stage, State, verify
from stepcell.ir.graph import parameters, writes
from stepcell.ir.ops import (
    Concat,
    Gru,
    Lstm,
    Op,
    Rnn,
    Take,
    Value,
)


def reroll(model: Model) -> Model:
    """The model with every recognised cell as one operation; ValueError if that changed what it computes."""
    rolled = model
    names: dict[str, str] = {}
    while (found := next(_cells(rolled), None)) is not None:
        rolled, renamed = _replaced(rolled, *found)
        names = {**{old: renamed.get(new, new) for old, new in names.items()}, **renamed}
    if rolled is model:
        return model
    rolled = _without_unused(rolled)
    prove(model, verify(rolled), names)
    return rolled


def _cells(model: Model) -> Iterator[tuple[Stage, Cell]]:
    """The cells that are not operations yet."""
    for stage in (stage for function in model.functions for stage in function.stages):
        states = {s.name: s for s in model.states if s.dtype == "float" and s.initial.ndim == 1}
        trace = Trace(stage.ops, (*stage.inputs, *(s.value for s in model.states)))
        algebra = Algebra(trace, model.weights)
        after: dict[str, Vector] = {}
        for name, value in stage.updates:
            if name in states:
                found = algebra.settled(value, np.arange(states[name].initial.size))
                if found is not None:
                    after[name] = found
        vectors = {name: Vector(name, np.arange(states[name].initial.size)) for name in after}
        algebra.vectors.update({vector.key: vector for vector in vectors.values()})
        for name, vector in after.items():
            if isinstance(trace.producer.get(vector.value), Lstm | Gru | Rnn):
                continue
            cells = {v.key: after[n] for n, v in vectors.items() if n != name}
            cell = Matcher(algebra).cell(vector, vectors[name], cells)
            if cell is not None and any(half.over_x.terms for half in cell.halves):
                yield stage, cell


def _replaced(model: Model, stage: Stage, cell: Cell) -> tuple[Model, dict[str, str]]:
    """The model with the cell as an operation; the states' new names."""
    updates = dict(stage.updates)
    name = _fresh(model, cell.kind.lower())
    states = {cell.h.value: f"{name}_h"} | ({cell.c.value: f"{name}_c"} if cell.c else {})
    trace = Trace(stage.ops, (*stage.inputs, *(s.value for s in model.states)))
    read = columns(cell)
    x, ops = _input(trace, name, read)
    op, weights = operation(cell, name, x, read)
    after = {state: (f"{states[state]}_next", updates[state]) for state in states}
    origins = {state: _settled(trace, value) for state, (_, value) in after.items()}
    ops.append(op)
    gone: set[str] = set()
    again: dict[str, str] = {}
    for state, (new, _) in after.items():
        old = origins[state]
        value = trace.values[old.value]
        if not is_whole(old.at, value.size):
            continue
        gone.add(old.value)
        if value.shape == (value.size,):
            again[old.value] = new
        else:
            ops.append(Take(new, value, tuple(range(value.size))))
    ops += [substituted(o, again) for o in stage.ops if not gone.intersection(v.name for v in writes(o))]
    new_updates = tuple((s, after[s][0] if s in after else again.get(v, v)) for s, v in stage.updates)
    outputs = tuple(again.get(output, output) for output in stage.outputs)
    kept = live(in_order(ops), {*outputs, *(v for _, v in new_updates)})
    made = replace(stage, ops=kept, updates=new_updates, outputs=outputs)
    swapped = _exchanged(model, stage, made, again)
    return _with_states(replace(swapped, weights={**model.weights, **weights}), states), states


def _settled(trace: Trace, value: str) -> Vector:
    names, at = trace.origins(value)
    return Vector(str(names[0]), at)


def _fresh(model: Model, kind: str) -> str:
    taken = {value.name for op in _all(model) for value in writes(op)} | set(model.weights)
    n = 1
    while any(other.startswith(f"{kind}{n}_") for other in taken | {s.name for s in model.states}):
        n += 1
    return f"{kind}{n}"


def _all(model: Model) -> Iterator[Op]:
    for function in model.functions:
        for stage in function.stages:
            yield from stage.ops
        yield from function.finish.ops if function.finish else ()


def _input(trace: Trace, name: str, read: Columns) -> tuple[str, list[Op]]:
    """The cell's x, the elements that its gates read, joined; and what makes it."""
    ops: list[Op] = []
    parts: list[str] = []
    for k, (value, at) in enumerate(read):
        if is_whole(at, trace.values[value].size):
            parts.append(value)
            continue
        parts.append(f"{name}_x" if len(read) == 1 else f"{name}_x{k}")
        ops.append(Take(value, Value(parts[-1], at.shape), tuple(map(int, at))))
    if len(parts) == 1:
        return parts[0], ops
    total = sum(len(at) for _, at in read)
    ops.append(Concat(tuple(parts), Value(f"{name}_x", (total,))))
    return f"{name}_x", ops


def _exchanged(model: Model, old: Stage, new: Stage, names: dict[str, str]) -> Model:
    """The model with one stage for another; other stages and outputs follow its renamed values."""
    functions = []
    for function in model.functions:
        if old not in function.stages:
            functions.append(function)
            continue
        stages = tuple(new if stage is old else _reading(stage, names) for stage in function.stages)
        outputs = tuple(names.get(output, output) for output in function.outputs)
        functions.append(replace(function, stages=stages, outputs=outputs))
    return replace(model, functions=tuple(functions))


def _reading(stage: Stage, names: dict[str, str]) -> Stage:
    """A stage that reads values under new names."""
    inputs = tuple(replace(value, name=names.get(value.name, value.name)) for value in stage.inputs)
    return replace(
        stage,
        inputs=inputs,
        ops=tuple(substituted(op, names) for op in stage.ops),
        updates=tuple((names.get(s, s), names.get(v, v)) for s, v in stage.updates),
        outputs=tuple(names.get(output, output) for output in stage.outputs),
    )


def _with_states(model: Model, names: dict[str, str]) -> Model:
    """The model with states renamed everywhere."""
    functions = []
    for function in model.functions:
        finish = function.finish
        if finish is not None:
            ops = tuple(substituted(op, names) for op in finish.ops)
            finish = replace(finish, ops=ops, outputs=tuple(names.get(o, o) for o in finish.outputs))
        stages = tuple(_reading(stage, names) for stage in function.stages)
        outputs = tuple(names.get(o, o) for o in function.outputs)
        functions.append(replace(function, stages=stages, finish=finish, outputs=outputs))
    states = tuple(State(names.get(s.name, s.name), s.initial, s.dtype) for s in model.states)
    source = model.source
    if source is not None:
        mapped = tuple(replace(t, state=names.get(t.state, t.state)) for t in source.states)
        source = replace(source, states=mapped)
    return replace(model, functions=tuple(functions), states=states, source=source)


def _without_unused(model: Model) -> Model:
    used: set[str] = {name for op in _all(model) for name in parameters(op)}
    return replace(model, weights={name: array for name, array in model.weights.items() if name in used})


__all__ = ["reroll"]
