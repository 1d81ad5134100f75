"""Functions that attend to what another function gave at every step: its output becomes a memory.

class Encoder: forward(x) -> {"memory": h [N, T, H], ...}
class Decoder: forward(y, memory [N, T, H], ...)
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.sharing import Part, Port
from stepcell.ir import Function, Model, Stage, State, verify
from stepcell.ir.graph import writes
from stepcell.ir.ops import Append, Count, Value

Axes = tuple[str, ...]


def every_step(part: Part) -> dict[str, Axes]:
    """The outputs that a function gives at every step, and what their axes are."""
    return {tensor.name: tensor.axes for tensor in part.source.outputs if "time" in tensor.axes}


def with_memory(file: str, function: str, part: Part, output: str, rows: int) -> Part:
    """The function that stores an output of every step in a memory, OUTPUT_rows, instead of giving it.

    Raises StepcellError for an output of more than one inner axis.
    """
    model, main = part.model, part.model.main
    value = _given(part, output)
    if len(value.shape) != 1:
        raise StepcellError(
            f"{file}: {function}.{output} is {list(value.shape)} at every step; attention reads vectors.",
            "flatten it.",
        )
    stages = _storing(main, value, f"{output}_rows", rows)
    sources = tuple(tensor for tensor in part.source.outputs if tensor.name != output)
    changed = Function(
        main.name, main.inputs, stages, main.finish, tuple(x for x in main.outputs if x != value.name)
    )
    memory = State(f"{output}_rows", np.zeros((rows, *value.shape)))
    states = (memory, State(f"{memory.name}_count", np.zeros(()), "token"))
    source = replace(part.source, outputs=sources)
    found = replace(model, functions=(changed,), states=(*model.states, *states), source=source)
    return Part(verify(found), part.shapes)


def _value(function: Function, name: str) -> Value:
    made = (value for stage in function.stages for op in stage.ops for value in writes(op))
    return next(value for value in made if value.name == name)


def _storing(function: Function, value: Value, memory: str, rows: int) -> tuple[Stage, ...]:
    """The stages; the one that makes the value stores it, or a later one if that runs backwards."""
    made = next(k for k, stage in enumerate(function.stages) if value.name in _made(stage))
    stages = list(function.stages)
    if stages[made].direction == "backward":
        frames = function.frames_per_step
        stages.append(Stage(f"store_{memory}", (value,), (), (), (), "forward", frames))
        return (*stages[:-1], _appending(stages[-1], value, memory, rows))
    read = {v.name for stage in stages[made + 1 :] for v in stage.inputs}
    outputs = tuple(name for name in stages[made].outputs if name != value.name or name in read)
    stages[made] = _appending(replace(stages[made], outputs=outputs), value, memory, rows)
    return tuple(stages)


def _made(stage: Stage) -> set[str]:
    return {value.name for op in stage.ops for value in writes(op)}


def _appending(stage: Stage, value: Value, memory: str, rows: int) -> Stage:
    count, grown = f"{memory}_count", Value(f"{memory}_next", (rows, *value.shape))
    ops = (
        Append(memory, count, value.name, grown),
        Count(count, Value(f"{count}_next", (), "token")),
    )
    updates = ((memory, grown.name), (count, f"{count}_next"))
    return replace(stage, ops=(*stage.ops, *ops), updates=(*stage.updates, *updates))


def attended(
    file: str,
    function: str,
    inputs: Collection[str],
    parts: Mapping[str, Part],
    links: Sequence[tuple[Port, Port]],
) -> dict[str, Port]:
    """Inputs of a function that an earlier one gives at every step: of the same name, or as the user says.

    Raises StepcellError where they come from several functions, whose steps differ.
    """
    found = {x: port for (inside, x), port in links if inside == function and _is_every_step(parts, port)}
    for other, part in parts.items():
        found |= {x: (other, x) for x in inputs if x in every_step(part) and x not in found}
    if len({other for other, _ in found.values()}) > 1:
        raise StepcellError(
            f"{file}: '{function}' attends to the steps of several functions; those of one are allowed.",
            "give it the steps of one.",
        )
    return found


def is_streamed(model: Model, parts: Mapping[str, Part], memories: Mapping[str, Port]) -> bool:
    """Whether a function takes each of these step by step, as the other function gives it."""
    inputs = {value.name: value.shape for value in model.main.inputs}
    return all(
        inputs.get(x) == _given(parts[function], output).shape for x, (function, output) in memories.items()
    )


def _given(part: Part, output: str) -> Value:
    names = [tensor.name for tensor in part.source.outputs]
    return _value(part.model.main, part.model.main.outputs[names.index(output)])


def _is_every_step(parts: Mapping[str, Part], port: Port) -> bool:
    return port[0] in parts and port[1] in every_step(parts[port[0]])


def remembered(
    file: str, parts: Mapping[str, Part], memories: Mapping[str, Port], reader: Model
) -> dict[str, Part]:
    """The parts, of which one stores what the reader's inputs are."""
    changed = dict(parts)
    for x, (function, output) in memories.items():
        if output in every_step(changed[function]):
            rows = len(reader.state(x).initial)
            changed[function] = with_memory(file, function, changed[function], output, rows)
    return changed
