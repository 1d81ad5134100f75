"""AveragePool, MaxPool and their global forms: a window's elements beside each other, then reduced."""

from dataclasses import replace
from math import prod

import numpy as np

from stepcell.importers.graph import Node, Unsupported
from stepcell.importers.lift import reduce
from stepcell.importers.lift.attributes import Operands
from stepcell.importers.lift.context import Lift, Lifted, Tensor, constant, materialise
from stepcell.importers.lift.conv import windowed, zeros_where_nothing
from stepcell.importers.lift.frames import is_time
from stepcell.importers.lift.windows import Slid, Slide, elements, slid, slide_of
from stepcell.ir.graph import writes
from stepcell.ir.operators import ReduceKind
from stepcell.ir.ops import (
    Activate,
    Binary,
    Concat,
    Op,
    Reduce,
    Take,
    Value,
)
from stepcell.ir.window import NOTHING, Window, window_indices

_NEVER_NEGATIVE = ("relu", "sigmoid", "softmax", "abs", "square", "exp", "softplus", "sqrt")


def pool(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """AveragePool and MaxPool over inner axes, and over time."""
    x = windowed(operands[0])
    if len([name for name in node.outputs if name]) > 1:
        raise Unsupported("gives the indices of its maxima; the maxima alone are allowed", "leave them out.")
    slide = slide_of(node, lift, x, tuple(int(n) for n in node.attributes.get("kernel_shape", [])))
    beyond = _beyond(lift, x, slide) if node.attributes.get("ceil_mode", 0) else (0,) * len(slide.kernel)
    pads = tuple((before, after + n) for (before, after), n in zip(slide.pads, beyond, strict=True))
    found = slid(lift, x, replace(slide, pads=pads), None)
    if isinstance(found, Tensor):
        return [found]
    if node.op == "MaxPool":
        return [_maximum(lift, found)]
    return [_average(lift, found, bool(node.attributes.get("count_include_pad", 0)), (0, *beyond))]


def _beyond(lift: Lift, x: Tensor, slide: Slide) -> tuple[int, ...]:
    """With ceil_mode: how many elements behind the padding the last window of each axis reads.

    A window that would start behind the input is none.
    """
    found = []
    for axis, size in enumerate(lift.shape(x)[2:]):
        (before, after), stride = slide.pads[axis], slide.strides[axis]
        rest = size + before + after - slide.span(axis) - 1
        last = -(-rest // stride)
        last -= last * stride >= size + before
        found.append(max(0, last * stride - rest))
        if found[-1] and is_time(x.axes[axis + 2]):
            raise Unsupported(
                "rounds the number of its results over time up (ceil_mode)",
                "pad its input to whole strides.",
            )
    return tuple(found)


def _maximum(lift: Lift, found: Slid) -> Tensor:
    """Padding is never the maximum: another element of the window stands in for it."""
    if found.reads_context and not _never_negative(lift, found.source.value):
        raise Unsupported(
            "pads the time axis in front, below every number",
            "put a relu before it, so that zeros do, or pool without padding.",
        )
    indices = window_indices(found.window)
    first = indices.max(axis=1, keepdims=True)
    return _reduced(lift, found, np.where(indices == NOTHING, first, indices), "max")


def _average(lift: Lift, found: Slid, counts_padding: bool, beyond: tuple[int, ...]) -> Tensor:
    """The mean of what lies inside, and of the padding if that counts; of what lies `beyond` it never."""
    indices = window_indices(found.window)
    made = _reduced(lift, found, indices, "mean")
    counted = window_indices(_padded(found.window, beyond)) if counts_padding else indices
    inside = (counted != NOTHING).sum(axis=1)
    taps = found.window.taps
    if (inside == taps).all() and (counts_padding or not found.reads_context):
        return made
    if found.reads_context and not counts_padding:
        raise Unsupported(
            "pads the time axis and does not count that in its means",
            "pool without padding, or with count_include_pad.",
        )
    shape = (*found.window.positions, found.window.channels)
    factors = constant(lift, (taps / inside).ravel(), made.phase)
    name = lift.fresh("mul")
    size = prod(shape)
    source = materialise(lift, Tensor(made.value, np.arange(size), ((size,),), made.phase), (size,))
    lift.emit(Binary(source, factors, Value(name, (size,)), "mul"), made.phase)
    return replace(made, value=name)


def _padded(window: Window, beyond: tuple[int, ...]) -> Window:
    """The window over its padding, too, as if that were input: outside lies only what is beyond."""
    sizes = (
        n + before + after - more
        for n, (before, after), more in zip(window.spatial, window.pads, beyond, strict=True)
    )
    return replace(window, spatial=tuple(sizes), pads=tuple((0, more) for more in beyond))


def _reduced(lift: Lift, found: Slid, indices: np.ndarray, kind: ReduceKind) -> Tensor:
    """indices [positions, taps, channels] of the window's input."""
    picked = elements(found.source, indices).transpose(0, 2, 1)
    positions, channels, taps = picked.shape
    source = replace(found.source, table=picked)
    if (picked == NOTHING).any():
        source = zeros_where_nothing(lift, replace(source, axes=((positions,), (channels,), (taps,))), picked)
    x = materialise(lift, source, (positions, channels, taps))
    name = lift.fresh("pool")
    lift.emit(Reduce(x, Value(name, (positions, channels)), kind), found.source.phase)
    return found.result(name, channels)


def _never_negative(lift: Lift, name: str) -> bool:
    made = {value.name: op for op, _ in lift.steps for value in writes(op)}
    return _is_never_negative(lift, made, name, frozenset())


def _is_never_negative(lift: Lift, made: dict[str, Op], name: str, assumed: frozenset[str]) -> bool:
    """Whether a value cannot be below zero; a state cannot if it starts so and, assuming that, stays so."""
    if name in assumed:
        return True
    if name in lift.states:
        starts = bool((lift.states[name].initial >= 0).all())
        return starts and _is_never_negative(lift, made, lift.updates[name], assumed | {name})
    op = made.get(name)
    match op:
        case Activate():
            return op.function in _NEVER_NEGATIVE
        case Take() | Reduce():
            return _is_never_negative(lift, made, op.x, assumed)
        case Concat():
            return all(_is_never_negative(lift, made, x, assumed) for x in op.xs)
        case _:
            return False


def global_pool(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """GlobalAveragePool and GlobalMaxPool: over every axis but batch and channels."""
    x = windowed(operands[0])
    axes = np.arange(2, len(x.axes))
    kind = {"GlobalAveragePool": "ReduceMean", "GlobalMaxPool": "ReduceMax"}[node.op]
    as_reduce = Node(
        kind, node.name, node.inputs[:1], node.outputs, {"axes": [int(n) for n in axes], "keepdims": 1}
    )
    return reduce.reduce(lift, as_reduce, operands[:1])
