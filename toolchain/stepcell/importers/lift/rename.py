"""Rename a value everywhere."""

from dataclasses import fields, replace
from typing import Any

from stepcell.importers.lift.context import Lift
from stepcell.ir.ops import Op, Value


def rename(lift: Lift, old: str, new: str) -> None:
    """`old` becomes `new` in every operation that writes or reads it."""
    lift.values[new] = replace(lift.values.pop(old), name=new)
    lift.steps = [(_renamed(op, old, new), direction) for op, direction in lift.steps]
    lift.ends = [_renamed(op, old, new) for op in lift.ends]
    lift.updates = {state: new if value == old else value for state, value in lift.updates.items()}


def _renamed(op: Op, old: str, new: str) -> Op:
    names = [field.name for field in fields(op)]
    changed: dict[str, Any] = {name: _replaced(getattr(op, name), old, new) for name in names}
    return replace(op, **changed)


def _replaced(part: object, old: str, new: str) -> object:
    match part:
        case Value() if part.name == old:
            return replace(part, name=new)
        case str() if part == old:
            return new
        case tuple() if old in part:
            return tuple(new if item == old else item for item in part)
        case _:
            return part
