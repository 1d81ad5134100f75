"""Dot-product attention over the steps of a sequence, from the operators that it is written in.

    scores  = MatMul(query, keys'), or Mul and ReduceSum          one number for every step of the keys
    weights = Softmax(scores * scale + mask) over those steps     also of numbers without a query: pooling
    y       = MatMul(weights, values), or Mul and ReduceSum over the steps

Until y, nothing is computed: what lies between are `Tensor`s that know which numbers they come from. Keys
and values are then stored in memories of as many rows as there are steps, and Attend reads them.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stepcell.importers.graph import Node, Unsupported
from stepcell.importers.lift.attention_rows import Rows, readable
from stepcell.importers.lift.axes import KEYS, TIME, Axes, Axis, labels, require_inner, unify
from stepcell.importers.lift.context import Lift, Lifted, Phase, Tensor, inner_shape, whole
from stepcell.importers.lift.lengths import refuse_padding

Indices = NDArray[np.intp]
HINT = "write softmax(scale * query . keys) over time, then the sum of weights * values over time."

# fmt: off
HANDLES = frozenset([
    "MatMul", "Gemm", "Einsum", "Mul", "Div", "Add", "Sub", "Where", "ReduceSum", "Softmax", "CausalMask",
    "Identity", "Cast", "Dropout", "Transpose", "SwapAxes", "Reshape", "Flatten", "FlattenAxes", "Squeeze",
    "Unsqueeze", "Expand",
])
# fmt: on
"""Operators that may stand between the scores and what is made of them."""


@dataclass(frozen=True, eq=False)
class Side:
    """Vectors out of one value: indices [n, d] of its elements within one step (or once a sequence)."""

    value: str
    phase: Phase
    indices: Indices
    rows: Rows | None = None
    """The memory of another function that they are out of."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Products(Tensor):
    """Element i is left[i] * right[i], where one exists at every step and the other once a sequence."""

    left: Side
    right: Side


@dataclass(frozen=True, eq=False, kw_only=True)
class Scores(Tensor):
    """Element i is scale * left[i] . right[i].

    Where both exist at every step, the left one has the axis "time", the right one "keys".
    """

    left: Side
    right: Side
    scale: float = 1.0
    causal: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Weights(Tensor):
    """Softmax over "keys" of scale * query[i] . keys[i]; without a query, of keys[i], one number."""

    keys: Side
    query: Side | None
    scale: float = 1.0
    causal: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Weighted(Tensor):
    """Element i is weights[score[i]] * values[index[i]] at every step of the keys."""

    weights: Weights
    score: Indices
    values: Side
    """Of which `index` numbers the elements."""
    index: Indices


Pending = Products | Scores | Weights | Weighted


def is_pending(operand: Lifted | None) -> bool:
    """Whether an operand is what attention is made of, before it is whole."""
    return isinstance(operand, Products | Scores | Weights | Weighted)


def check_reader(node: Node, operands: list[Lifted | None]) -> None:
    """Refuse operators that read scores or weights and are no part of dot-product attention."""
    if node.op in HANDLES:
        return
    if any(isinstance(operand, Products) for operand in operands):
        mixed()
    if node.op not in ("Gather", "Slice", "Split") and any(isinstance(operand, Rows) for operand in operands):
        raise Unsupported(
            "reads the steps of another function, of which only affine maps are attended to",
            "compute it in the function that makes them.",
        )
    if any(is_pending(operand) for operand in operands):
        raise Unsupported("reads attention scores or weights, which may only be scaled and masked", HINT)


def mixed() -> None:
    """Refuse to combine what exists at every step with what exists once a sequence."""
    raise Unsupported(
        "mixes values of every step with values of the whole sequence",
        f"broadcast means are not imported; of attention, {HINT}",
    )


def side(found: Tensor, indices: Indices) -> Side:
    """Vectors out of a tensor's value."""
    rows = found if isinstance(found, Rows) else None
    return Side(found.value, found.phase, indices.reshape(-1, indices.shape[-1]), rows)


def products(a: Tensor, b: Tensor, axes: Axes) -> Products:
    """a * b, broadcast, of which one exists at every step and the other once a sequence."""
    shape = np.broadcast_shapes(a.table.shape, b.table.shape)
    left, right = (side(x, np.broadcast_to(x.table, shape).reshape(-1, 1)) for x in (a, b))
    table = np.arange(len(left.indices)).reshape(inner_shape(axes))
    return Products("", table, axes, "attention", left=left, right=right)


