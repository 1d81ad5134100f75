"""A window that slides over inner axes and over time: what convolutions and poolings share.

Over inner axes it slides within a step. Over time, a state keeps the earlier frames that it reads, so that
it slides over those and the frames of this step; frames of later steps come from a stage that runs backwards.
"""

from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from stepcell.importers.graph import Node, Unsupported
from stepcell.importers.lift import frames
from stepcell.importers.lift.axes import Axes, Axis, inner, labels
from stepcell.importers.lift.context import Lift, Tensor, inner_shape, materialise
from stepcell.ir.ops import Concat, Take, Value
from stepcell.ir.window import Window

Pads = tuple[int, int]


@dataclass(frozen=True)
class Slide:
    """How a window goes along the spatial axes of a source tensor."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[Pads, ...]

    def span(self, axis: int) -> int:
        """How far the last tap lies from the first."""
        return (self.kernel[axis] - 1) * self.dilations[axis]

    def is_plain(self, axis: int) -> bool:
        """Whether the window leaves this axis as it is."""
        return self.kernel[axis] == self.strides[axis] == 1 and self.pads[axis] == (0, 0)


@dataclass(frozen=True, eq=False)
class Slid:
    """What the window reads: `source`'s table is [others, *spatial, channels]; and what its results are."""

    source: Tensor
    window: Window
    """over the axes [others, *spatial]"""
    axes: Axes
    """of the results, their channels at 1 not yet known"""
    pads: Pads
    tail: int
    reads_context: bool
    """Whether zeros stand in front of the sequence."""

    def result(self, value: str, channels: int) -> Tensor:
        """The tensor of a value [*positions, channels], its axes in the source's order."""
        shape = (*self.window.positions, channels)
        table = np.moveaxis(np.arange(prod(shape)).reshape(shape), -1, 1)
        axes = (self.axes[0], (channels,), *self.axes[2:])
        return Tensor(value, table, axes, self.source.phase, self.pads, self.tail)


def slide_of(node: Node, lift: Lift, x: Tensor, kernel: tuple[int, ...]) -> Slide:
    """The attributes that every windowed operator has."""
    rank = len(kernel)
    if len(x.axes) != rank + 2:
        raise Unsupported(f"slides a kernel of {rank} axes over a tensor of {len(x.axes)}", "check the file.")
    strides = _ints(node, "strides", rank)
    dilations = _ints(node, "dilations", rank)
    if min((*kernel, *strides, *dilations)) < 1:
        raise Unsupported(f"has strides {strides} and dilations {dilations}", "check the file.")
    given = [int(n) for n in node.attributes.get("pads", [0] * 2 * rank)]
    if len(given) != 2 * rank or min(given) < 0:
        raise Unsupported(f"has the pads {given}", "check the file.")
    slide = Slide(kernel, strides, dilations, tuple(zip(given[:rank], given[rank:], strict=True)))
    auto = node.attributes.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", "VALID"):
        return slide
    pads = tuple(_same(slide, axis, lift.shape(x)[axis + 2], x.axes[axis + 2]) for axis in range(rank))
    if auto == "SAME_LOWER":
        pads = tuple((after, before) for before, after in pads)
    return replace(slide, pads=pads)


def _ints(node: Node, name: str, rank: int) -> tuple[int, ...]:
    found = tuple(int(n) for n in node.attributes.get(name, [1] * rank))
    if len(found) != rank:
        raise Unsupported(f"has {name} {list(found)} for {rank} axes", "check the file.")
    return found


