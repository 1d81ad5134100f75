"""What operators do to the parts of attention: they are asked here before they compute anything."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from stepcell.importers.graph import Unsupported
from stepcell.importers.lift.attention import (
    HINT,
    Products,
    Scores,
    Weighted,
    Weights,
    is_pending,
    meeting,
    mixed,
    products,
    scaled,
    scores,
    summed_products,
    weighted,
    weighted_product,
)
from stepcell.importers.lift.attention_mask import masked, scale_of
from stepcell.importers.lift.attention_memory import attended, summed
from stepcell.importers.lift.attention_rows import Rows, adjusted, readable
from stepcell.importers.lift.axes import Axes
from stepcell.importers.lift.context import Known, Lift, Lifted, Tensor, per_step, tensor
from stepcell.ir.operators import Operator

_T = TypeVar("_T", bound=Tensor)


def product(lift: Lift, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """a @ b of two tensors: scores, or the values of every step in the mean that weights make."""
    if isinstance(a, Weights) or isinstance(b, Weights):
        if scale != 1.0:
            raise Unsupported("scales attention weights", HINT)
        if isinstance(a, Weights):
            return _mean(lift, a, b)
        assert isinstance(b, Weights)
        return _transposed(_mean(lift, _transposed(b), _transposed(a)))
    if is_pending(a) or is_pending(b):
        raise Unsupported("multiplies attention scores that no softmax has made weights of", HINT)
    return scores(lift, a, b, scale)


def _mean(lift: Lift, weights: Weights, values: Tensor) -> Tensor:
    found = weighted_product(weights, values)
    return attended(lift, found, found.axes)


def _transposed(x: _T) -> _T:
    axes: Axes = (*x.axes[:-2], x.axes[-1], x.axes[-2])
    return replace(x, table=np.swapaxes(x.table, -1, -2), axes=axes)


def combined(
    lift: Lift, operator: Operator, a: Lifted | None, b: Lifted | None, axes: Callable[[], Axes]
) -> Tensor | None:
    """Arithmetic of parts of attention, or of two tensors that make one; None for any other."""
    for x, other in ((a, b), (b, a)):
        if isinstance(x, Rows) and other is not None and not isinstance(other, Tensor):
            return _adjusted(lift, operator, x, other, first=x is a)
    if not is_pending(a) and not is_pending(b):
        return _product_of_phases(lift, operator, a, b, axes)
    for x, other in ((a, b), (b, a)):
        if isinstance(x, Scores) and operator == "mul":
            return scaled(x, scale_of(other))
        if isinstance(x, Weights) and operator == "mul" and isinstance(other, Tensor):
            values = readable(other)
            return weighted(x, values, meeting(x, values))
    if isinstance(a, Scores) and operator in ("add", "sub"):
        return masked(lift, a, -b if operator == "sub" and b is not None and not isinstance(b, Tensor) else b)
    if isinstance(b, Scores) and operator == "add":
        return masked(lift, b, a)
    if isinstance(a, Products) or isinstance(b, Products):
        mixed()
    raise Unsupported("computes with attention weights, which only the values of their steps may meet", HINT)


def _adjusted(lift: Lift, operator: Operator, x: Rows, constant: Known, first: bool) -> Rows:
    """Rows with a constant added or multiplied."""
    if operator not in ("add", "mul") and not (operator == "sub" and first):
        raise Unsupported("computes with the steps of another function", "compute it there.")
    if constant.ndim > len(x.axes):
        raise Unsupported("combines with a constant of more axes", "check the file.")
    aligned = constant.reshape((1,) * (len(x.axes) - constant.ndim) + constant.shape)
    numbers = np.broadcast_to(per_step(aligned, x.axes, lift.sizes), x.table.shape)
    return adjusted(x, operator, numbers)


def _product_of_phases(
    lift: Lift, operator: Operator, a: Lifted | None, b: Lifted | None, axes: Callable[[], Axes]
) -> Products | None:
    """A product of what exists at every step with what exists once a sequence."""
    if operator != "mul" or not isinstance(a, Tensor) or not isinstance(b, Tensor):
        return None
    if lift.single_step and not isinstance(a, Rows) and not isinstance(b, Rows):
        return None
    if isinstance(a, Rows) or isinstance(b, Rows):
        return None if isinstance(a, Rows) and isinstance(b, Rows) else products(a, b, axes())
    if {a.phase, b.phase} != {"step", "end"}:
        return None
    return products(tensor(a), tensor(b), axes())


def summed_over(lift: Lift, kind: str, x: Tensor, axes: list[int]) -> Tensor | None:
    """ReduceSum of products, or of weighted values; None for any other tensor."""
    if not is_pending(x):
        return None
    if kind == "ReduceSum" and isinstance(x, Products):
        return summed_products(x, axes)
    if kind == "ReduceSum" and isinstance(x, Weighted):
        return summed(lift, x, axes)
    raise Unsupported("reduces parts of attention in another way than by a sum", HINT)
