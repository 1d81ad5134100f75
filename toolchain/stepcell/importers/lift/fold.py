"""Constant folding: weights computed in the file, and shape arithmetic.

Sizes of free axes are numbers that occur nowhere else, so shape arithmetic is integer arithmetic.
Every result is bounded, so that a damaged file cannot ask for all the memory.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from stepcell.importers.graph import Array, Node, Unsupported
from stepcell.importers.lift.attributes import Operands, axis_of, ints_of
from stepcell.importers.lift.context import known
from stepcell.importers.lift.fold_reference import FOLDED, fold_by_reference

LARGEST = 2**26
"""Elements of a folded constant; more than any microcontroller holds."""

Arrays = list[Array]
_TYPES: dict[int, Any] = {
    1: np.float32,
    2: np.uint8,
    3: np.int8,
    5: np.int16,
    6: np.int32,
    7: np.int64,
    9: np.bool_,
    10: np.float16,
    11: np.float64,
}


def fold(node: Node, operands: Operands, opset: int = 18) -> Arrays | None:
    """The node's outputs computed now; None if its operator is not one that folds."""
    if node.op in FOLDED:
        with np.errstate(all="ignore"):
            return fold_by_reference(node, operands, opset)
    if node.op not in _FOLDERS:
        return None
    with np.errstate(all="ignore"):
        return _FOLDERS[node.op](
            node, [known(operand, "an operand") for operand in operands if operand is not None]
        )


def folds(node: Node) -> bool:
    """Whether the node's operator is one that can be computed now."""
    return node.op in FOLDED or node.op in _FOLDERS


