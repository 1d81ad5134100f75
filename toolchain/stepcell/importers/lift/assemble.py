"""From the lifted operations to a Model: outputs and states named, dead operations dropped, stages cut."""

from collections.abc import Mapping
from math import prod

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.graph import GraphInput
from stepcell.importers.lift.axes import Axis, Relabel, inner, is_open, labels
from stepcell.importers.lift.context import Lift, Tensor, has_time, materialise
from stepcell.importers.lift.frames import frames_per_step
from stepcell.importers.lift.lengths import lengths_input
from stepcell.importers.lift.recognise import recognise
from stepcell.importers.lift.rename import rename
from stepcell.importers.lift.roles import frozen_size, label
from stepcell.importers.lift.stages import cut_stages
from stepcell.importers.names import identifier
from stepcell.importers.reroll.split import split_states
from stepcell.ir import Finish, Function, Model, Source, SourceTensor, StateTensor, verify
from stepcell.ir.ops import Op, Recurrent, Value, parameters, reads, writes

KEEPS_A_STATE = "keeps a state"
"""A role of no axis: the file takes a state that it does not return, so one call is a whole sequence."""


def assemble(lift: Lift, name: str, carried: Mapping[str, str]) -> Model:
    """The verified Model of a finished lift."""
    recognise(lift)
    _learn_frozen_batch(lift)
    found = _state_outputs(lift)
    named = {x: out for x, out in carried.items() if lift.roles.get(x) == "carried"}
    for tensor_in, tensor_out in carried.items():
        if tensor_in in named:
            _carry(lift, tensor_in, tensor_out)
        elif tensor_in not in {lift.entries[state][0] for state in found.get(tensor_out, ())}:
            raise StepcellError(
                f"{lift.graph.file}: the output '{tensor_out}' is not what the operators that start at "
                f"'{tensor_in}' leave.",
                "name the output that is, or leave --state out.",
            )
    state_outputs = found | {out: [] for out in named.values()}
    _check_returned(lift, state_outputs)
    sources = [out for out in lift.graph.outputs if out not in state_outputs] or list(lift.graph.outputs)
    outputs = [_output(lift, source) for source in sources]
    tensors = tuple(_source_tensor(lift, source) for source in sources)
    outputs = _name_outputs(lift, outputs, sources)
    _drop_dead(lift, outputs)
    _shorten_names(lift)
    function = _function(lift, outputs)
    used = {p for op, _ in lift.steps for p in parameters(op)} | {
        p for op in lift.ends for p in parameters(op)
    }
    weights = {key: array for key, array in lift.weights.items() if key in used}
    source = _source(lift, tensors, state_outputs, named)
    model = Model(name, (function,), tuple(lift.states.values()), weights, source=source)
    return verify(split_states(model))


def _check_returned(lift: Lift, returned: Mapping[str, list[str]]) -> None:
    """Where one call is one step, the file has to return every state that it takes."""
    kept = lift.entries.keys() - {state for states in returned.values() for state in states}
    if not lift.single_step or not kept:
        return
    if "time" in lift.roles.values():
        raise Relabel({KEEPS_A_STATE: "yes"})
    raise StepcellError(
        f"{lift.graph.file}: it takes the state '{lift.entries[min(kept)][0]}' for one step, and does not "
        "return the next one.",
        "export the new states as outputs, too, or with a time axis.",
    )


def _carry(lift: Lift, tensor_in: str, tensor_out: str) -> None:
    """A state that the user named becomes what the output holds."""
    found, state = lift.env[tensor_out], lift.env[tensor_in]
    if not isinstance(found, Tensor) or not isinstance(state, Tensor) or state.value not in lift.states:
        raise StepcellError(
            f"{lift.graph.file}: {tensor_in}={tensor_out} is not a state of this graph.",
            "leave --state out: the states of LSTM, GRU and RNN are found without it.",
        )
    shape = lift.states[state.value].initial.shape
    if found.table.size != prod(shape):
        raise StepcellError(
            f"{lift.graph.file}: the state '{tensor_in}' has {prod(shape)} numbers, "
            f"its output '{tensor_out}' {found.table.size}.",
            "name an output of the same shape.",
        )
    if found.table.shape != state.table.shape:
        raise StepcellError(
            f"{lift.graph.file}: the state '{tensor_in}' is {list(state.table.shape)} (its batch axis as 1), "
            f"its output '{tensor_out}' {list(found.table.shape)}.",
            "name an output of the same shape.",
        )
    lift.updates[state.value] = materialise(lift, found, shape)


