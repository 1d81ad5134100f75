"""Which outputs of the source graph hold the next states that its state inputs brought in."""

from collections.abc import Mapping
from math import prod

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.lift.axes import Relabel
from stepcell.importers.lift.context import Lift, Tensor, has_time, materialise
from stepcell.ir import StateTensor
from stepcell.ir.graph import writes
from stepcell.ir.ops import Op

KEEPS_A_STATE = "keeps a state"
"""A role of no axis: the file takes a state that it does not return, so one call is a whole sequence."""


def check_returned(lift: Lift, returned: Mapping[str, list[str]]) -> None:
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


def carry(lift: Lift, tensor_in: str, tensor_out: str) -> None:
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


def state_outputs_of(lift: Lift) -> dict[str, list[str]]:
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
    op = next((op for op in all_ops(lift) if any(v.name == value for v in writes(op))), None)
    xs = getattr(op, "xs", None)
    if xs is None:
        return None
    parts = [_elements(lift, x) for x in xs]
    return None if None in parts else [key for part in parts if part for key in part]


def all_ops(lift: Lift) -> list[Op]:
    """The operations of the steps, then those of the end."""
    return [op for op, _ in lift.steps] + lift.ends