def summed_products(x: Products, axes: list[int]) -> Scores:
    """The sum of products over one inner axis: scores. Axes keep their number."""
    if len(axes) != 1:
        raise Unsupported(f"sums products over {len(axes)} axes; one is allowed", HINT)
    (axis,) = axes
    require_inner(x.axes[axis], "sums attention scores over")
    moved = np.moveaxis(x.table, axis, -1)
    left, right = (
        replace(found, indices=found.indices[:, 0][moved].reshape(-1, moved.shape[-1]))
        for found in (x.left, x.right)
    )
    after: Axes = tuple((1,) if k == axis else found for k, found in enumerate(x.axes))
    table = np.arange(len(left.indices)).reshape(inner_shape(after))
    return Scores("", table, after, "attention", left=left, right=right)


def scores(lift: Lift, a: Tensor, b: Tensor, scale: float) -> Scores:
    """a @ b of two tensors that both depend on the input: rows of a, or columns of b, lie along time."""
    a, b = readable(a), readable(b)
    given = isinstance(a, Rows) or isinstance(b, Rows)
    if min(len(a.axes), len(b.axes)) < 2 or (lift.single_step and not given):
        raise Unsupported("multiplies two tensors that both depend on the input", HINT)
    for axis in (a.axes[-1], b.axes[-2]):
        require_inner(axis, "multiplies two tensors along")
    along = [(a, a.axes[-2]), (b, b.axes[-1])]
    if not (_over_rows(along) if given else _over_steps(along)):
        raise Unsupported(
            "multiplies two tensors that both depend on the input, and not along their steps", HINT
        )
    lead, tables = _stacked(a, b)
    shape = (*np.broadcast_shapes(tables[0].shape[:-2], tables[1].shape[:-2]), a.table.shape[-2])
    columns = b.table.shape[-1]
    rows, cols = tables[0][..., :, None, :], np.swapaxes(tables[1], -1, -2)[..., None, :, :]
    depth = a.table.shape[-1]
    left, right = (
        side(x, np.broadcast_to(indices, (*shape, columns, depth))) for x, indices in ((a, rows), (b, cols))
    )
    both = a.phase == b.phase == "step"
    axes: Axes = (*lead, a.axes[-2], (KEYS,) if both else b.axes[-1])
    table = np.arange(len(left.indices)).reshape(inner_shape(axes))
    return Scores("", table, axes, "attention", left=left, right=right, scale=scale)


def _over_steps(along: list[tuple[Tensor, Axis]]) -> bool:
    """Whether a product has an axis for every step, of one side or of both."""
    phases = [x.phase for x, _ in along]
    return "step" in phases and all((axis == TIME) == (x.phase == "step") for x, axis in along)


def _over_rows(along: list[tuple[Tensor, Axis]]) -> bool:
    """Whether a product has an axis for every row of a memory, and its other side is queries."""
    queries = [axis for x, axis in along if not isinstance(x, Rows)]
    keys = [axis for x, axis in along if isinstance(x, Rows)]
    return keys == [(KEYS,)] and queries != [] and (queries[0] == TIME or not labels(queries[0]))


def _stacked(a: Tensor, b: Tensor) -> tuple[Axes, list[Indices]]:
    """The leading axes of a batched product, and the tables with equally many axes."""
    rank = max(len(a.axes), len(b.axes))
    axes = [((1,),) * (rank - len(x.axes)) + x.axes for x in (a, b)]
    tables = [x.table.reshape((1,) * (rank - x.table.ndim) + x.table.shape) for x in (a, b)]
    lead = tuple(unify(p, q) for p, q in zip(axes[0][:-2], axes[1][:-2], strict=True))
    if any("time" in labels(axis) for axis in lead):
        raise Unsupported("multiplies a matrix of its own at every step", HINT)
    return lead, tables


def scaled(x: Scores, factor: float) -> Scores:
    """The scores times a number."""
    return replace(x, scale=x.scale * factor)


