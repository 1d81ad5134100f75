"""States that functions share, from how their modules name and return them.

Two functions share a state where both take an input of the same name as a state, where one returns its
last state under the name of the other's state input, or where the user says so (--state decode.h=encode.h).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepcell.errors import StepcellError
from stepcell.importers.reroll.trace import Trace
from stepcell.ir import Model, Source, StateTensor

Shapes = Mapping[str, tuple[int, ...]]
Port = tuple[str, str]
"""(function, input or output)"""
_Element = tuple[str, int]
"""(state, which of its numbers)"""


@dataclass(frozen=True, eq=False)
class Part:
    """One function: its Model, and the shapes of the example that it was imported with, by input."""

    model: Model
    shapes: Shapes

    @property
    def source(self) -> Source:
        """Where it came from."""
        assert self.model.source is not None
        return self.model.source


def shared_states(
    file: str, parts: Mapping[str, Part], links: Sequence[tuple[Port, Port]]
) -> list[tuple[Port, Port, list[tuple[str, str]]]]:
    """(state input, what it is elsewhere, pairs of states): every sharing."""
    found = []
    for inside, outside in [*links, *_of_equal_names(file, parts, {inside for inside, _ in links})]:
        mine, theirs = _states_of(file, parts, inside), _states_of(file, parts, outside)
        if len(mine) != len(theirs) or not mine:
            raise StepcellError(
                f"{file}: {'.'.join(inside)} and {'.'.join(outside)} are {_sizes(parts, inside, mine)} and "
                f"{_sizes(parts, outside, theirs)} state numbers, in an order of their own.",
                "link states of the same layers, or give them different names.",
            )
        found.append((inside, outside, list(zip(mine, theirs, strict=True))))
    return found


def shared_memories(
    memories: Sequence[tuple[Port, Port]],
) -> list[tuple[Port, Port, list[tuple[str, str]]]]:
    """The sharings of memories and of how many rows they have."""
    return [
        ((function, f"{x}{part}"), (other, output), [(f"{x}{part}", f"{output}_rows{part}")])
        for (function, x), (other, output) in memories
        for part in ("", "_count")
    ]


def _sizes(parts: Mapping[str, Part], port: Port, states: list[str]) -> str:
    model = parts[port[0]].model
    return " + ".join(str(model.state(state).initial.size) for state in states) or "no"


def _of_equal_names(file: str, parts: Mapping[str, Part], linked: set[Port]) -> Iterator[tuple[Port, Port]]:
    """A state input that an earlier function has under the same name, as a state input or its last state."""
    for k, (function, part) in enumerate(parts.items()):
        for tensor in dict.fromkeys(state.tensor_in for state in part.source.states):
            for earlier in list(parts)[:k]:
                if (function, tensor) in linked:
                    continue
                _require_state(file, (function, tensor), (earlier, parts[earlier]))
                if _has_state(parts[earlier], tensor):
                    yield (function, tensor), (earlier, tensor)
                    break


def _require_state(file: str, inside: Port, outside: tuple[str, Part]) -> None:
    """Refuse a state input that an earlier function's output has the name of, if that computes it."""
    (function, tensor), (earlier, part) = inside, outside
    named = any(tensor == output.name for output in part.source.outputs)
    if named and not _has_state(part, tensor) and "time" not in _axes(part, tensor):
        raise StepcellError(
            f"{file}: {function}.{tensor} has the name of {earlier}.{tensor}, which is computed and no last "
            "state of a recurrent layer, so the two cannot share it.",
            "return the state of the layer as it is, or rename one.",
        )


def _axes(part: Part, tensor: str) -> tuple[str, ...]:
    return next(output.axes for output in part.source.outputs if output.name == tensor)


def _has_state(part: Part, tensor: str) -> bool:
    if any(tensor == state.tensor_in for state in part.source.states):
        return True
    is_output = any(tensor == output.name for output in part.source.outputs)
    return is_output and _whole_states(part, _returned(part, tensor)) is not None


