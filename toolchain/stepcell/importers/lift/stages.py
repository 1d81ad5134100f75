"""Cutting the step graph into stages: each runs over the sequence once, in one direction.

Stages alternate: even ones run forwards, odd ones backwards. An operation belongs to the first stage
of its direction that comes no earlier than what it reads; attention to all steps comes after the stage
that stores them.
"""

from collections.abc import Iterable

from stepcell.importers.lift.context import Direction, Lift
from stepcell.importers.lift.frames import frames_per_step
from stepcell.ir import Stage
from stepcell.ir.graph import reads, writes
from stepcell.ir.ops import Append, Attend, Op, Value


def cut_stages(lift: Lift, inputs: tuple[Value, ...], outputs: Iterable[str]) -> tuple[Stage, ...]:
    """The stages of a lift, in order, empty ones left out."""
    number, owner = _numbers(lift)
    ops: dict[int, list[Op]] = {}
    for (op, _), stage in zip(lift.steps, number, strict=True):
        ops.setdefault(stage, []).append(op)
    for state, value in lift.updates.items():
        ops.setdefault(_storing_stage(lift, state, value, owner), [])
    known = {value.name: value for value in inputs}
    return tuple(_stage(lift, n, ops[n], owner, known, set(outputs)) for n in sorted(ops))


def _numbers(lift: Lift) -> tuple[list[int], dict[str, int]]:
    """The stage of every operation and of every value."""
    owner: dict[str, int] = {}
    number: list[int] = []
    for op, direction in lift.steps:
        earliest = max((_earliest(lift, op, name, owner) for name in reads(op)), default=0)
        if isinstance(op, Append):  # its rows are counted in the same stage
            owner[op.count] = _next(earliest, direction)
        stage = _next(earliest, direction)
        number.append(stage)
        owner.update({value.name: stage for value in writes(op)})
    return number, owner


def stage_of(lift: Lift, value: str) -> int:
    """The number of the stage that makes a value; 0 for an input or a state."""
    return _numbers(lift)[1].get(value, 0)


def _earliest(lift: Lift, op: Op, name: str, owner: dict[str, int]) -> int:
    """The stage from which on an operation can read a value; attention reads memories that are full."""
    if isinstance(op, Attend) and name in lift.states and name in lift.updates:
        return owner.get(lift.updates[name], 0) + 1
    return owner.get(name, 0)


def _next(earliest: int, direction: Direction) -> int:
    parity = 0 if direction == "forward" else 1
    return earliest + (earliest + parity) % 2


def _stage(
    lift: Lift, n: int, ops: list[Op], owner: dict[str, int], inputs: dict[str, Value], outputs: set[str]
) -> Stage:
    made = {value.name for op in ops for value in writes(op)}
    storing = {state: _storing_stage(lift, state, value, owner) for state, value in lift.updates.items()}
    updates = tuple((s, v) for s, v in lift.updates.items() if storing[s] == n)
    needed = {name for op in ops for name in reads(op)} | {value for _, value in updates}
    outside = needed - made - set(lift.states)
    read = tuple(lift.values[name] for name in dict.fromkeys([*inputs, *lift.values]) if name in outside)
    later = {r for op, _ in lift.steps for r in reads(op) if owner[writes(op)[0].name] > n}
    later |= {value for state, value in lift.updates.items() if storing[state] > n}
    leaving = tuple(v.name for op in ops for v in writes(op) if v.name in later | outputs)
    direction: Direction = "backward" if n % 2 else "forward"
    name = direction + (str(n // 2 + 1) if n > 1 else "")
    return Stage(name, read, tuple(ops), updates, leaving, direction, frames_per_step(lift.roles))


def _storing_stage(lift: Lift, state: str, value: str, owner: dict[str, int]) -> int:
    """The stage that stores a value in a state: its own, unless a forward state keeps a backward value."""
    stage = owner.get(value, 0)
    own = any(state in reads(op) and owner[writes(op)[0].name] == stage for op, _ in lift.steps)
    return stage if own else _next(stage, "forward")
