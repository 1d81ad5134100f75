"""From every step to once a sequence: the last step, the mean, the extremes and the sum over time."""

from dataclasses import replace
from math import prod

import numpy as np

from stepcell.importers.graph import Unsupported
from stepcell.importers.lift.context import Lift, Tensor, at_end, flat, inner_shape
from stepcell.importers.lift.lengths import refuse_padding
from stepcell.ir.graph import reads, writes
from stepcell.ir.operators import Operator
from stepcell.ir.ops import (
    Activate,
    ArgMax,
    Binary,
    Concat,
    Constant,
    Count,
    Dense,
    Mean,
    Normalize,
    Op,
    Reduce,
    Take,
    Value,
)

LOWEST = float(np.finfo(np.float32).min)
"""Where a running maximum starts: below every float32."""


def last(lift: Lift, found: Tensor) -> Tensor:
    """The tensor at the last step."""
    refuse_padding(lift)
    if lift.single_step:
        return replace(at_end(found, found.value), phase=found.phase)
    return at_end(found, _at_last_step(lift, found.value) or _remember(lift, found.value))


def mean(lift: Lift, found: Tensor) -> Tensor:
    """The mean over all steps: a running sum and a count, divided in `finish`."""
    value, shape = _running(lift, found)
    name = lift.fresh("mean")
    total, count = f"{name}_sum", f"{name}_count"
    lift.emit(Binary(total, value, Value(f"{total}_next", shape), "add"), "step")
    lift.add_state(total, np.zeros(shape), f"{total}_next")
    lift.emit(Count(count, Value(f"{count}_next", (), "token")), "step")
    lift.add_state(count, np.zeros(()), f"{count}_next", dtype="token")
    lift.emit(Mean(total, count, Value(name, shape)), "end")
    return _reduced(found, name)


def maximum(lift: Lift, found: Tensor) -> Tensor:
    """The maximum over all steps: a running maximum that `finish` reads."""
    return _folded(lift, found, "max", LOWEST)


def minimum(lift: Lift, found: Tensor) -> Tensor:
    """The minimum over all steps: a running minimum that `finish` reads."""
    return _folded(lift, found, "min", -LOWEST)


def total(lift: Lift, found: Tensor) -> Tensor:
    """The sum over all steps: a running sum that `finish` reads."""
    return _folded(lift, found, "add", 0.0)


def _folded(lift: Lift, found: Tensor, operator: Operator, start: float) -> Tensor:
    """A state that takes in every step by an operator, from `start` on."""
    value, shape = _running(lift, found)
    name = lift.fresh("sum" if operator == "add" else operator)
    lift.emit(Binary(name, value, Value(f"{name}_next", shape), operator), "step")
    lift.add_state(name, np.full(shape, start), f"{name}_next")
    return _reduced(found, name)


def _running(lift: Lift, found: Tensor) -> tuple[str, tuple[int, ...]]:
    refuse_padding(lift)
    if lift.single_step or found.phase != "step":
        raise Unsupported(
            "reduces over time, but its input exists once a sequence", "reduce over one axis less."
        )
    value = flat(lift, found)
    return value, lift.values[value].shape


def _reduced(found: Tensor, name: str) -> Tensor:
    shape = inner_shape(found.axes)
    return at_end(replace(found, table=np.arange(prod(shape)).reshape(shape)), name)


def _at_last_step(lift: Lift, value: str) -> str | None:
    """A state or a value of `finish` equal to the last `value`, where states alone determine it."""
    for state, update in lift.updates.items():
        if update == value and not _is_backward(lift, value):
            return state
    if ("last", value) in lift.made:
        return lift.made["last", value]
    op = _producer(lift, value)
    moved = None if op is None else _move(lift, op)
    if moved is not None:
        lift.made["last", value] = moved
    return moved


def _producer(lift: Lift, value: str) -> Op | None:
    return next((op for op, _ in lift.steps if any(made.name == value for made in writes(op))), None)


def _is_backward(lift: Lift, value: str) -> bool:
    return any(d == "backward" and any(v.name == value for v in writes(op)) for op, d in lift.steps)


def _move(lift: Lift, op: Op) -> str | None:
    """Repeat a stateless operation in `finish`, so that a last-step head runs once a sequence."""
    if not isinstance(op, Dense | Activate | Reduce | Normalize | ArgMax | Take | Binary | Concat | Constant):
        return None
    ends = {name: _at_last_step(lift, name) for name in reads(op)}
    if None in ends.values():
        return None
    made = replace(op.y, name=f"{op.y.name}_last")
    lift.emit(_reading(replace(op, y=made), {name: end for name, end in ends.items() if end}), "end")
    return made.name


def _reading(op: Op, ends: dict[str, str]) -> Op:
    """The operation with its operands exchanged."""
    match op:
        case Dense() | Activate() | Reduce() | Normalize() | ArgMax() | Take():
            return replace(op, x=ends[op.x])
        case Binary():
            return replace(op, a=ends[op.a], b=ends[op.b])
        case Concat():
            return replace(op, xs=tuple(ends[x] for x in op.xs))
        case _:
            return op


def _remember(lift: Lift, value: str) -> str:
    """A state that holds the newest `value`."""
    name = lift.fresh("last")
    lift.add_state(name, np.zeros(lift.values[value].shape), value)
    return name
