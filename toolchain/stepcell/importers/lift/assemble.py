"""From the lifted operations to a Model: outputs and states named, dead operations dropped, stages cut."""

from collections.abc import Mapping
from math import prod

from stepcell.errors import StepcellError
from stepcell.importers.lift.axes import Axis, inner, labels
from stepcell.importers.lift.context import Lift, Tensor, has_time, materialise
from stepcell.importers.lift.rename import rename
from stepcell.importers.lift.roles import frozen_size, label
from stepcell.importers.lift.stages import cut_stages
from stepcell.importers.names import identifier
from stepcell.ir import Finish, Function, Model, Source, SourceTensor, StateTensor, verify
from stepcell.ir.ops import Op, Recurrent, Value, parameters, reads, writes


def assemble(lift: Lift, name: str, carried: Mapping[str, str]) -> Model:
    """The verified Model of a finished lift."""
    for tensor_in, tensor_out in carried.items():
        _carry(lift, tensor_in, tensor_out)
    state_outputs = _state_outputs(lift) | {out: [] for out in carried.values()}
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
    source = _source(lift, tensors, state_outputs, carried)
    return verify(Model(name, (function,), tuple(lift.states.values()), weights, source=source))


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
    for states in brought.values():
        wanted = [key for state in states for key in _state_elements(lift, state)]
        found = [out for out in candidates if out not in paired and _elements_of(lift, out) == wanted]
        paired |= dict.fromkeys(found[:1], states)
    return paired


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
    if not isinstance(found, Tensor):
        raise StepcellError(
            f"{lift.graph.file}: the output '{source}' does not depend on the input.",
            "leave it out of the file.",
        )
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
    live = set(outputs) | set(lift.entries) | {s for s, role in lift.roles.items() if role == "carried"}
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
        roles = [lift.roles.get(label(source, axis)) for axis in range(len(source.shape))]
        upto = roles.index("batch") + 1 if "batch" in roles else 0
        found = lift.env[tensor_in]
        assert isinstance(found, Tensor)
        states.append(StateTensor(found.value, tensor_in, tensor_out, _carried_index(roles[:upto])))
    return Source(graph.file, graph.sha256, graph.kind, tuple(inputs), outputs, tuple(states))


def _carried_index(roles: list[str | None]) -> tuple[int | None, ...]:
    return tuple(None if role == "batch" else 0 for role in roles)