def _state_outputs(lift: Lift) -> dict[str, list[str]]:
    """Outputs that hold exactly the states which one state input brought in, in its layout.

    Where one step is one call, the result may hold the same numbers; then the output without a time
    axis is the state, or the later one.
    """
    brought: dict[str, list[str]] = {}
    for state, (tensor_in, _) in lift.entries.items():
        brought.setdefault(tensor_in, []).append(state)
    paired: dict[str, list[str]] = {}
    candidates = sorted(
        lift.graph.outputs, key=lambda out: (_with_time(lift, out), -lift.graph.outputs.index(out))
    )
    for tensor_in, states in brought.items():
        wanted = _returned(lift, tensor_in, states)
        found = [out for out in candidates if out not in paired and _elements_of(lift, out) == wanted]
        paired |= dict.fromkeys(found[:1], states)
    return paired


def _returned(lift: Lift, tensor_in: str, states: list[str]) -> list[tuple[str, int] | None]:
    """What the elements of an output are that returns these states in the layout of their input."""
    source = lift.env[tensor_in]
    assert isinstance(source, Tensor)
    wanted = np.full(source.table.shape, None, object)
    for state in states:
        place = StateTensor(state, tensor_in, None, lift.entries[state][1])
        part = wanted[place.key]
        part = part if place.batch_axis is None else np.moveaxis(part, place.batch_axis, 0)[0]
        at = np.unravel_index(np.arange(part.size), part.shape)
        for k, element in enumerate(_state_elements(lift, state)):
            part[tuple(axis[k] for axis in at)] = element
    return list(wanted.ravel())


def _with_time(lift: Lift, output: str) -> bool:
    found = lift.env.get(output)
    return isinstance(found, Tensor) and has_time(found.axes)


def _state_elements(lift: Lift, state: str) -> list[tuple[str, int]]:
    return [(state, i) for i in range(lift.states[state].initial.size)]


def _elements_of(lift: Lift, output: str) -> list[tuple[str, int]] | None:
    """Which state each element of an output is the newest value of; None if some element is none's."""
    found = lift.env.get(output)
    if not isinstance(found, Tensor) or not lift.entries:
        return None
    if found.phase == "step" and not lift.single_step:
        return None
    elements = _elements(lift, found.value)
    return None if elements is None else [elements[i] for i in found.table.ravel()]


def _elements(lift: Lift, value: str) -> list[tuple[str, int]] | None:
    states = {value: value} if value in lift.states else {v: s for s, v in lift.updates.items()}
    if value in states:
        return _state_elements(lift, states[value])
    op = next((op for op in _ops(lift) if any(v.name == value for v in writes(op))), None)
    xs = getattr(op, "xs", None)
    if xs is None:
        return None
    parts = [_elements(lift, x) for x in xs]
    return None if None in parts else [key for part in parts if part for key in part]


def _ops(lift: Lift) -> list[Op]:
    return [op for op, _ in lift.steps] + lift.ends


def _output(lift: Lift, source: str) -> str:
    """The value of an output; inner axes of size one are dropped where others remain."""
    found = lift.env.get(source)
    if not isinstance(found, Tensor) or found.phase == "lengths":
        raise StepcellError(
            f"{lift.graph.file}: the output '{source}' does not depend on the input.",
            "leave it out of the file.",
        )
    _learn_batch(lift, found)
    for axis in found.axes:
        if labels(axis) and (len(axis) > 1 or axis not in (("batch",), ("time",))):
            raise StepcellError(
                f"{lift.graph.file}: the output '{source}' has an axis of {' x '.join(map(str, axis))}; "
                "batch, time or inner is allowed.",
                "reshape the output to [batch, time, ...]; the input must reach an LSTM, GRU or RNN.",
            )
    sizes = [inner(axis) for axis in found.axes if not labels(axis)]
    shape = tuple(size for size in sizes if size > 1) or tuple(sizes[:1])
    return materialise(lift, found, shape)


def _learn_batch(lift: Lift, output: Tensor) -> None:
    """After a Scan or Loop over time, an axis that nothing works along is the batch axis."""
    open_labels = [
        axis[0] for axis in output.axes if len(axis) == 1 and isinstance(axis[0], str) and is_open(axis[0])
    ]
    looped = any(node.op in ("Scan", "Loop") for node in lift.graph.nodes)
    if looped and len(open_labels) == 1 and "batch" not in lift.roles.values():
        raise Relabel({open_labels[0]: "batch"})


def _learn_frozen_batch(lift: Lift) -> None:
    """An axis of size one that reshapes dropped before anything told what it is: the batch axis."""
    for source in lift.graph.inputs:
        roles = {axis: lift.roles.get(label(source, axis)) for axis in range(len(source.shape))}
        unknown = [axis for axis, role in roles.items() if role is None and source.shape[axis] == 1]
        if unknown and "batch" not in roles.values() and lift.roles.get(source.name) is None:
            raise Relabel({label(source, unknown[0]): "batch"})


