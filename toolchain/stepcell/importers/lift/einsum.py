"""Einsum of two operands with one common axis that is summed: a matrix product."""

from dataclasses import replace

import numpy as np

from stepcell.importers.graph import Node, Unsupported
from stepcell.importers.lift.attributes import Operands
from stepcell.importers.lift.context import Lift, Lifted, Tensor, inner_shape, known, movable
from stepcell.importers.lift.dense import product_of

_ALLOWED = "two operands, one summed axis that both have, and at most one axis of its own in each are allowed"


def einsum(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Einsum: axes that both operands keep come first, then MatMul, then the axes in the result's order."""
    a, b, result = _letters(node, operands)
    batch = [k for k in a if k in b and k in result]
    (summed,) = [k for k in a if k in b and k not in result]
    left, right = ([k for k in own if k in result and k not in batch] for own in (a, b))
    x = _ordered(operands[0], a, batch, left, [summed])
    y = _ordered(operands[1], b, batch, [summed], right)
    made = product_of(lift, x, y)
    made = _squeezed(made, [] if left else [len(made.axes) - 2])
    made = _squeezed(made, [] if right else [len(made.axes) - 1])
    order = [*batch, *left, *right]
    return [_permuted(made, [order.index(k) for k in result])]


def _letters(node: Node, operands: Operands) -> tuple[str, str, str]:
    """The axes of both operands and of the result."""
    equation = str(node.attributes["equation"]).replace(" ", "")
    inputs, arrow, result = equation.partition("->")
    parts = inputs.split(",")
    if "." in equation or not arrow or len(parts) != 2 or len(operands) != 2:
        raise Unsupported(f"computes '{equation}'; {_ALLOWED}", "write it with MatMul.")
    a, b = parts
    summed = [k for k in a if k in b and k not in result]
    own = [[k for k in found if k not in other] for found, other in ((a, b), (b, a))]
    repeated = any(len(set(found)) != len(found) for found in (a, b, result))
    shared = [k for k in a if k in b and k in result]
    many = len(own[1]) > 1 or (len(own[0]) > 1 and bool(shared))
    if repeated or many or len(summed) != 1 or any(set(k) - set(result) for k in own):
        raise Unsupported(f"computes '{equation}'; {_ALLOWED}", "write it with MatMul.")
    return a, b, result


def _ordered(operand: Lifted | None, letters: str, *groups: list[str]) -> Lifted:
    """The operand with its axes in this order; an axis of size one for an empty group behind the first."""
    order = [letters.index(k) for group in groups for k in group]
    missing = len(groups[0]) + (0 if not groups[1] else 1)
    needs_axis = not groups[1] or not groups[2]
    if isinstance(operand, Tensor):
        found = _permuted(movable(operand), order)
        if not needs_axis:
            return found
        axes = (*found.axes[:missing], (1,), *found.axes[missing:])
        return replace(found, table=found.table.reshape(inner_shape(axes)), axes=axes)
    array = known(operand, "an operand").transpose(order)
    return np.expand_dims(array, missing) if needs_axis else array


def _permuted(x: Tensor, order: list[int]) -> Tensor:
    return replace(x, table=x.table.transpose(order), axes=tuple(x.axes[k] for k in order))


def _squeezed(x: Tensor, chosen: list[int]) -> Tensor:
    axes = tuple(axis for k, axis in enumerate(x.axes) if k not in chosen)
    return replace(x, table=x.table.reshape(inner_shape(axes)), axes=axes)