def softmax(lift: Lift, x: Scores, axis: int) -> Weights:
    """The weights: softmax over the steps of one side, which are the keys."""
    refuse_padding(lift)
    if x.axes[axis] == (KEYS,):
        keys, query = (x.left, x.right) if x.left.rows is not None else (x.right, x.left)
        return Weights(
            "", x.table, x.axes, "attention", keys=keys, query=query, scale=x.scale, causal=x.causal
        )
    if x.axes[axis] != TIME or x.causal or x.left.rows is not None or x.right.rows is not None:
        raise Unsupported("runs over another axis of attention scores than the steps of their keys", HINT)
    keys, query = (x.left, x.right) if x.left.phase == "step" else (x.right, x.left)
    swapped: dict[Axis, Axis] = {TIME: (KEYS,), (KEYS,): TIME}
    axes: Axes = tuple(swapped.get(found, found) for found in x.axes)
    return Weights("", x.table, axes, "attention", keys=keys, query=query, scale=x.scale)


def is_over_time(lift: Lift, x: Tensor, axis: int) -> bool:
    """Whether a softmax over this axis weights the steps of a sequence."""
    if isinstance(x, Rows):
        return x.axes[axis] == (KEYS,)
    return x.axes[axis] == TIME and x.phase == "step" and not lift.single_step


def pooling_weights(lift: Lift, x: Tensor, axis: int) -> Weights:
    """Softmax over time of numbers of every step: weights without a query."""
    refuse_padding(lift)
    found = x if isinstance(x, Rows) else whole(x)
    axes: Axes = (*x.axes[:axis], (KEYS,), *x.axes[axis + 1 :])
    if any("time" in labels(other) for other in axes):
        raise Unsupported("runs over one of two time axes", HINT)
    keys = side(found, found.table.reshape(-1, 1))
    table = np.arange(found.table.size).reshape(found.table.shape)
    return Weights("", table, axes, "attention", keys=keys, query=None)


def weighted(weights: Weights, values: Tensor, axes: Axes) -> Weighted:
    """Weights times the values of the same steps; `axes` are those of the product, KEYS for time."""
    shape = inner_shape(axes)
    rank = len(axes)
    tables = [x.table.reshape((1,) * (rank - x.table.ndim) + x.table.shape) for x in (weights, values)]
    score, index = (np.broadcast_to(table, shape).ravel() for table in tables)
    table = np.arange(score.size).reshape(shape)
    return Weighted(
        "", table, axes, "attention", weights=weights, score=score, values=_elements(values), index=index
    )


def _elements(values: Tensor) -> Side:
    rows = values if isinstance(values, Rows) else None
    return Side(values.value, values.phase, np.zeros((0, 0), np.intp), rows)


def _steps_of(w: Weights, values: Tensor) -> Axis:
    """The axis of the values that the weights' keys have, too."""
    if isinstance(values, Rows) != (w.keys.rows is not None) or values.phase == "end":
        raise Unsupported("multiplies attention weights by what is not the values of their steps", HINT)
    return (KEYS,) if isinstance(values, Rows) else TIME


def weighted_product(w: Weights, values: Tensor) -> Weighted:
    """w @ values, before the sum over the steps."""
    values = readable(values)
    if values.axes[-2] != _steps_of(w, values) or w.axes[-1] != (KEYS,):
        raise Unsupported("multiplies attention weights by what is not the values of their steps", HINT)
    lead, tables = _stacked(replace(w, axes=(*w.axes[:-2], (1,), (1,))), values)
    axes: Axes = (*lead, w.axes[-2], values.axes[-1])
    shape = inner_shape(axes)
    score = np.broadcast_to(tables[0][..., :, :1], shape).ravel()
    index = np.broadcast_to(tables[1][..., :1, :], shape).ravel()
    table = np.arange(score.size).reshape(shape)
    return Weighted(
        "", table, axes, "attention", weights=w, score=score, values=_elements(values), index=index
    )


def meeting(w: Weights, values: Tensor) -> Axes:
    """The axes of weights * values: where the keys are, the values have time."""
    steps = _steps_of(w, values)
    rank = max(len(w.axes), len(values.axes))
    mine, theirs = (((1,),) * (rank - len(x.axes)) + x.axes for x in (w, whole(values)))
    return tuple(_met(a, b, steps) for a, b in zip(mine, theirs, strict=True))


def _met(a: Axis, b: Axis, steps: Axis) -> Axis:
    if a == (KEYS,) and b == steps:
        return a
    if a == (KEYS,) or b == steps:
        raise Unsupported("multiplies attention weights by what is not the values of their steps", HINT)
    return unify(a, b)