def _source_tensor(lift: Lift, source: str) -> SourceTensor:
    found = lift.env[source]
    assert isinstance(found, Tensor)
    return SourceTensor(
        source, tuple(_kind(axis) for axis in found.axes), tuple(_size(lift, axis) for axis in found.axes)
    )


def _kind(axis: Axis) -> str:
    return labels(axis)[0] if labels(axis) else "inner"


def _size(lift: Lift, axis: Axis) -> int | None:
    return frozen_size(lift.graph, lift.roles, labels(axis)[0]) if labels(axis) else inner(axis)


def _name_outputs(lift: Lift, outputs: list[str], sources: list[str]) -> list[str]:
    """Give outputs the source's names, unless they are states or a recurrent operator's values."""
    made = {v.name: v for op in _ops(lift) if not isinstance(op, Recurrent) for v in writes(op)}
    named: list[str] = []
    for value, source in zip(outputs, sources, strict=True):
        new = identifier(source, "y" if len(sources) == 1 else f"y{len(named)}")
        free = new not in lift.values and outputs.count(value) == 1 and value not in lift.updates.values()
        if value in made and free:
            rename(lift, value, new)
            named.append(new)
        else:
            named.append(value)
    return named


def _drop_dead(lift: Lift, outputs: list[str]) -> None:
    """Keep the operations and states that the outputs depend on."""
    carried = [lift.env[name] for name, role in lift.roles.items() if role == "carried"]
    live = set(outputs) | set(lift.entries) | {state.value for state in carried if isinstance(state, Tensor)}
    before = -1
    while before != len(live):
        before = len(live)
        live.update(value for state, value in lift.updates.items() if state in live)
        for op in reversed(_ops(lift)):
            if any(value.name in live for value in writes(op)):
                live.update(reads(op))
    lift.steps = [(op, d) for op, d in lift.steps if any(v.name in live for v in writes(op))]
    lift.ends = [op for op in lift.ends if any(v.name in live for v in writes(op))]
    kept = {r for op in _ops(lift) for r in reads(op)} | live
    lift.states = {name: state for name, state in lift.states.items() if name in kept}
    lift.updates = {name: value for name, value in lift.updates.items() if name in kept}


def _shorten_names(lift: Lift) -> None:
    """What moved to `finish` gets its first name back, if nothing has that name now."""
    taken = {value.name for op in _ops(lift) for value in writes(op)}
    for name in [value.name for op in lift.ends for value in writes(op)]:
        base = name.removesuffix("_last")
        if base != name and base not in taken:
            rename(lift, name, base)


def _function(lift: Lift, outputs: list[str]) -> Function:
    inputs = tuple(value for value in _input_values(lift))
    stages = cut_stages(lift, inputs, outputs)
    every_step = {name for stage in stages for name in stage.outputs} | {value.name for value in inputs}
    ends = tuple(name for name in outputs if name not in every_step)
    finish = Finish(tuple(lift.ends), ends) if ends else None
    return Function("main", inputs, stages, finish, tuple(outputs))


def _input_values(lift: Lift) -> list[Value]:
    found = []
    for source in lift.graph.inputs:
        lifted = lift.env[source.name]
        if lift.roles.get(source.name) is None and isinstance(lifted, Tensor):
            found.append(lift.values[lifted.value])
    return found


def _source(
    lift: Lift, outputs: tuple[SourceTensor, ...], paired: Mapping[str, list[str]], carried: Mapping[str, str]
) -> Source:
    graph = lift.graph
    inputs = [_source_tensor(lift, source.name) for source in graph.inputs if source.name not in lift.roles]
    out_of = {state: out for out, states in paired.items() for state in states}
    states = [
        StateTensor(state, name, out_of.get(state), index) for state, (name, index) in lift.entries.items()
    ]
    for tensor_in, tensor_out in carried.items():
        source = next(found for found in graph.inputs if found.name == tensor_in)
        found = lift.env[tensor_in]
        assert isinstance(found, Tensor)
        states.append(StateTensor(found.value, tensor_in, tensor_out, _carried_index(lift, source)))
    lengths = lengths_input(lift)
    return Source(
        graph.file,
        graph.sha256,
        graph.kind,
        tuple(inputs),
        outputs,
        tuple(states),
        lengths=lengths,
        shortest=lift.shortest,
        frames_per_step=frames_per_step(lift.roles),
    )


def _carried_index(lift: Lift, source: GraphInput) -> tuple[int | tuple[int, int, int] | None, ...]:
    """All of a state input: None for its batch axis, every other axis whole."""
    roles = [lift.roles.get(label(source, axis)) for axis in range(len(source.shape))]
    sizes = [1 if isinstance(size, str) else size for size in source.shape]
    return tuple(None if role == "batch" else (0, n, 1) for role, n in zip(roles, sizes, strict=True))