def _states_of(file: str, parts: Mapping[str, Part], port: Port) -> list[str]:
    """The states that a state input holds, or that an output returns, in the order of its elements."""
    function, tensor = port
    if function not in parts:
        raise StepcellError(
            f"{file}: --state names the function '{function}'; it has {', '.join(parts)}.",
            "write --state FUNCTION.INPUT=FUNCTION.STATE.",
        )
    part = parts[function]
    by_output = {s.tensor_out: s.tensor_in for s in part.source.states if s.tensor_out}
    tensor = by_output.get(tensor, tensor)
    if any(tensor == state.tensor_in for state in part.source.states):
        elements: Sequence[_Element | None] = _taken(part, tensor)
    elif any(tensor == output.name for output in part.source.outputs):
        elements = _returned(part, tensor)
    else:
        ports = [s.tensor_in for s in part.source.states] + [o.name for o in part.source.outputs]
        raise StepcellError(
            f"{file}: '{function}' has no state '{tensor}'; it has {', '.join(dict.fromkeys(ports))}.",
            "write --state FUNCTION.INPUT=FUNCTION.STATE.",
        )
    states = _whole_states(part, elements)
    if states is None:
        raise StepcellError(
            f"{file}: {function}.{tensor} is not made of whole states.",
            "let one function return the state of its recurrent layers as it is, and the other take it.",
        )
    return states


def _taken(part: Part, tensor: str) -> list[_Element | None]:
    """What each number of a state input is (of its first sequence)."""
    wanted: NDArray[np.object_] = np.full(part.shapes[tensor], None, object)
    for state in part.source.states:
        if state.tensor_in == tensor:
            _place(wanted, state, part.model.state(state.state).initial.size)
    return [element for element in wanted.ravel() if element is not None]


def _place(wanted: NDArray[np.object_], state: StateTensor, size: int) -> None:
    place = wanted[state.key]
    place = place if state.batch_axis is None else np.moveaxis(place, state.batch_axis, 0)[0]
    for k, index in zip(range(size), np.ndindex(place.shape), strict=True):
        place[index] = (state.state, k)


def _returned(part: Part, tensor: str) -> list[_Element | None]:
    """What each number of an output is once the sequence has ended; None where it is no state."""
    function = part.model.main
    names = [output.name for output in part.source.outputs]
    value = function.outputs[names.index(tensor)]
    ops = function.finish.ops if function.finish is not None else ()
    states = [state.value for state in part.model.states]
    trace = Trace(ops, states)
    if value not in trace.values:
        return [None]
    known = {state.name for state in states}
    owners, places = trace.origins(value)
    return [(str(n), int(k)) if n in known else None for n, k in zip(owners, places, strict=True)]


def _whole_states(part: Part, elements: Sequence[_Element | None]) -> list[str] | None:
    """The states of which the elements are all numbers, one state after the other; None if they are not."""
    found: list[str] = []
    at = 0
    while at < len(elements):
        first = elements[at]
        if first is None:
            return None
        size = part.model.state(first[0]).initial.size
        if list(elements[at : at + size]) != [(first[0], k) for k in range(size)]:
            return None
        found.append(first[0])
        at += size
    return found


def state_names(
    parts: Mapping[str, Part], shared: list[tuple[Port, Port, list[tuple[str, str]]]]
) -> dict[Port, str]:
    """(function, state) -> the joined model's name of it: what is shared has the name of the state input."""
    names = {(f, s.name): f"{f}_{s.name}" for f, part in parts.items() for s in part.model.states}
    taken = {name for part in parts.values() for name in _values(part)}
    for (function, tensor), (other, _), pairs in shared:
        for k, (mine, theirs) in enumerate(pairs):
            new = tensor if len(pairs) == 1 else f"{tensor}_{k}"
            new = f"{new}_state" if new in taken else new
            old = {names[function, mine], names[other, theirs]}
            names = {port: new if name in old else name for port, name in names.items()}
    return names


def _values(part: Part) -> set[str]:
    """The names of inputs and outputs that are no states: they stay as they are."""
    main = part.model.main
    names = {value.name for value in main.inputs} | set(main.outputs)
    return names - {state.name for state in part.model.states}