def _same(slide: Slide, axis: int, size: int, found: Axis) -> Pads:
    """The pads of auto_pad SAME_UPPER; along time, of any number of frames that the strides divide."""
    stride = slide.strides[axis]
    last = (-(-size // stride) - 1) * stride if not labels(found) else size - stride
    total = max(last + slide.span(axis) + 1 - size, 0)
    return total // 2, total - total // 2


def slid(lift: Lift, x: Tensor, slide: Slide, channels: int | None) -> Slid | Tensor:
    """The window over the tensor [batch, channels, *spatial]; a guess where an axis's role is not known.

    The guess has so many `channels`; None: those of x.
    """
    spatial = [axis for axis in range(len(slide.kernel)) if not slide.is_plain(axis)]
    crossed = [axis for axis in spatial if labels(x.axes[axis + 2])]
    if any(frames.open_label(x.axes[axis + 2]) for axis in crossed):
        return guess(lift, x, channels, _positions(slide, list(lift.shape(x)[2:])))
    over_time = [axis for axis in crossed if frames.is_time(x.axes[axis + 2])]
    if len(over_time) != len(crossed):
        raise Unsupported("slides over the batch axis", "slide over inner axes, or over time.")
    if over_time and not lift.single_step:
        return _over_time(lift, x, slide, over_time[0])
    if x.pads != (0, 0) and any("time" in labels(axis) for axis in (x.axes[0], x.axes[1])):
        raise Unsupported("reads padded frames as a batch", "pad the axis that the convolution slides over.")
    return _finished(x, x, slide, x.pads, x.tail, reads_context=False)


def guess(lift: Lift, x: Tensor, channels: int | None, sizes: list[int]) -> Tensor:
    """Something with these spatial axes, because lifting will start again."""
    shape = lift.shape(x)[2:]
    axes = tuple(
        axis if n == old else (frames.guessed(lift, axis, n) if labels(axis) else (n,))
        for axis, n, old in zip(x.axes[2:], sizes, shape, strict=True)
    )
    if min(sizes) < 1:
        raise Unsupported(f"slides a kernel over {list(shape)}, which is shorter", "check the file.")
    lift.guesses.update(label for axis in axes for label in labels(axis) if frames.open_label((label,)))
    found = (x.axes[0], x.axes[1] if channels is None else (channels,), *axes)
    name = lift.fresh("guess")
    lift.values[name] = Value(name, inner_shape(found))
    return Tensor(name, np.arange(prod(inner_shape(found))).reshape(inner_shape(found)), found, x.phase)


def _positions(slide: Slide, sizes: list[int]) -> list[int]:
    found = []
    for axis, size in enumerate(sizes):
        found.append((size + sum(slide.pads[axis]) - slide.span(axis) - 1) // slide.strides[axis] + 1)
    return found


def _over_time(lift: Lift, x: Tensor, slide: Slide, axis: int) -> Slid:
    """Slides over time: source element j is frame j - pads[0] of the sequence."""
    stride, span = slide.strides[axis], slide.span(axis)
    frames.need_frames(lift, x.axes[axis + 2], stride)
    rate = inner(x.axes[axis + 2])
    before, after = _padded(x, slide.pads[axis])
    late = max(0, span - before - (stride - 1))
    """How many frames beyond its own step the first result reads."""
    ahead = late if late and after >= late else 0
    if ahead and x.tail:
        raise Unsupported("reads what another convolution gives beyond the end", "cut that off first.")
    skipped = 0 if ahead else -(-late // stride)
    history = max(0, before + skipped * stride)
    offset = history - (before + skipped * stride)
    steps = frames.steps_of(lift)
    count = (steps * rate + before + after - span - 1) // stride + 1
    behind = count - steps * rate // stride + skipped
    lift.shortest = max(lift.shortest, span + 1 - before - after)
    source = _with_context(lift, x, axis + 2, history, ahead)
    needed = (rate // stride - 1) * stride + span + 1
    table = source.table.take(range(offset, offset + needed), axis=axis + 2)
    pads = tuple((0, 0) if i == axis else pad for i, pad in enumerate(slide.pads))
    inside = replace(slide, pads=pads)
    held = (-skipped, behind)
    return _finished(x, replace(source, table=table), inside, held, max(0, behind), reads_context=before > 0)


def _padded(x: Tensor, pads: Pads) -> Pads:
    """Frames in front and behind, the window's own padding included."""
    if (x.pads[0] < 0 < pads[0]) or (x.pads[1] < 0 < pads[1]):
        raise Unsupported(
            "pads with zeros where frames were cut off",
            "pad the sequence once, before anything is cut off, so that a stream has the same frames.",
        )
    return x.pads[0] + pads[0], x.pads[1] + pads[1]


def _with_context(lift: Lift, x: Tensor, axis: int, history: int, ahead: int) -> Tensor:
    """The tensor with earlier and later frames along its (now inner) time axis."""
    order = [axis, *(i for i in range(x.table.ndim) if i != axis)]
    moved = x.table.transpose(order)
    rate, rest = moved.shape[0], tuple(n for n in moved.shape[1:] if n > 1)
    if x.phase != "step":
        raise Unsupported("slides over the end of a sequence", "slide over every step.")
    if not history and not ahead:
        return replace(x, axes=_unlabelled(x.axes, axis, rate))
    here = materialise(lift, replace(x, table=moved), (rate, *rest))
    size = prod(rest)
    name = lift.fresh("frames")
    parts = [here]
    if history:
        parts.insert(0, f"{name}_before")
    if ahead:
        parts.append(_later_frames(lift, here, f"{name}_after", ahead, rest))
    total = history + rate + ahead
    lift.emit(Concat(tuple(parts), Value(name, (total, *rest))), "step")
    if history:
        newest = tuple(range(rate * size, (rate + history) * size))
        lift.emit(Take(name, Value(f"{name}_newest", (history * size,)), newest), "step")
        lift.add_state(f"{name}_before", np.zeros(history * size), f"{name}_newest")
    table = np.arange(total * size).reshape(total, *moved.shape[1:]).transpose(np.argsort(order))
    return replace(x, value=name, table=table, axes=_unlabelled(x.axes, axis, total))


def _unlabelled(axes: Axes, axis: int, size: int) -> Axes:
    return (*axes[:axis], (size,), *axes[axis + 1 :])


def _later_frames(lift: Lift, here: str, name: str, ahead: int, rest: tuple[int, ...]) -> str:
    """The frames after those of this step: a stage that runs backwards has seen them."""
    shape = (ahead, *rest)
    rate, size = lift.values[here].shape[0], prod(shape)
    state = f"{name}_state"
    lift.values[state] = Value(state, (size,))
    lift.emit(Concat((here, state), Value(f"{name}_window", (rate + ahead, *rest))), "step", "backward")
    newest = Take(f"{name}_window", Value(f"{name}_newest", (size,)), tuple(range(size)))
    lift.emit(newest, "step", "backward")
    lift.emit(Take(state, Value(name, shape), tuple(range(size))), "step", "backward")
    lift.add_state(state, np.zeros(size), f"{name}_newest")
    lift.takes.pop(name)
    return name


def _finished(x: Tensor, source: Tensor, slide: Slide, pads: Pads, tail: int, *, reads_context: bool) -> Slid:
    """Positions become the axes of the result; labels stay where they were."""
    sizes = _positions(slide, list(source.table.shape[2:]))
    if min(sizes) < 1:
        raise Unsupported("slides a kernel over fewer elements than it has", "check the file.")
    table = np.moveaxis(source.table, 1, -1)
    window = Window(
        table.shape[:-1],
        table.shape[-1],
        (1, *slide.kernel),
        (1, *slide.strides),
        (1, *slide.dilations),
        ((0, 0), *slide.pads),
    )
    spatial = (_label(old, n) for old, n in zip(x.axes[2:], sizes, strict=True))
    axes = (x.axes[0], x.axes[1], *spatial)
    return Slid(replace(source, table=table), window, axes, pads, tail, reads_context)


def _label(old: Axis, size: int) -> Axis:
    return labels(old) if labels(old) and size == 1 else (*labels(old), size)


def elements(source: Tensor, indices: NDArray[np.int64]) -> NDArray[np.intp]:
    """What window indices pick of the source's value: its own elements, and -1 outside."""
    flat = source.table.ravel()
    return np.where(indices < 0, -1, flat[np.maximum(indices, 0)])
