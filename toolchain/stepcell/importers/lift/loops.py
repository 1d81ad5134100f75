"""Scan and Loop over time: the body is one step, what it carries are states."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stepcell.importers.graph import Body, Node, Unsupported, reads_of, renamed
from stepcell.importers.lift.attributes import Operands, axis_of
from stepcell.importers.lift.axes import TIME, Axes, Axis, Relabel, extent, is_open, labels
from stepcell.importers.lift.context import (
    Direction,
    Known,
    Lift,
    Lifted,
    Phase,
    Tensor,
    data,
    inner_shape,
    input_of,
    materialise,
)
from stepcell.importers.lift.fold import fold
from stepcell.importers.lift.roles import label

_PLAIN = "let it run over the time axis, every input in the same direction."


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
        raise Unsupported("runs some tensors forwards and others backwards", _PLAIN)
    return "backward" if found == {1} else "forward"


def enter(lift: Lift, node: Node, body: Body, direction: Direction) -> Body:
    """The body under names of its own, its reads counted; from here on operations run in its direction."""
    prefix = f"{next(filter(None, node.outputs), node.name)}/"
    own = renamed(body, prefix, {name: f"{prefix}{name}" for name in body.inputs})
    for inner in own.nodes:
        lift.uses.update(reads_of(inner))
    lift.uses.update(own.outputs)
    lift.env.update(own.constants)
    lift.direction = direction
    return own


def run_body(lift: Lift, body: Body) -> None:
    """Lift the body's nodes once: they are the step."""
    assert lift.lift_node is not None
    for node in body.nodes:
        lift.lift_node(lift, node)
    missing = [name for name in body.outputs if name not in lift.env]
    if missing:
        raise Unsupported(f"yields '{missing[0]}', which nothing in its body defines", "check the file.")


def start_state(lift: Lift, start: Lifted | None, kind: str) -> Tensor:
    """A state of the Model that starts at a constant or at a state input of the file."""
    name = lift.fresh(kind)
    if isinstance(start, Tensor):
        return _start_at_input(lift, start, name)
    if start is None or start.dtype.kind != "f":
        raise Unsupported("carries something that is no float tensor", "carry float states only.")
    axes = tuple(_labelled(lift, size) for size in start.shape)
    initial = _alike(start, axes).astype(np.float64)
    lift.add_state(name, initial.reshape(_unlabelled(axes)), name)
    return data(name, inner_shape(axes), axes, "step")


def _unlabelled(axes: Axes) -> tuple[int, ...]:
    """The sizes of the inner axes."""
    return tuple(n for n, axis in zip(inner_shape(axes), axes, strict=True) if not labels(axis))


def _start_at_input(lift: Lift, start: Tensor, name: str) -> Tensor:
    source = input_of(lift, start)
    role = lift.roles.get(source or "")
    whole = lift.env[source] if source else None
    if source is None or not isinstance(whole, Tensor) or whole.table.size != start.table.size:
        raise Unsupported(
            "starts at a state that the model computes, or at a part of an input; a constant or a whole "
            "input is allowed",
            "give every state an input of its own.",
        )
    if role not in ("state", "carried"):
        raise Relabel({source: "state"} | _batch_of(lift, source))
    index = tuple(
        None if labels(axis) else (0, n, 1) for axis, n in zip(start.axes, start.table.shape, strict=True)
    )
    if input_axes_moved(lift, source, start):
        raise Unsupported("starts at a transposed input", "transpose it outside.")
    lift.entries[name] = (source, index)
    lift.add_state(name, np.zeros(_unlabelled(start.axes)), name)
    return data(name, start.table.shape, start.axes, "step")


def _batch_of(lift: Lift, name: str) -> dict[str, str]:
    """The one free axis of a state input is its batch axis, and so is every axis of that symbol."""
    source = next(found for found in lift.graph.inputs if found.name == name)
    symbols = {size for size in source.shape if isinstance(size, str)}
    if len(symbols) > 1:
        raise Unsupported(
            f"starts at '{name}', of which several axes are free", f"give its shape: --shape {name}=..."
        )
    axes = ((found, k) for found in lift.graph.inputs for k in range(len(found.shape)))
    return {label(found, k): "batch" for found, k in axes if found.shape[k] in symbols}


def input_axes_moved(lift: Lift, source: str, start: Tensor) -> bool:
    """Whether the tensor is not the input as it is."""
    whole = lift.env[source]
    return (
        not isinstance(whole, Tensor)
        or whole.axes != start.axes
        or not np.array_equal(whole.table, start.table)
    )


