"""Operations that pick, move and join elements."""

from typing import Any

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.builder import Builder, Translator

Args = list[Any]
Kwargs = dict[str, Any]
_END = 2**63 - 1


def _same(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    return b.one("Identity", where, args[0])


def picked(b: Builder, where: str, x: str, axis: int, index: int) -> str:
    """One index of an axis, which vanishes."""
    return b.one("Gather", where, x, b.constant(np.int64(index)), axis=axis)


def _select(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    return picked(b, where, *args)


def _unbind(b: Builder, where: str, args: Args, kwargs: Kwargs) -> list[str]:
    del kwargs
    x, axis = args + [0][len(args) - 1 :]
    return [picked(b, where, x, axis, i) for i in range(b.shapes[x][axis])]


def sliced(b: Builder, where: str, x: str, axis: int, start: Any, end: Any, step: int = 1) -> str:
    """A slice of one axis."""
    return b.one("Slice", where, x, b.ints(start), b.ints(end), b.ints(axis), b.ints(step))


def _slice(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    x, axis, start, end, step = args + [0, None, None, 1][len(args) - 1 :]
    return sliced(b, where, x, axis, start or 0, _END if end is None else end, step)


def _split(b: Builder, where: str, args: Args, kwargs: Kwargs) -> list[str]:
    """Parts of one size (the last may be smaller), or of given sizes."""
    del kwargs
    x, parts, axis = args + [0][len(args) - 2 :]
    size = b.shapes[x][axis]
    sizes = (
        list(parts)
        if isinstance(parts, list)
        else [min(parts, size - at) for at in range(0, size, max(parts, 1))]
    )
    starts = np.cumsum([0, *sizes])
    return [sliced(b, where, x, axis, int(at), int(at) + n) for at, n in zip(starts, sizes, strict=False)]


def _index_select(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    x, axis, indices = args
    return b.one("Gather", where, x, indices, axis=axis)


def _index(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    """x[:, idx]: one constant list of indices."""
    del kwargs
    x, indices = args
    given = [(axis, index) for axis, index in enumerate(indices) if index is not None]
    if len(given) != 1:
        raise StepcellError(
            f"{b.file}: node '{where}' indexes {len(given)} axes at once; one axis is allowed.",
            "index one axis after the other.",
        )
    ((axis, index),) = given
    return b.one("Gather", where, x, index, axis=axis)


def _flip(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    x, axes = args
    for axis in axes:
        order = np.arange(b.shapes[x][axis])[::-1].copy()
        x, rank = b.one("Gather", where, x, b.constant(order), axis=axis), b.shapes[x]
        b.shapes[x] = rank
    return str(x)


def _transpose(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    x, first, second = args
    return b.one("SwapAxes", where, x, axes=[first, second])


def _permute(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    rank = len(args[1])
    return b.one("Transpose", where, args[0], perm=[axis % rank for axis in args[1]])


def _t(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    if b.rank(args[0]) < 2:
        return b.one("Identity", where, args[0])
    return b.one("SwapAxes", where, args[0], axes=[-1, -2])


def _reshape(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    return b.one("Reshape", where, args[0], b.ints(*args[1]), allowzero=1)


def _flatten(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    x, start, end = args + [0, -1][len(args) - 1 :]
    return b.one("FlattenAxes", where, x, start=start, end=end)


def _with_axes(op: str) -> Translator:
    def make(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
        del kwargs
        axes = [] if len(args) < 2 else [args[1]] if isinstance(args[1], int) else list(args[1])
        return b.one(op, where, args[0], *([b.ints(*axes)] if axes else []))

    return make


def _squeeze(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    """PyTorch squeezes an axis only if its size is one, ONNX must be sure of it."""
    del kwargs
    x, *given = args
    shape = b.shapes[x]
    axes = range(len(shape)) if not given else [given[0]] if isinstance(given[0], int) else given[0]
    ones = [axis for axis in axes if shape[axis] == 1]
    return b.one("Squeeze", where, x, b.ints(*ones)) if ones else b.one("Identity", where, x)


def _cat(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    parts = [part for part in args[0] if b.shapes.get(part) != (0,)]  # PyTorch's empty tensor adds nothing
    return b.one("Concat", where, *parts, axis=args[1] if len(args) > 1 else 0)


def _stack(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    parts, axis = args + [0][len(args) - 1 :]
    return b.one("Stack", where, *parts, axis=axis % (b.rank(parts[0]) + 1))


def _expand(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    """-1 keeps an axis, as 1 does in ONNX."""
    del kwargs
    x, sizes = args
    return b.one("Expand", where, x, b.ints(*(1 if size == -1 else size for size in sizes)))


def _repeat(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    x, counts = args
    lead = len(counts) - b.rank(x)
    if lead:
        x = b.one("Unsqueeze", where, x, b.ints(*range(lead)))
    for axis, count in enumerate(counts):
        if count != 1:
            x = b.one("Concat", where, *[x] * count, axis=axis)
    return str(x)


def _pad(mode: str) -> Translator:
    """PyTorch pads from the last axis on: (before, after) of the last, of the one before, ..."""

    def make(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
        del kwargs
        x, given, *value = args
        before, after = [0] * b.rank(x), [0] * b.rank(x)
        for i in range(len(given) // 2):
            before[-1 - i], after[-1 - i] = given[2 * i], given[2 * i + 1]
        fill = [b.constant(np.float32(value[0]))] if value and value[0] else []
        return b.one("Pad", where, x, b.ints(*before, *after), *fill, mode=mode)

    return make


def _copy(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    """What is stored in a part of another tensor."""
    del kwargs
    into, x = args[:2]
    if b.shapes[into] == b.shapes[x]:
        return b.one("Identity", where, x)
    return b.one("Expand", where, x, b.one("Shape", where, into))


def _select_scatter(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    """`y[:, t] = x`."""
    del kwargs
    y, x, axis, index = args
    return _stored(b, where, y, b.one("Unsqueeze", where, x, b.ints(axis)), axis, index, index + 1)


def _slice_scatter(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    """`y[:, a:b] = x`."""
    del kwargs
    y, x, axis, start, end, step = args + [0, None, None, 1][len(args) - 2 :]
    if step != 1:
        raise StepcellError(
            f"{b.file}: node '{where}' stores every {step}th element; a slice is allowed.", "use torch.cat."
        )
    return _stored(b, where, y, x, axis, start or 0, end)


def _stored(b: Builder, where: str, y: str, x: str, axis: int, start: int, end: int | None) -> str:
    size = b.shapes[y][axis]
    stop = size if end is None else min(end, size)
    if start == 0 and stop >= size:
        return b.one("Identity", where, x)
    return b.one("Store", where, y, x, axis=axis % b.rank(y), start=start % size, end=stop)


TRANSLATORS: dict[str, Translator] = {
    "aten.select.int": _select,
    "aten.unbind.int": _unbind,
    "aten.slice.Tensor": _slice,
    "aten.split.Tensor": _split,
    "aten.split_with_sizes.default": _split,
    "aten.index_select.default": _index_select,
    "aten.index.Tensor": _index,
    "aten.flip.default": _flip,
    "aten.transpose.int": _transpose,
    "aten.permute.default": _permute,
    "aten.t.default": _t,
    "aten.numpy_T.default": _t,
    "aten.view.default": _reshape,
    "aten.reshape.default": _reshape,
    "aten._unsafe_view.default": _reshape,
    "aten.flatten.using_ints": _flatten,
    "aten.squeeze.default": _squeeze,
    "aten.squeeze.dim": _squeeze,
    "aten.squeeze.dims": _squeeze,
    "aten.unsqueeze.default": _with_axes("Unsqueeze"),
    "aten.cat.default": _cat,
    "aten.stack.default": _stack,
    "aten.expand.default": _expand,
    "aten.repeat.default": _repeat,
    "aten.constant_pad_nd.default": _pad("constant"),
    "aten.reflection_pad1d.default": _pad("reflect"),
    "aten.reflection_pad2d.default": _pad("reflect"),
    "aten.replication_pad1d.default": _pad("edge"),
    "aten.replication_pad2d.default": _pad("edge"),
    "aten.copy.default": _copy,
    "aten.select_scatter.default": _select_scatter,
    "aten.slice_scatter.default": _slice_scatter,
    "aten.clone.default": _same,
    "aten.contiguous.default": _same,
    "aten.detach.default": _same,
    "aten.detach_.default": _same,
    "aten.alias.default": _same,
    "aten.lift_fresh_copy.default": _same,
}
