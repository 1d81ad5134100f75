"""Packed states taken apart: one tensor that holds h and c of every layer becomes a state for each."""

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from stepcell.importers.reroll.trace import Indices, Trace, in_order, is_whole, live, substituted
from stepcell.ir import Finish, Model, Source, Stage, State, StateTensor
from stepcell.ir.graph import reads, writes
from stepcell.ir.ops import (
    Append,
    Concat,
    Op,
    Take,
    Value,
)

Span = int | tuple[int, int, int]
Index = tuple[int | tuple[int, int, int] | None, ...]


@dataclass(frozen=True, eq=False)
class _Part:
    """Elements of a packed state, where they lie in the source's tensor, and the state that they become."""

    name: str
    elements: Indices
    index: Index


def split_states(model: Model) -> Model:
    """Every state of which operations read and replace parts becomes one flat state a part.

    A part is what one set of Takes reads and one value replaces. States whose parts are not regular slices
    of the source's tensor stay as they are.
    """
    for state in model.states:
        model = _split(model, state)
    return model


def _split(model: Model, state: State) -> Model:
    function = model.main
    owners = [stage for stage in function.stages if any(name == state.name for name, _ in stage.updates)]
    if any(isinstance(op, Append) and op.memory == state.name for stage in owners for op in stage.ops):
        return model
    if len(owners) != 1 or state.dtype != "float" or _is_read_elsewhere(model, owners[0], state.name):
        return model
    parts = _parts(model, owners[0], state)
    if parts is None:
        return model
    if len(parts) == 1 and state.initial.ndim == 1 and not _is_operators(model, parts[0]):
        return model
    stage = _rebuilt(model, owners[0], state, parts)
    stages = tuple(stage if s is owners[0] else s for s in function.stages)
    finish = _finish(model, state, parts)
    outputs = function.outputs
    if finish is not function.finish:
        outputs = tuple(f"{state.name}_last" if output == state.name else output for output in outputs)
    function = replace(function, stages=stages, finish=finish, outputs=outputs)
    states = [State(part.name, state.initial.ravel()[part.elements]) for part in parts]
    kept = [s for s in model.states if s is not state]
    source = model.source and _mapped(model.source, state.name, parts)
    return replace(model, functions=(function,), states=(*kept, *states), source=source)


def _is_operators(model: Model, part: _Part) -> bool:
    """Whether the part is named as the state of a recurrent operator, which reads it by a Take so far."""
    ops = [op for stage in model.main.stages for op in stage.ops]
    return any(part.name == value.name for op in ops for value in writes(op))


def _is_read_elsewhere(model: Model, owner: Stage, name: str) -> bool:
    """Whether another stage reads the state, or something leaves it as it is at every step."""
    function = model.main
    others = [op for stage in function.stages if stage is not owner for op in stage.ops]
    leaving = {n for s in function.stages for n in s.outputs}
    leaving |= {value for stage in function.stages for _, value in stage.updates}
    return name in leaving or any(name in reads(op) for op in others)


def _read_at_end(model: Model, name: str) -> bool:
    finish = model.main.finish
    return finish is not None and (name in finish.outputs or any(name in reads(op) for op in finish.ops))


def _finish(model: Model, state: State, parts: list[_Part]) -> Finish | None:
    """The finish graph, which puts the state together again if it reads it."""
    finish = model.main.finish
    if finish is None or not _read_at_end(model, state.name):
        return finish
    joined, last = f"{state.name}_parts_last", f"{state.name}_last"
    order = np.argsort(np.concatenate([part.elements for part in parts]))
    join = Concat(tuple(part.name for part in parts), Value(joined, (state.initial.size,)))
    take = Take(joined, replace(state.value, name=last), tuple(map(int, order)))
    names = {state.name: last}
    outputs = tuple(names.get(output, output) for output in finish.outputs)
    return replace(finish, ops=(join, take, *(substituted(op, names) for op in finish.ops)), outputs=outputs)


def _parts(model: Model, stage: Stage, state: State) -> list[_Part] | None:
    """The state's parts; None where one is not a regular slice of the source's tensor."""
    trace = Trace(stage.ops, (*stage.inputs, *(s.value for s in model.states)))
    replaced, _ = trace.origins(dict(stage.updates)[state.name])
    whole = any(not isinstance(op, Take) for op in trace.readers.get(state.name, ()))
    if whole and state.name in set(replaced):  # earlier frames that move along, read together
        return None
    readers: list[list[int]] = [[] for _ in range(state.initial.size)]
    for k, op in enumerate(trace.readers.get(state.name, ())):
        for i in op.indices if isinstance(op, Take) else ():
            readers[i].append(k)
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, value in enumerate(replaced):
        groups.setdefault((tuple(readers[i]), value), []).append(i)
    tensor = next((t for t in model.source.states if t.state == state.name), None) if model.source else None
    parts = []
    for n, group in enumerate(groups.values(), 1):
        elements = np.array(group, np.intp)
        index = () if tensor is None else slice_of(tensor, state.initial.shape, elements)
        if index is None:
            return None
        whole = any(not isinstance(op, Take) for op in trace.readers.get(state.name, ()))
        whole = whole or _read_at_end(model, state.name)
        name = _name(trace, state, elements, n if len(groups) > 1 or whole else 0)
        parts.append(_Part(name, elements, index))
    return parts if len({part.name for part in parts}) == len(parts) else None


