"""Cutting the step graph into stages: each runs over the sequence once, in one direction.

Stages alternate: even ones run forwards, odd ones backwards. An operation belongs to the first stage
of its direction that comes no earlier than what it reads.
"""

from collections.abc import Iterable

from stepcell.importers.lift.context import Direction, Lift
from stepcell.importers.lift.frames import frames_per_step
from stepcell.ir import Stage
from stepcell.ir.ops import Op, Value, reads, writes


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
        earliest = max((owner.get(name, 0) for name in reads(op)), default=0)
        stage = _next(earliest, direction)
        number.append(stage)
        owner.update({value.name: stage for value in writes(op)})
    return number, owner


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