def bounded(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that may be allocated; refused where it is huge or negative."""
    if any(size < 0 for size in shape) or prod(shape) > LARGEST:
        raise Unsupported(
            f"makes a constant of shape {list(shape)}; at most {LARGEST} elements", "check the file."
        )
    return shape


def _numpy(function: Callable[..., Any]) -> Callable[[Node, Arrays], Arrays]:
    def run(node: Node, xs: Arrays) -> Arrays:
        del node
        bounded(np.broadcast_shapes(*(x.shape for x in xs)))
        return [np.asarray(function(*xs))]

    return run


def _divide(a: Array, b: Array) -> Array:
    if a.dtype.kind != "i":
        return np.asarray(a / b)
    quotient = np.abs(a) // np.maximum(np.abs(b), 1)  # ONNX truncates towards zero
    return np.asarray(np.where((a < 0) != (b < 0), -quotient, quotient)).astype(a.dtype)


def _constant(node: Node, xs: Arrays) -> Arrays:
    del xs
    for name, dtype in (
        ("value_int", np.int64),
        ("value_float", np.float32),
        ("value_ints", np.int64),
        ("value_floats", np.float32),
        ("value", None),
    ):
        if name in node.attributes:
            return [np.asarray(node.attributes[name], dtype)]
    raise Unsupported("holds text or a sparse tensor; numbers are allowed", "store dense numbers.")


def _constant_of_shape(node: Node, xs: Arrays) -> Arrays:
    shape = bounded(tuple(int(size) for size in xs[0].ravel()))
    value = np.asarray(node.attributes.get("value", np.zeros(1, np.float32))).ravel()[0]
    return [np.broadcast_to(value, shape)]


def _expand(node: Node, xs: Arrays) -> Arrays:
    del node
    shape = bounded(tuple(np.broadcast_shapes(xs[0].shape, tuple(int(size) for size in xs[1].ravel()))))
    return [np.broadcast_to(xs[0], shape)]


def _gather(node: Node, xs: Arrays) -> Arrays:
    axis = axis_of(int(node.attributes.get("axis", 0)), xs[0].ndim)
    return [np.take(xs[0], xs[1].astype(np.int64), axis=axis)]


def _slice(node: Node, xs: Arrays) -> Arrays:
    operands: Operands = [*xs]
    starts, ends = (ints_of(node, operands, name, i) or [] for i, name in ((1, "starts"), (2, "ends")))
    axes = ints_of(node, operands, "axes", 3) or list(range(len(starts)))
    steps = ints_of(node, operands, "steps", 4) or [1] * len(starts)
    x = xs[0]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        stop = None if step < 0 and end < -x.shape[axis] else end
        x = x[(slice(None),) * axis_of(axis, x.ndim) + (slice(start, stop, step),)]
    return [x]


def _reshape(node: Node, xs: Arrays) -> Arrays:
    shape = [int(size) for size in xs[1].ravel()]
    if not node.attributes.get("allowzero", 0):
        shape = [xs[0].shape[i] if size == 0 else size for i, size in enumerate(shape)]
    return [xs[0].reshape(shape)]


def _transpose(node: Node, xs: Arrays) -> Arrays:
    return [xs[0].transpose(node.attributes.get("perm", range(xs[0].ndim)[::-1]))]


def _swap_axes(node: Node, xs: Arrays) -> Arrays:
    return [np.swapaxes(xs[0], *node.attributes["axes"])]


def _squeeze(node: Node, xs: Arrays) -> Arrays:
    axes = ints_of(node, [*xs], "axes", 1)
    return [xs[0].squeeze(None if axes is None else tuple(axes))]


def _unsqueeze(node: Node, xs: Arrays) -> Arrays:
    return [np.expand_dims(xs[0], tuple(ints_of(node, [*xs], "axes", 1) or []))]


def _concat(node: Node, xs: Arrays) -> Arrays:
    return [np.concatenate(xs, axis=int(node.attributes.get("axis", 0)))]


def _split(node: Node, xs: Arrays) -> Arrays:
    axis = axis_of(int(node.attributes.get("axis", 0)), xs[0].ndim)
    parts = ints_of(node, [*xs], "split", 1)
    if parts is None:
        part = -(-xs[0].shape[axis] // len(node.outputs))
        parts = [part] * (len(node.outputs) - 1)
        return np.split(xs[0], np.cumsum(parts), axis=axis)
    return np.split(xs[0], np.cumsum(parts)[:-1], axis=axis)


def _cast(node: Node, xs: Arrays) -> Arrays:
    to = int(node.attributes["to"])
    if to not in _TYPES:
        raise Unsupported(
            f"casts to ONNX type {to}; the plain float and integer types are allowed", "store float32."
        )
    return [xs[0].astype(_TYPES[to])]


def _range(node: Node, xs: Arrays) -> Arrays:
    del node
    start, limit, step = (x.ravel()[0] for x in xs)
    bounded((max(int(np.ceil((limit - start) / step)), 0) if step else LARGEST + 1,))
    return [np.arange(start, limit, step)]


def _matmul(node: Node, xs: Arrays) -> Arrays:
    del node
    rows, cols = xs[0].shape[:-1], xs[1].shape[-1:]
    bounded((*rows, *cols))
    return [xs[0] @ xs[1]]


def _reduce_prod(node: Node, xs: Arrays) -> Arrays:
    axes = ints_of(node, [*xs], "axes", 1)
    keep = bool(node.attributes.get("keepdims", 1))
    return [np.asarray(np.prod(xs[0], axis=None if axes is None else tuple(axes), keepdims=keep))]


_FOLDERS: dict[str, Callable[[Node, Arrays], Arrays]] = {
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Gather": _gather,
    "Slice": _slice,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "SwapAxes": _swap_axes,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Split": _split,
    "Cast": _cast,
    "Range": _range,
    "MatMul": _matmul,
    "ReduceProd": _reduce_prod,
    "Identity": lambda _, xs: xs[:1],
    "Add": _numpy(np.add),
    "Sub": _numpy(np.subtract),
    "Mul": _numpy(np.multiply),
    "Div": _numpy(_divide),
    "Neg": _numpy(np.negative),
    "Abs": _numpy(np.abs),
    "Pow": _numpy(lambda x, y: np.power(x, y).astype(x.dtype)),
    "Reciprocal": _numpy(lambda x: (1 / x).astype(x.dtype)),
    "Log": _numpy(np.log),
    "Sqrt": _numpy(np.sqrt),
    "Exp": _numpy(np.exp),
    "Floor": _numpy(np.floor),
    "Ceil": _numpy(np.ceil),
    "Where": _numpy(np.where),
    "Equal": _numpy(np.equal),
    "Less": _numpy(np.less),
    "Greater": _numpy(np.greater),
    "Not": _numpy(np.logical_not),
    "And": _numpy(np.logical_and),
    "Or": _numpy(np.logical_or),
    "Max": _numpy(np.maximum),
    "Min": _numpy(np.minimum),
    "Sigmoid": _numpy(lambda x: 1 / (1 + np.exp(-x))),
    "Tanh": _numpy(np.tanh),
    "Relu": _numpy(lambda x: np.maximum(x, 0)),
}