def _name(trace: Trace, state: State, elements: Indices, n: int) -> str:
    """What a Take of exactly this part is called, if it is a recurrent operator's state; else numbered."""
    for op in trace.readers.get(state.name, ()):
        if isinstance(op, Take) and np.array_equal(op.indices, elements) and op.y.shape == elements.shape:
            readers = trace.readers.get(op.y.name, ())
            if any(op.y.name in (getattr(r, "h", None), getattr(r, "c", None)) for r in readers):
                return op.y.name
    return f"{state.name}_{n}" if n else state.name


def slice_of(tensor: StateTensor, shape: tuple[int, ...], elements: Indices) -> Index | None:
    """Elements of a state of this shape as an index of the source's tensor; None if that is irregular."""
    sizes = tuple(len(range(*entry)) for entry in tensor.index if isinstance(entry, tuple))
    shape = sizes if prod(sizes) == prod(shape) else shape  # the state's own may leave out axes of size one
    places = [np.unique(axis) for axis in np.unravel_index(elements, shape)]
    spans = [_span(axis) for axis in places]
    if prod(len(axis) for axis in places) != len(elements) or (np.diff(elements) <= 0).any():
        return None
    index: list[int | tuple[int, int, int] | None] = []
    rest = [*spans]
    for entry in tensor.index:
        if isinstance(entry, tuple):
            part = rest.pop(0) if rest else None
            if part is None:
                return None
            index.append(_within(entry, part))
        else:
            index.append(entry)
    whole = [*index, *rest]
    return None if None in spans else tuple(whole)


def _span(places: Indices) -> Span | None:
    if len(places) == 1:
        return int(places[0])
    step = int(places[1] - places[0])
    regular = bool((np.diff(places) == step).all())
    return (int(places[0]), int(places[-1]) + 1, step) if regular else None


def _within(outer: tuple[int, int, int], part: Span) -> Span:
    """A part of what is itself a slice."""
    start, _, step = outer
    if isinstance(part, int):
        return start + part * step
    return start + part[0] * step, start + (part[1] - 1) * step + 1, step * part[2]


def _rebuilt(model: Model, stage: Stage, state: State, parts: list[_Part]) -> Stage:
    trace = Trace(stage.ops, (*stage.inputs, *(s.value for s in model.states)))
    owner = np.empty(state.initial.size, np.intp)
    place = np.empty(state.initial.size, np.intp)
    for k, part in enumerate(parts):
        owner[part.elements], place[part.elements] = k, np.arange(len(part.elements))
    joined = f"{state.name}_parts"
    offsets = np.cumsum([0, *(len(part.elements) for part in parts)])
    order = offsets[owner] + place
    ops: list[Op] = []
    for op in stage.ops:
        if isinstance(op, Take) and op.x == state.name:
            ops += _taken(op, parts, owner, place, joined, order)
        else:
            ops.append(op)
    whole = [op for op in trace.readers.get(state.name, ()) if not isinstance(op, Take)]
    if whole:
        ops.append(Take(joined, state.value, tuple(map(int, order))))
    if len(parts) == 1:
        ops = [replace(op, x=parts[0].name) if isinstance(op, Take) and op.x == joined else op for op in ops]
    else:
        ops.append(Concat(tuple(part.name for part in parts), Value(joined, (state.initial.size,))))
    updates = [pair for pair in stage.updates if pair[0] != state.name]
    update = dict(stage.updates)[state.name]
    for part in parts:
        made, value = _replacing(trace, update, part)
        ops += made
        updates.append((part.name, value))
    wanted = {*stage.outputs, *(value for _, value in updates)}
    return replace(stage, ops=live(in_order(ops), wanted), updates=tuple(updates))


def _taken(
    op: Take, parts: list[_Part], owner: Indices, place: Indices, joined: str, order: Indices
) -> list[Op]:
    """A Take of the packed state as one of its parts; nothing where it is a whole part of that name."""
    at = np.array(op.indices, np.intp)
    if (at < 0).any() or len(set(owner[at])) > 1:
        return [replace(op, x=joined, indices=tuple(int(order[i]) if i >= 0 else -1 for i in at))]
    part = parts[owner[at[0]]]
    if part.name == op.y.name and is_whole(place[at], len(part.elements)):
        return []
    return [replace(op, x=part.name, indices=tuple(map(int, place[at])))]


def _replacing(trace: Trace, update: str, part: _Part) -> tuple[list[Op], str]:
    """The value that becomes the part: one that holds just its elements, or a Take."""
    names, indices = trace.origins(update)
    sources, at = set(names[part.elements]), indices[part.elements]
    if len(sources) == 1:
        (source,) = sources
        value = trace.values.get(source)
        if value is not None and value.shape == part.elements.shape and is_whole(at, value.size):
            return [], source
        if value is not None:
            made = Value(f"{part.name}_next", part.elements.shape)
            return [Take(source, made, tuple(map(int, at)))], made.name
    made = Value(f"{part.name}_next", part.elements.shape)
    return [Take(update, made, tuple(map(int, part.elements)))], made.name


def _mapped(source: Source, name: str, parts: list[_Part]) -> Source:
    states: list[StateTensor] = []
    for tensor in source.states:
        if tensor.state == name:
            states += [replace(tensor, state=part.name, index=part.index) for part in parts]
        else:
            states.append(tensor)
    return replace(source, states=tuple(states))
