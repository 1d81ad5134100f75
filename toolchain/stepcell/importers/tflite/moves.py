"""Operators that only move elements, and sums, means and maxima along axes."""

import numpy as np

from stepcell.importers.tflite.schema import Operator
from stepcell.importers.tflite.translation import Translation, Translator

_END = 2**31 - 1


def unit_permutation(before: tuple[int, ...], after: tuple[int, ...]) -> list[int] | None:
    """The permutation that a reshape is if it only moves axes of size one; None if it does more.

    Converters write a transpose by [1, T, F] -> [T, 1, F] so; as one, the batch axis keeps its role.
    """
    if sorted(before) != sorted(after) or [n for n in before if n != 1] != [n for n in after if n != 1]:
        return None
    ones = iter([axis for axis, n in enumerate(before) if n == 1])
    others = iter([axis for axis, n in enumerate(before) if n != 1])
    return [next(ones) if n == 1 else next(others) for n in after]


def unit_changes(before: tuple[int, ...], after: tuple[int, ...]) -> tuple[list[int], list[int]] | None:
    """(axes to drop, axes to add) of a reshape that only drops and adds axes of size one, in this order."""
    if [n for n in before if n != 1] != [n for n in after if n != 1]:
        return None
    old, new = _gaps(before), _gaps(after)
    dropped = [axis for a, b in zip(old, new, strict=True) for axis in a[len(b) :]]
    added = [axis for a, b in zip(old, new, strict=True) for axis in b[len(a) :]]
    return dropped, added


def _gaps(shape: tuple[int, ...]) -> list[list[int]]:
    """The axes of size one between the others."""
    gaps: list[list[int]] = [[]]
    for axis, n in enumerate(shape):
        if n == 1:
            gaps[-1].append(axis)
        else:
            gaps.append([])
    return gaps


def _reshape(t: Translation, op: Operator) -> None:
    before, after = t.shape(op, 0), t.output_shape(op)
    moved = unit_permutation(before, after)
    if moved is not None:
        _transposed(t, op, moved)
        return
    changes = unit_changes(before, after)
    if changes is not None:
        x = t.x(op)
        for axis in reversed(changes[0]):
            x = t.squeeze(op, x, axis)
        for axis in changes[1]:
            x = t.unsqueeze(op, x, axis)
        t.result(op, x)
        return
    given = t.index(op, 1)
    wanted = t.builder.ints(*after) if given is None else t.name(given, op)
    t.result(op, t.one(op, "Reshape", t.x(op), wanted, allowzero=1))


def _transpose(t: Translation, op: Operator) -> None:
    _transposed(t, op, t.integers(op, 1))


def _transposed(t: Translation, op: Operator, permutation: list[int]) -> None:
    """What waits to be reversed goes on waiting."""
    if t.given(op, 0) in t.reversals:
        x, axis = t.reversals[t.given(op, 0)]
        t.reversals[op.outputs[0]] = (
            t.one(op, "Transpose", x, perm=permutation),
            permutation.index(axis),
        )
    else:
        t.result(op, t.one(op, "Transpose", t.x(op), perm=permutation))


def _squeeze(t: Translation, op: Operator) -> None:
    axes = list(op.options["axes"]) or [axis for axis, n in enumerate(t.shape(op, 0)) if n == 1]
    x = t.x(op)
    for axis in sorted((axis % len(t.shape(op, 0)) for axis in axes), reverse=True):
        x = t.squeeze(op, x, axis)
    t.result(op, x)


def _expand_dims(t: Translation, op: Operator) -> None:
    (axis,) = t.integers(op, 1)
    rank = len(t.shape(op, 0)) + 1
    t.result(op, t.unsqueeze(op, t.x(op), axis % rank))


