"""Scan and Loop over time: the body is one step, what it carries are states."""

import numpy as np

from stepcell.importers.graph import Body, Node, Unsupported
from stepcell.importers.lift.attributes import Operands
from stepcell.importers.lift.context import (
    Direction,
    Known,
    Lift,
    Lifted,
    Tensor,
)
from stepcell.importers.lift.loop_body import (
    PLAIN,
    at_one_step,
    enter,
    finish_state,
    over_time,
    run_body,
    start_state,
)
from stepcell.importers.lift.loop_trips import STEP, check_trips, is_counter


def scan(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Scan (opset 9 and later): final states, then every step's outputs."""
    body = node.attributes.get("body")
    count = int(node.attributes.get("num_scan_inputs", 0))
    states = len(operands) - count
    if not isinstance(body, Body) or not 0 < count <= len(operands) or len(body.inputs) != len(operands):
        raise Unsupported("has a body that does not fit its inputs", "check the file.")
    direction = _direction(node, count, len(body.outputs) - states)
    axes = _ints(node, "scan_input_axes", count)
    own = enter(lift, node, body, direction)
    names = [start_state(lift, operands[k], f"{node.op.lower()}{k + 1}") for k in range(states)]
    for name, body_input in zip(names, own.inputs, strict=False):
        lift.env[body_input] = name
    for k in range(count):
        lift.env[own.inputs[states + k]] = at_one_step(lift, operands[states + k], axes[k])
    run_body(lift, own)
    finals = [finish_state(lift, names[k], lift.env[own.outputs[k]]) for k in range(states)]
    out_axes = _ints(node, "scan_output_axes", len(own.outputs) - states)
    yields = zip(own.outputs[states:], out_axes, strict=True)
    every = [over_time(lift.env[name], axis) for name, axis in yields]
    lift.direction = "forward"
    return [*finals, *every]


def _ints(node: Node, name: str, count: int) -> list[int]:
    found = [int(value) for value in node.attributes.get(name, [0] * count)]
    if len(found) != count:
        raise Unsupported(f"has {len(found)} {name} for {count} tensors", "check the file.")
    return found


def _direction(node: Node, inputs: int, outputs: int) -> Direction:
    found = {
        *_ints(node, "scan_input_directions", inputs),
        *_ints(node, "scan_output_directions", outputs),
    }
    if len(found) > 1:
        raise Unsupported("runs some tensors forwards and others backwards", PLAIN)
    return "backward" if found == {1} else "forward"


def loop(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Loop over all steps, in order or in reverse: final states, then every step's outputs."""
    body = node.attributes.get("body")
    starts = operands[2:]
    if not isinstance(body, Body) or len(body.inputs) != len(starts) + 2 or len(body.outputs) <= len(starts):
        raise Unsupported("has a body that does not fit its inputs", "check the file.")
    role = f"{node.outputs[0]} runs"
    backward = lift.roles.get(role) == "backward"
    own = enter(lift, node, body, "backward" if backward else "forward")
    lift.loop_role = role
    lift.env[own.inputs[0]], lift.env[own.inputs[1]] = np.asarray(STEP), np.asarray(True)
    states: list[Tensor | None] = []
    for k, start in enumerate(starts):
        counter = is_counter(start)
        states.append(None if counter else start_state(lift, start, f"loop{k + 1}"))
        lift.env[own.inputs[2 + k]] = states[k] or np.asarray(start) + STEP
    run_body(lift, own)
    check_trips(lift, own, operands)
    finals: list[Lifted] = []
    for start, state, name in zip(starts, states, own.outputs[1:], strict=False):
        found = lift.env[name]
        if state is None:
            _check_counter(found, np.asarray(start))
            finals.append(np.asarray(start) + lift.sizes["time"])
        else:
            finals.append(finish_state(lift, state, found))
    every: list[Lifted] = [over_time(lift.env[name], 0) for name in own.outputs[1 + len(starts) :]]
    lift.direction, lift.loop_role = "forward", None
    return [*finals, *every]


def _check_counter(found: Lifted, start: Known) -> None:
    if isinstance(found, Tensor) or not np.array_equal(found, start + STEP + 1):
        raise Unsupported("carries an integer that does not count the steps", "carry float states only.")
