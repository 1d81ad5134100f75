"""The number of the step inside a Loop: how often the loop runs, and what it reads at that number."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stepcell.importers.graph import Body, Node, Unsupported
from stepcell.importers.lift.attributes import Operands, axis_of
from stepcell.importers.lift.axes import Relabel
from stepcell.importers.lift.context import (
    Lift,
    Lifted,
    Tensor,
)
from stepcell.importers.lift.fold import fold
from stepcell.importers.lift.loop_body import PLAIN, at_one_step

STEP = 2**40 + 15
"""The number of the step inside a Loop: arithmetic with it stays recognisable."""
_LONGEST = 2**15


def is_counter(start: Lifted | None) -> bool:
    """Whether a Loop starts to count there: an integer."""
    return isinstance(start, np.ndarray | np.generic) and start.dtype.kind == "i" and start.size == 1


def check_trips(lift: Lift, body: Body, operands: Operands) -> None:
    """The loop has to end after the last step of the sequence that it reads."""
    trips = _trips(lift, body, operands)
    if "time" not in lift.roles.values() or trips != lift.sizes["time"]:
        raise Unsupported(
            f"runs {trips} times, which is not the number of steps of a sequence that it reads",
            PLAIN,
        )


def _trips(lift: Lift, body: Body, operands: Operands) -> int:
    """How often the body runs: the trip count, or until its condition, computed step by step, is false."""
    most, first = (None if operand is None else _number(operand) for operand in operands[:2])
    limit = _LONGEST if most is None else min(int(most), _LONGEST)
    if first is not None and not first:
        return 0
    for step in range(limit):
        if not _goes_on(lift, body, operands, step):
            return step + 1
    return limit


def _number(operand: Lifted) -> int:
    if isinstance(operand, Tensor) or operand.size != 1:
        raise Unsupported(
            "runs as often as its input says; a constant or the number of steps is allowed", PLAIN
        )
    return int(operand.ravel()[0])


def _goes_on(lift: Lift, body: Body, operands: Operands, step: int) -> bool:
    """The condition after a step, from the integers alone that the body computes."""
    env: dict[str, Lifted] = {body.inputs[0]: np.asarray(step), body.inputs[1]: np.asarray(True)}
    for name, start in zip(body.inputs[2:], operands[2:], strict=True):
        if is_counter(start):
            env[name] = np.asarray(start) + step
    wanted = {body.outputs[0]}
    needed: list[Node] = []
    for node in reversed(body.nodes):
        if wanted.intersection(node.outputs):
            wanted.update(node.inputs)
            needed.append(node)
    for node in reversed(needed):
        found = [env.get(name, lift.env.get(name)) if name else None for name in node.inputs]
        if any(isinstance(operand, Tensor) for operand in found):
            made: Sequence[Lifted] = [lift.env[name] for name in node.outputs]
        else:
            made = fold(node, found) or []
        env.update(zip(node.outputs, made, strict=False))
    result = env.get(body.outputs[0], lift.env.get(body.outputs[0]))
    if result is None or isinstance(result, Tensor):
        raise Unsupported("goes on as long as its data say; a fixed number of steps is allowed", PLAIN)
    return bool(np.all(result))


def at_step(lift: Lift, node: Node, operands: Operands) -> Tensor | None:
    """Gather or Slice at the number of the step; None for any other."""
    x = operands[0]
    if lift.loop_role is None or not isinstance(x, Tensor) or node.op not in ("Gather", "Slice"):
        return None
    if any(isinstance(operand, Tensor) for operand in operands[1:]):
        return None
    if node.op == "Gather":
        starts, keep = np.asarray(operands[1]), np.asarray(operands[1]).ndim > 0
        axis = int(node.attributes.get("axis", 0))
    else:
        starts, keep = np.asarray(operands[1]), True
        axes = np.arange(starts.size) if len(operands) < 4 or operands[3] is None else np.asarray(operands[3])
        axis = int(axes.ravel()[0])
    if starts.size != 1 or abs(int(starts.ravel()[0])) < STEP // 2:
        return None
    index = int(starts.ravel()[0])
    if node.op == "Slice" and int(np.asarray(operands[2]).ravel()[0]) != index + 1:
        raise Unsupported("slices more than the step's own frame", PLAIN)
    found = at_one_step(lift, x, axis)
    _check_index(lift, index)
    if not keep:
        return found
    at = axis_of(axis, len(x.axes))
    return replace(
        found, table=np.expand_dims(found.table, at), axes=(*found.axes[:at], (1,), *found.axes[at:])
    )


def _check_index(lift: Lift, index: int) -> None:
    direction = {STEP: "forward", lift.sizes["time"] - 1 - STEP: "backward"}.get(index)
    assert lift.loop_role is not None
    if direction is None:
        raise Unsupported("reads another frame than the step's own", PLAIN)
    if lift.roles.get(lift.loop_role, "forward") != direction:
        raise Relabel({lift.loop_role: direction})
