"""The body of a Scan or Loop over time is one step: what it carries are states, what it reads are frames."""

from dataclasses import replace

import numpy as np

from stepcell.importers.graph import Body, Node, Unsupported, reads_of, renamed
from stepcell.importers.lift.attributes import axis_of
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
from stepcell.importers.lift.roles import label
from stepcell.importers.refused import ReadsRefused

PLAIN = "let it run over the time axis, every input in the same direction."


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
    if lift.unknown.intersection(body.outputs):
        raise ReadsRefused
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
        raise Unsupported("runs over something that is no sequence of the input", PLAIN)
    axis = axis_of(axis, len(found.axes))
    unknown = [label for label in labels(found.axes[axis]) if is_open(label)]
    if unknown:
        raise Relabel({unknown[0]: "time"} | dict.fromkeys(unknown[1:], "inner"))
    if found.axes[axis] != TIME:
        raise Unsupported(
            f"runs along an axis of {extent(found.axes[axis], lift.sizes)}, not over time", PLAIN
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