def _strided_slice(t: Translation, op: Operator) -> None:
    """Slices, and for each axis that shrinks one index."""
    masks = op.options
    if masks["ellipsis_mask"] or masks["new_axis_mask"] or masks["offset"]:
        raise t.refuse(
            op, "has an ellipsis, a new axis or an offset; plain slices are allowed", "use tf.reshape."
        )
    begins, ends, steps = (t.integers(op, k) for k in (1, 2, 3))
    rank = len(t.shape(op, 0))
    if not len(begins) == len(ends) == len(steps) <= rank:
        raise t.refuse(op, "has begins, ends and steps that do not fit", "convert the model again.")
    if _is_last_step(t, op, begins, ends, steps):
        t.result(op, t.ends[t.given(op, 0)][0])
        return
    x, dropped = t.x(op), 0
    for axis, (begin, end, step) in enumerate(zip(begins, ends, steps, strict=True)):
        if masks["shrink_axis_mask"] >> axis & 1:
            x = t.one(op, "Gather", x, t.builder.constant(np.int64(begin)), axis=axis - dropped)
            dropped += 1
            continue
        first = (0 if step > 0 else _END) if masks["begin_mask"] >> axis & 1 else begin
        last = (_END if step > 0 else -_END) if masks["end_mask"] >> axis & 1 else end
        if (first, last, step) != (0, _END, 1):
            x = _sliced(t, op, x, axis - dropped, first, last, step)
    t.result(op, x)


def _is_last_step(t: Translation, op: Operator, begins: list[int], ends: list[int], steps: list[int]) -> bool:
    """Whether it picks the last step of a layer's results, and all of their other axes."""
    index, shape, masks = t.given(op, 0), t.shape(op, 0), op.options
    if index not in t.ends or masks["shrink_axis_mask"] != 1 << t.ends[index][1]:
        return False
    time = t.ends[index][1]
    others = [axis for axis in range(len(begins)) if axis != time]
    whole = all(
        (begins[a] == 0 or masks["begin_mask"] >> a & 1)
        and (ends[a] == shape[a] or masks["end_mask"] >> a & 1)
        and steps[a] == 1
        for a in others
    )
    return whole and begins[time] in (-1, shape[time] - 1)


def _sliced(t: Translation, op: Operator, x: str, axis: int, first: int, last: int, step: int = 1) -> str:
    ints = t.builder.ints
    return t.one(op, "Slice", x, ints(first), ints(last), ints(axis), ints(step))


def _slice(t: Translation, op: Operator) -> None:
    x = t.x(op)
    begins, sizes = t.integers(op, 1), t.integers(op, 2)
    for axis, (begin, size, n) in enumerate(zip(begins, sizes, t.shape(op, 0), strict=False)):
        if (begin, size) not in ((0, -1), (0, n)):
            x = _sliced(t, op, x, axis, begin, _END if size == -1 else begin + size)
    t.result(op, x)


def _split(t: Translation, op: Operator) -> None:
    """SPLIT has its axis first."""
    (axis,) = t.integers(op, 0)
    _divide(t, op, t.x(op, 1), axis, None)


def _split_v(t: Translation, op: Operator) -> None:
    """SPLIT_V names the sizes of its parts."""
    (axis,) = t.integers(op, 2)
    sizes = t.integers(op, 1)
    rest = t.shape(op, 0)[axis] - sum(size for size in sizes if size != -1)
    _divide(t, op, t.x(op, 0), axis, [rest if size == -1 else size for size in sizes])


def _divide(t: Translation, op: Operator, x: str, axis: int, sizes: list[int] | None) -> None:
    if op.options["count"] != len(op.outputs):
        raise t.refuse(
            op, f"has {len(op.outputs)} outputs for {op.options['count']} parts", "convert the model again."
        )
    parts = [] if sizes is None else [t.builder.ints(*sizes)]
    made = t.builder.add("Split", t.where(op), x, *parts, outputs=len(op.outputs), axis=axis)
    for k, name in enumerate(made):
        t.result(op, name, k)


