"""Conv and ConvTranspose: over inner axes, and over time with the earlier frames in a state."""

from dataclasses import replace
from math import prod

import numpy as np

from stepcell.importers.graph import Node, Unsupported
from stepcell.importers.lift import frames
from stepcell.importers.lift.attributes import Operands
from stepcell.importers.lift.axes import inner, labels, replaced, require_inner
from stepcell.importers.lift.context import Known, Lift, Lifted, Tensor, known, materialise, movable, tensor
from stepcell.importers.lift.upsample import phases, unfolded
from stepcell.importers.lift.windows import Slid, Slide, elements, guess, slid, slide_of
from stepcell.ir.ops import Concat, Conv, Dense, Take, Value
from stepcell.ir.window import NOTHING, Window, window_indices


def conv(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Conv of one or two spatial axes."""
    x = windowed(operands[0])
    weights = known(operands[1], "weights").astype(np.float64)
    groups = int(node.attributes.get("group", 1))
    slide = slide_of(node, lift, x, tuple(weights.shape[2:]))
    bias = _bias(operands, len(weights))
    return [convolved(lift, x, slide, weights, bias, groups)]


def windowed(operand: Lifted | None) -> Tensor:
    """The operand as data over which a window may slide: it may hold other frames than its sequence."""
    found = movable(operand)
    return found if found.phase == "step" and found.pads != (0, 0) else tensor(found)


def _bias(operands: Operands, rows: int) -> Known:
    if len(operands) < 3 or operands[2] is None:
        return np.zeros(rows)
    bias = known(operands[2], "a bias").astype(np.float64)
    if bias.shape != (rows,):
        raise Unsupported(f"has a bias of shape {list(bias.shape)} for {rows} outputs", "check the file.")
    return bias


def convolved(lift: Lift, x: Tensor, slide: Slide, weights: Known, bias: Known, groups: int) -> Tensor:
    """The convolution of x [batch, channels, *spatial] with weights [outputs, channels / groups, *kernel]."""
    if weights.ndim not in (3, 4):
        raise Unsupported(f"has {weights.ndim - 2} spatial axes; one or two are allowed", "flatten others.")
    require_inner(x.axes[1], "convolves along")
    if inner(x.axes[1]) != weights.shape[1] * groups or len(weights) % groups:
        raise Unsupported(
            f"has weights {list(weights.shape)} in {groups} groups for {inner(x.axes[1])} channels",
            "check the file.",
        )
    found = slid(lift, x, slide, len(weights))
    if isinstance(found, Tensor):
        return found
    rows = np.moveaxis(weights, 1, -1)
    if groups > 1 and weights.shape[1] == 1:  # depthwise: each output reads a channel of its own
        table = np.repeat(found.source.table, len(weights) // groups, axis=-1)
        window = replace(found.window, channels=len(weights))
        found = replace(found, source=replace(found.source, table=table), window=window)
        return found.result(_emit(lift, found, rows, bias, len(weights)), len(weights))
    if groups > 1:
        return _grouped(lift, found, rows, bias, groups)
    return found.result(_emit(lift, found, rows, bias, 1), len(weights))


def _grouped(lift: Lift, found: Slid, rows: Known, bias: Known, groups: int) -> Tensor:
    """One convolution a group, their results joined."""
    width = rows.shape[-1]
    made = []
    for g, (w, b) in enumerate(zip(np.split(rows, groups), np.split(bias, groups), strict=True)):
        table = found.source.table[..., g * width : (g + 1) * width]
        source = replace(found.source, table=table)
        part = replace(found, source=source, window=replace(found.window, channels=width))
        made.append(part.result(_emit(lift, part, w, b, 1), len(w)))
    joined = lift.fresh("concat")
    size = prod(found.window.positions) * len(rows)
    lift.emit(Concat(tuple(part.value for part in made), Value(joined, (size,))), found.source.phase)
    offset = size // groups
    table = np.concatenate([part.table + g * offset for g, part in enumerate(made)], axis=1)
    return replace(made[0], value=joined, table=table, axes=replaced(made[0].axes, 1, (len(rows),)))


def _emit(lift: Lift, found: Slid, rows: Known, bias: Known, groups: int) -> str:
    """A Dense where the window lies at one position or has one tap, else a Conv; its value."""
    window = _without_ones(found.window)
    if groups == 1 and window.count == 1:
        return _dense(lift, found, *_columns(window, rows), (), bias)
    if groups == 1 and window.taps == 1 and window.positions == window.spatial:
        everything = np.arange(window.count * window.channels)
        return _dense(lift, found, everything, rows.reshape(len(rows), -1), window.positions, bias)
    if len(window.spatial) > 2:
        raise Unsupported(
            f"slides over {len(window.spatial)} axes at once; two are allowed", "give it a batch axis alone."
        )
    x = materialise(lift, found.source, (*window.spatial, window.channels))
    name, y = _parameters(lift, "conv", rows.reshape(len(rows), *window.kernel, -1), bias, window.positions)
    made = Conv(
        x, y, f"{name}_weights", f"{name}_bias", window.strides, window.dilations, window.pads, groups
    )
    lift.emit(made, found.source.phase)
    return name


def _without_ones(window: Window) -> Window:
    """Without the spatial axes of size one."""
    kept = [i for i, n in enumerate(window.spatial) if n > 1 or window.kernel[i] > 1 or any(window.pads[i])]
    kept = kept or [len(window.spatial) - 1]
    return Window(
        tuple(window.spatial[i] for i in kept),
        window.channels,
        tuple(window.kernel[i] for i in kept),
        tuple(window.strides[i] for i in kept),
        tuple(window.dilations[i] for i in kept),
        tuple(window.pads[i] for i in kept),
    )


def _columns(window: Window, rows: Known) -> tuple[np.ndarray, Known]:
    """What one position reads, and the weights of that: those of padding are left out."""
    indices = window_indices(window).ravel()
    inside = indices != NOTHING
    return indices[inside], rows.reshape(len(rows), -1)[:, inside]


def _dense(
    lift: Lift, found: Slid, indices: np.ndarray, weights: Known, lead: tuple[int, ...], bias: Known
) -> str:
    source = replace(found.source, table=elements(found.source, indices))
    x = materialise(lift, source, (*lead, weights.shape[1]))
    name, y = _parameters(lift, "dense", weights, bias, lead)
    lift.emit(Dense(x, y, f"{name}_weights", f"{name}_bias"), found.source.phase)
    return name


def _parameters(
    lift: Lift, kind: str, weights: Known, bias: Known, positions: tuple[int, ...]
) -> tuple[str, Value]:
    name = lift.fresh(kind)
    lift.weights[f"{name}_weights"] = np.ascontiguousarray(weights, np.float64)
    lift.weights[f"{name}_bias"] = np.array(bias, np.float64)
    return name, Value(name, (*positions, len(weights)))


def conv_transpose(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """ConvTranspose: a convolution of the input with zeros between its elements."""
    x = windowed(operands[0])
    given = known(operands[1], "weights").astype(np.float64)
    groups = int(node.attributes.get("group", 1))
    slide = slide_of(node, lift, x, tuple(given.shape[2:]))
    if "output_shape" in node.attributes or node.attributes.get("auto_pad", "NOTSET") != "NOTSET":
        raise Unsupported("has output_shape or auto_pad; pads are allowed", "export it with pads.")
    extra = [int(n) for n in node.attributes.get("output_padding", [0] * len(slide.kernel))]
    pads = tuple(
        (slide.span(i) - before, slide.span(i) - after + extra[i])
        for i, (before, after) in enumerate(slide.pads)
    )
    if min(n for pad in pads for n in pad) < 0:
        raise Unsupported("pads more than its kernel spans", "slice its result instead.")
    weights = _transposed(given, groups)
    bias = _bias(operands, len(weights))
    inside = Slide(slide.kernel, (1,) * len(slide.kernel), slide.dilations, pads)
    strided = [i for i, s in enumerate(slide.strides) if labels(x.axes[i + 2]) and s > 1]
    if any(frames.open_label(x.axes[i + 2]) for i in strided):
        sizes = [
            (n - 1) * slide.strides[i] + 1 + sum(pads[i]) - slide.span(i)
            for i, n in enumerate(lift.shape(x)[2:])
        ]
        return [guess(lift, x, len(weights), sizes)]
    if strided:
        return [
            _upsampled(lift, x, replace(inside, strides=slide.strides), strided[0], weights, bias, groups)
        ]
    return [convolved(lift, _stuffed(lift, x, slide.strides), inside, weights, bias, groups)]


def _upsampled(
    lift: Lift, x: Tensor, slide: Slide, axis: int, weights: Known, bias: Known, groups: int
) -> Tensor:
    """ConvTranspose with a stride along time: a convolution that computes all frames of a step at once."""
    if lift.single_step or not frames.is_time(x.axes[axis + 2]) or x.pads != (0, 0):
        raise Unsupported(
            "makes several frames of one, of another axis than the time of a whole sequence",
            "export the network with a time axis, and cut padding off before it.",
        )
    stride, span = slide.strides[axis], slide.span(axis)
    behind = sum(slide.pads[axis]) - span - (stride - 1)
    rows, (before, after) = phases(slide, axis, span - slide.pads[axis][0], weights, groups)
    pads = (before, after + max(0, -(-behind // stride)))
    inside = Slide(
        rows.shape[2:],
        (1,) * len(slide.kernel),
        tuple(1 if i == axis else n for i, n in enumerate(slide.dilations)),
        tuple(pads if i == axis else pad for i, pad in enumerate(slide.pads)),
    )
    ones = tuple(1 if i == axis else n for i, n in enumerate(slide.strides))
    repeated = np.tile(bias.reshape(groups, 1, -1), (1, stride, 1)).ravel()
    made = convolved(lift, _stuffed(lift, x, ones), inside, rows, repeated, groups)
    return unfolded(made, axis + 2, stride, groups, behind)


def _transposed(weights: Known, groups: int) -> Known:
    """[C, O / groups, *kernel] -> [O, C / groups, *kernel], every spatial axis turned round."""
    channels, outputs, *kernel = weights.shape
    split = weights.reshape(groups, channels // groups, outputs, *kernel).swapaxes(1, 2)
    joined = split.reshape(groups * outputs, channels // groups, *kernel)
    return np.flip(joined, axis=tuple(range(2, joined.ndim)))


def _stuffed(lift: Lift, x: Tensor, strides: tuple[int, ...]) -> Tensor:
    """The tensor with stride - 1 zeros between neighbours along each inner spatial axis."""
    if set(strides) == {1}:
        return x
    table = x.table
    for i, stride in enumerate(strides):
        if stride == 1:
            continue
        size = table.shape[i + 2]
        spread = np.full((*table.shape[: i + 2], (size - 1) * stride + 1, *table.shape[i + 3 :]), NOTHING)
        spread[(slice(None),) * (i + 2) + (slice(None, None, stride),)] = table
        table = spread
    return zeros_where_nothing(lift, x, table)


def zeros_where_nothing(lift: Lift, x: Tensor, table: np.ndarray) -> Tensor:
    """A value of its own for a table that holds NOTHING where zeros are; its axes have the table's sizes."""
    axes = tuple(
        axis if inner(axis) == n else (*labels(axis), n) for axis, n in zip(x.axes, table.shape, strict=True)
    )
    name = lift.fresh("padded")
    indices = tuple(int(i) for i in table.ravel())
    take, phase = lift.takes.get(x.value, (None, x.phase))
    if take is not None and phase == x.phase:
        indices = tuple(take.indices[i] if i >= 0 else i for i in indices)
    source = x.value if take is None or phase != x.phase else take.x
    lift.emit(Take(source, Value(name, (table.size,)), indices), x.phase)
    return replace(x, value=name, table=np.arange(table.size).reshape(table.shape), axes=axes)