def _labelled(lift: Lift, size: int) -> Axis:
    """The axis of a constant: batch where the size is that of the batch axis and of nothing else."""
    named = [name for name, n in lift.sizes.items() if n == size and n > 100]
    if not named:
        return (size,)
    return ("batch",) if "batch" in named else (named[0],)


def _alike(start: Known, axes: Axes) -> Known:
    """One sequence's part of a constant state, which must be the same for all."""
    for i, axis in enumerate(axes):
        if labels(axis):
            first = start.take([0], axis=i)
            if not np.array_equal(np.broadcast_to(first, start.shape), start):
                raise Unsupported(
                    "starts at a state that differs from sequence to sequence", "use one for all."
                )
            start = first
    return start


def at_one_step(lift: Lift, found: Lifted | None, axis: int) -> Tensor:
    """A sequence as the body sees it: without its time axis."""
    if not isinstance(found, Tensor) or found.phase != "step":
        raise Unsupported("runs over something that is no sequence of the input", _PLAIN)
    axis = axis_of(axis, len(found.axes))
    unknown = [label for label in labels(found.axes[axis]) if is_open(label)]
    if unknown:
        raise Relabel({unknown[0]: "time"} | dict.fromkeys(unknown[1:], "inner"))
    if found.axes[axis] != TIME:
        raise Unsupported(
            f"runs along an axis of {extent(found.axes[axis], lift.sizes)}, not over time", _PLAIN
        )
    rest = tuple(a for k, a in enumerate(found.axes) if k != axis)
    return replace(found, table=found.table.reshape(inner_shape(rest)), axes=rest)


def over_time(found: Lifted, axis: int) -> Tensor:
    """What every step yields, with its time axis."""
    if not isinstance(found, Tensor):
        raise Unsupported("yields a constant at every step", "leave that output out.")
    axis = axis_of(axis, len(found.axes) + 1)
    axes = (*found.axes[:axis], TIME, *found.axes[axis:])
    return replace(found, table=np.expand_dims(found.table, axis), axes=axes)


def finish_state(lift: Lift, state: Tensor, found: Lifted) -> Tensor:
    """The state after the last step; from now on it becomes what the body yields."""
    if not isinstance(found, Tensor) or found.table.shape != state.table.shape:
        raise Unsupported("carries a state that changes its shape", "keep its shape from step to step.")
    lift.updates[state.value] = materialise(lift, found, lift.values[state.value].shape)
    phase: Phase = "step" if lift.single_step else "end"
    value = lift.updates[state.value] if lift.single_step else state.value
    return replace(state, value=value, phase=phase)


STEP = 2**40 + 15
"""The number of the step inside a Loop: arithmetic with it stays recognisable."""
_LONGEST = 2**15


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
        counter = _is_counter(start)
        states.append(None if counter else start_state(lift, start, f"loop{k + 1}"))
        lift.env[own.inputs[2 + k]] = states[k] or np.asarray(start) + STEP
    run_body(lift, own)
    _check_trips(lift, own, operands)
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


def _is_counter(start: Lifted | None) -> bool:
    return isinstance(start, np.ndarray | np.generic) and start.dtype.kind == "i" and start.size == 1


def _check_counter(found: Lifted, start: Known) -> None:
    if isinstance(found, Tensor) or not np.array_equal(found, start + STEP + 1):
        raise Unsupported("carries an integer that does not count the steps", "carry float states only.")


def _check_trips(lift: Lift, body: Body, operands: Operands) -> None:
    """The loop has to end after the last step of the sequence that it reads."""
    trips = _trips(lift, body, operands)
    if "time" not in lift.roles.values() or trips != lift.sizes["time"]:
        raise Unsupported(
            f"runs {trips} times, which is not the number of steps of a sequence that it reads",
            _PLAIN,
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
            "runs as often as its input says; a constant or the number of steps is allowed", _PLAIN
        )
    return int(operand.ravel()[0])


def _goes_on(lift: Lift, body: Body, operands: Operands, step: int) -> bool:
    """The condition after a step, from the integers alone that the body computes."""
    env: dict[str, Lifted] = {body.inputs[0]: np.asarray(step), body.inputs[1]: np.asarray(True)}
    for name, start in zip(body.inputs[2:], operands[2:], strict=True):
        if _is_counter(start):
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
        raise Unsupported("goes on as long as its data say; a fixed number of steps is allowed", _PLAIN)
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
        raise Unsupported("slices more than the step's own frame", _PLAIN)
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
        raise Unsupported("reads another frame than the step's own", _PLAIN)
    if lift.roles.get(lift.loop_role, "forward") != direction:
        raise Relabel({lift.loop_role: direction})
