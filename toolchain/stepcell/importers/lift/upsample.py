"""Several frames for every frame that is read: ConvTranspose with a stride over time, and Resize.

ConvTranspose: frame m * stride + p of the result reads the frames around m with every stride-th weight,
from one that p tells. So it is a convolution without stride, over the frames as they are, with stride times
as many outputs: each position holds the frames m * stride .. m * stride + stride - 1. No zeros are stored or
multiplied.
"""

from dataclasses import replace

import numpy as np

from stepcell.importers.graph import Node, Unsupported
from stepcell.importers.lift.attributes import Operands
from stepcell.importers.lift.axes import inner, labels, replaced
from stepcell.importers.lift.context import Known, Lift, Lifted, Tensor, known, movable
from stepcell.importers.lift.frames import is_time, open_label
from stepcell.importers.lift.windows import Pads, Slide, guess


def phases(slide: Slide, axis: int, cropped: int, weights: Known, groups: int) -> tuple[Known, Pads]:
    """The weights [stride * outputs, inputs, *kernel] of every phase, and the frames read before and after.

    weights [outputs, inputs, *kernel] are turned round; `cropped` frames are cut off in front. Outputs are
    in the order (group, phase, output of the group).
    """
    stride, span, dilation = slide.strides[axis], slide.span(axis), slide.dilations[axis]
    before, after = (span - cropped) // stride, (stride - 1 + cropped) // stride
    turned = np.moveaxis(weights, axis + 2, -1)
    split = turned.reshape(groups, len(weights) // groups, *turned.shape[1:])
    made = np.zeros((groups, stride, *split.shape[1:-1], before + 1 + after))
    for p in range(stride):
        for at in range(-before, after + 1):
            tap, rest = divmod(p + cropped - at * stride, dilation)
            if not rest and 0 <= tap < slide.kernel[axis]:
                made[:, p, ..., before + at] = split[..., slide.kernel[axis] - 1 - tap]
    joined = made.reshape(groups * stride * split.shape[1], *made.shape[3:])
    return np.moveaxis(joined, -1, axis + 2), (before, after)


def unfolded(made: Tensor, axis: int, stride: int, groups: int, behind: int) -> Tensor:
    """[batch, (group, phase, output), ...] as [batch, outputs, ...] with stride frames for each along time.

    The sequence has `behind` frames more than stride times those that were read; negative: fewer.
    """
    table = made.table
    outputs, rate = table.shape[1] // stride, table.shape[axis]
    split = table.reshape(table.shape[0], groups, stride, outputs // groups, *table.shape[2:])
    moved = np.moveaxis(split, 2, axis + 2)  # the phase stands right behind the frames now
    shape = [table.shape[0], outputs, *table.shape[2:]]
    shape[axis] = rate * stride
    axes = replaced(replaced(made.axes, 1, (outputs,)), axis, ("time", rate * stride))
    return replace(made, table=moved.reshape(shape), axes=axes, pads=(0, behind), tail=max(0, behind))


def resize(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Resize and Upsample to the nearest neighbour, by whole factors: every element several times."""
    x = movable(operands[0])
    factors = _factors(lift, node, x, operands)
    if factors[:2] != [1, 1]:
        raise Unsupported("repeats sequences or channels", "repeat spatial axes only.")
    if any(open_label(axis) for axis, n in zip(x.axes, factors, strict=True) if n > 1):
        sizes = [size * n for size, n in zip(lift.shape(x), factors, strict=True)]
        return [guess(lift, x, None, sizes[2:])]
    table, axes = x.table, list(x.axes)
    for k, n in enumerate(factors):
        if n > 1 and (not labels(axes[k]) or (is_time(axes[k]) and not lift.single_step)):
            table, axes[k] = np.repeat(table, n, axis=k), (*labels(axes[k]), inner(axes[k]) * n)
        elif n > 1:
            raise Unsupported("repeats frames of something that is no whole sequence", "repeat inner axes.")
    over_time = next((n for n, axis in zip(factors, axes, strict=True) if is_time(axis)), 1)
    pads, tail = (x.pads[0] * over_time, x.pads[1] * over_time), x.tail * over_time
    return [replace(x, table=table, axes=tuple(axes), pads=pads, tail=tail)]


def _factors(lift: Lift, node: Node, x: Tensor, operands: Operands) -> list[int]:
    """How often every element comes along each axis."""
    attributes = node.attributes
    mode = str(attributes.get("mode", "nearest"))
    places = str(attributes.get("coordinate_transformation_mode", "half_pixel"))
    rounds = str(attributes.get("nearest_mode", "round_prefer_floor"))
    repeats = node.op == "Upsample" or (places, rounds) == ("asymmetric", "floor")
    repeats |= places == "half_pixel" and rounds.startswith("round_prefer")
    if mode != "nearest" or not repeats:
        raise Unsupported(
            f"resizes by {mode} ({places}, {rounds}); only repeating elements is allowed",
            "use mode='nearest' with a whole factor.",
        )
    shape = lift.shape(x)
    scales = attributes.get("scales") or _given(operands, 1 if node.op == "Upsample" else 2)
    sizes = _given(operands, 3) if node.op == "Resize" else []
    found = [size / n for size, n in zip(sizes, shape, strict=False)] or [float(n) for n in scales]
    if len(found) != len(shape) or len(shape) < 3 or any(n < 1 or n != int(n) for n in found):
        raise Unsupported(f"resizes by {found}; a whole factor an axis is allowed", "use scale_factor=2.")
    return [int(n) for n in found]


def _given(operands: Operands, k: int) -> list[float]:
    operand = operands[k] if k < len(operands) else None
    return [] if operand is None else [float(n) for n in known(operand, "factors").ravel()]