def _concatenation(t: Translation, op: Operator) -> None:
    parts = [t.x(op, k) for k in range(len(op.inputs))]
    t.activated(op, t.one(op, "Concat", *parts, axis=int(op.options["axis"])))


def _pack(t: Translation, op: Operator) -> None:
    axis = int(op.options["axis"]) % (len(t.shape(op, 0)) + 1)
    at = t.builder.ints(axis)
    parts = [t.one(op, "Unsqueeze", t.x(op, k), at) for k in range(len(op.inputs))]
    t.result(op, t.one(op, "Concat", *parts, axis=axis))


def _unpack(t: Translation, op: Operator) -> None:
    for k in range(len(op.outputs)):
        at = t.builder.constant(np.int64(k))
        t.result(op, t.one(op, "Gather", t.x(op), at, axis=int(op.options["axis"])), k)


def _gather(t: Translation, op: Operator) -> None:
    if op.options["batch_axes"]:
        raise t.refuse(op, "gathers with batch axes; none are allowed", "use tf.gather without batch_dims.")
    t.result(op, t.one(op, "Gather", t.x(op, 0), t.x(op, 1), axis=int(op.options["axis"])))


def _pad(t: Translation, op: Operator) -> None:
    amounts = np.asarray(t.constant(op, 1))
    if amounts.shape != (len(t.shape(op, 0)), 2) or amounts.dtype.kind != "i" or amounts.min() < 0:
        raise t.refuse(op, "pads by amounts that do not fit", "convert the model again.")
    pads = t.builder.ints(*amounts.T.ravel().tolist())
    value = [t.x(op, 2)] if t.index(op, 2) is not None else []
    t.result(op, t.one(op, "Pad", t.x(op), pads, *value, mode="constant"))


def _reverse(t: Translation, op: Operator) -> None:
    """One axis waits for who reads it: a layer then runs backwards, and another reversal undoes it."""
    axes = [axis % len(t.shape(op, 0)) for axis in t.integers(op, 1)]
    index = t.given(op, 0)
    if len(axes) == 1 and t.reversals.get(index, ("", -1))[1] == axes[0]:
        t.result(op, t.reversals[index][0])
    elif len(axes) == 1:
        t.reversals[op.outputs[0]] = t.x(op), axes[0]
    else:
        x = t.x(op)
        for axis in axes:
            x = t.reverse(op, x, axis)
        t.result(op, x)


def _reduce(kind: str) -> Translator:
    def translate(t: Translation, op: Operator) -> None:
        rank = len(t.shape(op, 0))
        axes = t.builder.ints(*(axis % rank for axis in t.integers(op, 1)))
        t.result(op, t.one(op, kind, t.x(op), axes, keepdims=int(op.options["keep_axes"])))

    return translate


def _shape(t: Translation, op: Operator) -> None:
    t.result(op, t.one(op, "Shape", t.x(op)))


def _fill(t: Translation, op: Operator) -> None:
    t.result(op, t.one(op, "Expand", t.x(op, 1), t.x(op, 0)))


TRANSLATORS: dict[str, Translator] = {
    "RESHAPE": _reshape,
    "TRANSPOSE": _transpose,
    "SQUEEZE": _squeeze,
    "EXPAND_DIMS": _expand_dims,
    "STRIDED_SLICE": _strided_slice,
    "SLICE": _slice,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "CONCATENATION": _concatenation,
    "PACK": _pack,
    "UNPACK": _unpack,
    "GATHER": _gather,
    "PAD": _pad,
    "PADV2": _pad,
    "REVERSE_V2": _reverse,
    "MEAN": _reduce("ReduceMean"),
    "SUM": _reduce("ReduceSum"),
    "REDUCE_MAX": _reduce("ReduceMax"),
    "REDUCE_MIN": _reduce("ReduceMin"),
    "SHAPE": _shape,
    "FILL": _fill,
}
