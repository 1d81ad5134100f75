"""From the lifted operations to a Model: outputs and states named, dead operations dropped, stages cut."""

from collections.abc import Mapping
from dataclasses import replace

from stepcell.errors import StepcellError
from stepcell.importers.graph import GraphInput
from stepcell.importers.lift.attention_memory import share_counts
from stepcell.importers.lift.axes import BATCH, Axis, Relabel, extent, inner, is_open, labels
from stepcell.importers.lift.context import Lift, Tensor, materialise
from stepcell.importers.lift.frames import frames_first, frames_of, frames_per_step
from stepcell.importers.lift.lengths import lengths_input
from stepcell.importers.lift.recognise import recognise
from stepcell.importers.lift.rename import rename
from stepcell.importers.lift.returned import all_ops, carry, check_returned, state_outputs_of
from stepcell.importers.lift.roles import frozen_size, label
from stepcell.importers.lift.stages import cut_stages
from stepcell.importers.names import identifier
from stepcell.importers.reroll.split import split_states
from stepcell.ir import Finish, Function, Model, Source, SourceTensor, StateTensor, verify
from stepcell.ir.graph import parameters, reads, writes
from stepcell.ir.ops import Recurrent, Value


def assemble(lift: Lift, name: str, carried: Mapping[str, str]) -> Model:
    """The verified Model of a finished lift."""
    recognise(lift)
    _learn_frozen_batch(lift)
    found = state_outputs_of(lift)
    named = {x: out for x, out in carried.items() if lift.roles.get(x) == "carried"}
    for tensor_in, tensor_out in carried.items():
        if tensor_in in named:
            carry(lift, tensor_in, tensor_out)
        elif tensor_in not in {lift.entries[state][0] for state in found.get(tensor_out, ())}:
            raise StepcellError(
                f"{lift.graph.file}: the output '{tensor_out}' is not what the operators that start at "
                f"'{tensor_in}' leave.",
                "name the output that is, or leave --state out.",
            )
    state_outputs = found | {out: [] for out in named.values()}
    check_returned(lift, state_outputs)
    sources = [out for out in lift.graph.outputs if out not in state_outputs] or list(lift.graph.outputs)
    outputs = [_output(lift, source) for source in sources]
    tensors = tuple(_with_frames(lift, source) for source in sources)
    outputs = _name_outputs(lift, outputs, sources)
    _drop_dead(lift, outputs)
    share_counts(lift)
    _shorten_names(lift)
    function = _function(lift, outputs)
    used = {p for op, _ in lift.steps for p in parameters(op)} | {
        p for op in lift.ends for p in parameters(op)
    }
    weights = {key: array for key, array in lift.weights.items() if key in used}
    source = _source(lift, tensors, state_outputs, named)
    model = Model(name, (function,), tuple(lift.states.values()), weights, source=source)
    return verify(split_states(model))


def _output(lift: Lift, source: str) -> str:
    """The value of an output; inner axes of size one are dropped where others remain."""
    found = lift.env.get(source)
    if not isinstance(found, Tensor) or found.phase == "lengths":
        raise StepcellError(
            f"{lift.graph.file}: the output '{source}' does not depend on the input.",
            "leave it out of the file.",
        )
    if found.phase == "attention":
        raise StepcellError(
            f"{lift.graph.file}: the output '{source}' is attention scores or weights, which are not kept.",
            "leave it out of the file.",
        )
    _learn_batch(lift, found)
    found = frames_first(lift, source, found)
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


def _with_frames(lift: Lift, source: str) -> SourceTensor:
    """An output, and how many frames of it a step has."""
    found = lift.env[source]
    assert isinstance(found, Tensor)
    return replace(_source_tensor(lift, source), frames_per_step=frames_of(found))


def _kind(axis: Axis) -> str:
    return labels(axis)[0] if labels(axis) else "inner"


def _size(lift: Lift, axis: Axis) -> int | None:
    return frozen_size(lift.graph, lift.roles, labels(axis)[0]) if labels(axis) else inner(axis)


def _name_outputs(lift: Lift, outputs: list[str], sources: list[str]) -> list[str]:
    """Give outputs the source's names, unless they are states or a recurrent operator's values."""
    made = {v.name: v for op in all_ops(lift) if not isinstance(op, Recurrent) for v in writes(op)}
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
        for op in reversed(all_ops(lift)):
            if any(value.name in live for value in writes(op)):
                live.update(reads(op))
    lift.steps = [(op, d) for op, d in lift.steps if any(v.name in live for v in writes(op))]
    lift.ends = [op for op in lift.ends if any(v.name in live for v in writes(op))]
    kept = {r for op in all_ops(lift) for r in reads(op)} | live
    lift.states = {name: state for name, state in lift.states.items() if name in kept}
    lift.updates = {name: value for name, value in lift.updates.items() if name in kept}


def _shorten_names(lift: Lift) -> None:
    """What moved to `finish` gets its first name back, if nothing has that name now."""
    taken = {value.name for op in all_ops(lift) for value in writes(op)}
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
        memories=tuple(_memory(lift, x) for x in graph.inputs if x.name in graph.memories),
        lengths=lengths,
        shortest=lift.shortest,
        frames_per_step=frames_per_step(lift.roles),
    )


def _memory(lift: Lift, source: GraphInput) -> StateTensor:
    """An input that holds every step of another function, whole."""
    found = lift.env[source.name]
    assert isinstance(found, Tensor)
    sizes = (extent(axis, lift.sizes) for axis in found.axes)
    kinds = zip(found.axes, sizes, strict=True)
    return StateTensor(
        source.name, source.name, None, tuple(None if a == BATCH else (0, n, 1) for a, n in kinds)
    )


def _carried_index(lift: Lift, source: GraphInput) -> tuple[int | tuple[int, int, int] | None, ...]:
    """All of a state input: None for its batch axis, every other axis whole."""
    roles = [lift.roles.get(label(source, axis)) for axis in range(len(source.shape))]
    sizes = [1 if isinstance(size, str) else size for size in source.shape]
    return tuple(None if role == "batch" else (0, n, 1) for role, n in zip(roles, sizes, strict=True))
