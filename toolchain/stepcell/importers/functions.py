"""Several functions in one Model: each imported for itself, then joined by the states that they share."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.names import is_identifier
from stepcell.importers.reroll.trace import substituted
from stepcell.importers.sharing import Part, Port, shared_memories, shared_states, state_names
from stepcell.ir import Finish, Function, Model, Source, Stage, State, verify
from stepcell.ir.graph import writes
from stepcell.ir.model import FloatArray
from stepcell.ir.ops import Op, Value

_PARAMETERS = frozenset(
    {
        "input_weights",
        "recurrent_weights",
        "input_bias",
        "recurrent_bias",
        "peepholes",
        "projection",
        "weights",
        "bias",
        "gain",
        "table",
    }
)
"""Fields of operations that name parameters."""


def join(
    name: str,
    file: str,
    parts: Mapping[str, Part],
    links: Sequence[tuple[Port, Port]] = (),
    memories: Sequence[tuple[Port, Port]] = (),
) -> Model:
    """One Model of several functions, in order; `links` are (state input of one, state of another).

    memories: (input that holds every step of another function, output of that function), stored already.

    Raises StepcellError for a link that names no states, and for states of different size or start.
    """
    for function in parts:
        if not is_identifier(function):
            raise StepcellError(
                f"{file}: the function name '{function}' is not a C identifier.",
                "use letters, digits and underscores.",
            )
    names = state_names(parts, [*shared_states(file, parts, links), *shared_memories(memories)])
    clashing = _clashing_outputs(parts)
    joined = [_renamed(function, part.model, names, clashing) for function, part in parts.items()]
    weights = _merged({key: array for model in joined for key, array in model.weights.items()})
    functions = tuple(_renamed_function(m.main, m.main.name, weights.old_to_new) for m in joined)
    sources = tuple((f, m.source) for f, m in zip(parts, joined, strict=True) if m.source is not None)
    digest = hashlib.sha256("".join(source.sha256 for _, source in sources).encode()).hexdigest()
    kind = sources[0][1].kind
    model = Model(
        name,
        functions,
        _merged_states(file, joined),
        weights.arrays,
        source=Source(file, digest, kind, parts=sources),
    )
    return verify(model)


def _clashing_outputs(parts: Mapping[str, Part]) -> set[str]:
    often = [name for part in parts.values() for name in part.model.main.outputs]
    return {name for name in often if often.count(name) > 1}


def _renamed(function: str, model: Model, states: Mapping[Port, str], clashing: set[str]) -> Model:
    """The function's Model with names that no other function has."""
    main = model.main
    kept = {value.name for value in main.inputs} | (set(main.outputs) - clashing)
    ops = [op for stage in main.stages for op in stage.ops] + list(main.finish.ops if main.finish else ())
    made = {value.name for op in ops for value in writes(op)}
    names = {name: f"{function}_{name}" for name in made - kept}
    names |= {state.name: states[function, state.name] for state in model.states}
    names |= {name: f"{function}_{name}" for name in model.weights}
    source = model.source
    assert source is not None
    tensors, memories = (
        tuple(replace(tensor, state=names[tensor.state]) for tensor in found)
        for found in (source.states, source.memories)
    )
    return replace(
        model,
        functions=(_renamed_function(main, function, names),),
        states=tuple(replace(state, name=names[state.name]) for state in model.states),
        weights={names[name]: array for name, array in model.weights.items()},
        source=replace(source, states=tensors, memories=memories),
    )


def _renamed_function(function: Function, name: str, names: Mapping[str, str]) -> Function:
    def new(old: str) -> str:
        return names.get(old, old)

    def ops(old: tuple[Op, ...]) -> tuple[Op, ...]:
        return tuple(_with_parameters(substituted(op, names), names) for op in old)

    stages = tuple(
        Stage(
            stage.name,
            tuple(_renamed_value(value, names) for value in stage.inputs),
            ops(stage.ops),
            tuple((new(state), new(value)) for state, value in stage.updates),
            tuple(map(new, stage.outputs)),
            stage.direction,
            stage.frames_per_step,
        )
        for stage in function.stages
    )
    finish = function.finish and Finish(ops(function.finish.ops), tuple(map(new, function.finish.outputs)))
    return Function(name, function.inputs, stages, finish, tuple(map(new, function.outputs)))


def _renamed_value(value: Value, names: Mapping[str, str]) -> Value:
    return replace(value, name=names.get(value.name, value.name))


@dataclass(frozen=True, eq=False)
class _Weights:
    arrays: dict[str, FloatArray]
    old_to_new: dict[str, str]


def _merged(weights: Mapping[str, FloatArray]) -> _Weights:
    """Equal arrays are one parameter: functions that share a layer or an embedding share its numbers."""
    first: dict[tuple[tuple[int, ...], bytes], str] = {}
    names = {key: first.setdefault((array.shape, array.tobytes()), key) for key, array in weights.items()}
    return _Weights({key: weights[key] for key in dict.fromkeys(names.values())}, names)


def _with_parameters(op: Op, names: Mapping[str, str]) -> Op:
    """The operation with its parameters under other names."""
    own = {field.name: getattr(op, field.name) for field in fields(op) if field.name in _PARAMETERS}
    return replace(op, **{field: names.get(name, name) for field, name in own.items() if name is not None})


def _merged_states(file: str, models: Sequence[Model]) -> tuple[State, ...]:
    """Every state once. A function that takes it as an input starts where the others do."""
    states: dict[str, State] = {}
    for model in models:
        assert model.source is not None
        taken = {tensor.state for tensor in model.source.states}
        for state in model.states:
            known = states.setdefault(state.name, state)
            if known.initial.shape != state.initial.shape or known.dtype != state.dtype:
                raise StepcellError(
                    f"{file}: the shared state '{state.name}' is {list(known.initial.shape)} in one function "
                    f"and {list(state.initial.shape)} in another.",
                    "give states that are not shared different names.",
                )
            if state.name not in taken and not np.array_equal(known.initial, state.initial):
                raise StepcellError(
                    f"{file}: the shared state '{state.name}' starts at other numbers in each function.",
                    "start it at zeros in both.",
                )
    return tuple(states.values())
