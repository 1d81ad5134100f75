"""MatMul and Gemm with a constant matrix: both become Dense."""

from dataclasses import replace
from math import prod

import numpy as np

from stepcell.importers.graph import Node, Unsupported
from stepcell.importers.lift.attention_operators import product
from stepcell.importers.lift.attention_rows import Rows, projected, readable
from stepcell.importers.lift.attributes import Operands
from stepcell.importers.lift.axes import Axes, replaced, require_inner
from stepcell.importers.lift.context import (
    Known,
    Lift,
    Lifted,
    Tensor,
    data,
    inner_shape,
    known,
    materialise,
    tensor,
)
from stepcell.ir.ops import Dense, Value


def matmul(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """x @ W or W @ x."""
    a, b = operands
    made = product_of(lift, a, b)
    _open_bias(lift, node, made)
    return [made]


def gemm(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """alpha * A' @ B' + beta * C, where one of A, B is data and C a constant of the output's width."""
    a, b = (
        _swapped(found) if node.attributes.get(f"trans{name}", 0) else found
        for name, found in zip("AB", operands, strict=False)
    )
    alpha, beta = (float(node.attributes.get(name, 1.0)) for name in ("alpha", "beta"))
    made = product_of(lift, a, b, alpha)
    if len(operands) < 3 or operands[2] is None:
        _open_bias(lift, node, made)
        return [made]
    bias = known(operands[2], "a bias") * beta
    bias = bias.reshape((1,) * (2 - bias.ndim) + bias.shape)
    if bias.ndim > 2 or not (bias == bias[:1]).all() or not _add_bias(lift, made, bias[:1]):
        raise Unsupported(
            f"adds a bias of shape {list(bias.shape)}; one number per column is allowed", "add it after."
        )
    return [made]


def _open_bias(lift: Lift, node: Node, made: Tensor) -> None:
    """Note a Dense that has no bias yet; attention has none."""
    if f"{made.value}_bias" in lift.weights:
        lift.open_bias[node.outputs[0]] = made.value


def _swapped(found: Lifted | None) -> Lifted:
    rank = len(found.axes) if isinstance(found, Tensor) else known(found, "an operand").ndim
    if rank < 2:
        raise Unsupported("multiplies a matrix by a tensor of one axis", "give it a batch axis.")
    if isinstance(found, Tensor):
        return replace(
            found, table=np.swapaxes(found.table, -1, -2), axes=(*found.axes[:-2], *found.axes[:-3:-1])
        )
    return np.swapaxes(known(found, "an operand"), -1, -2)


def product_of(lift: Lift, a: Lifted | None, b: Lifted | None, scale: float = 1.0) -> Tensor:
    """scale * a @ b, of which at least one is data."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return product(lift, a, b, scale)
    if isinstance(a, Tensor):
        x = readable(a)
        return _dense(lift, x, _matrix(b, x).T * scale)
    x = readable(_swapped(readable(b)))
    return readable(_swapped(_dense(lift, x, _matrix(a, x) * scale)))


def _matrix(weights: Lifted | None, x: Tensor) -> Known:
    """Constant weights; leading axes of size one, of which data has as many, say nothing."""
    found = known(weights, "weights")
    is_one = found.ndim > 2 and found.size == prod(found.shape[-2:]) and found.ndim <= len(x.axes)
    return found.reshape(found.shape[-2:]) if is_one else found


def _dense(lift: Lift, x: Tensor, weights: Known) -> Tensor:
    if weights.ndim != 2:
        raise Unsupported(
            f"multiplies by weights of {weights.ndim} axes; a matrix is allowed", "use one MatMul a group."
        )
    require_inner(x.axes[-1], "multiplies along")
    rows, cols = weights.shape
    if x.table.shape[-1] != cols:
        raise Unsupported(f"multiplies {x.table.shape[-1]} inputs by a matrix for {cols}", "check the file.")
    if isinstance(x, Rows):
        return projected(x, weights)
    lead = tuple(size for size in x.table.shape[:-1] if size > 1)
    source = materialise(lift, x, (*lead, cols))
    name = lift.fresh("dense")
    lift.weights[f"{name}_weights"] = np.ascontiguousarray(weights, np.float64)
    lift.weights[f"{name}_bias"] = np.zeros(rows)
    lift.emit(Dense(source, Value(name, (*lead, rows)), f"{name}_weights", f"{name}_bias"), x.phase)
    axes: Axes = replaced(x.axes, len(x.axes) - 1, (rows,))
    return data(name, inner_shape(axes), axes, x.phase)


def absorb_bias(lift: Lift, node: Node, operands: Operands) -> Tensor | None:
    """The Dense whose result alone this Add reads, with the constant as its bias; None if it is not that."""
    for name, found, other in zip(node.inputs, operands, reversed(operands), strict=False):
        if name not in lift.open_bias or lift.uses[name] != 1 or isinstance(other, Tensor):
            continue
        if _add_bias(lift, tensor(found), known(other, "a bias")):
            return tensor(found)
    return None


def _add_bias(lift: Lift, made: Tensor, bias: Known) -> bool:
    """Set a Dense's bias, if `bias` is a row as wide as its result."""
    rows = lift.values[made.value].shape[-1]
    is_row = bias.ndim <= max(len(made.axes), 1) and bias.size in (1, bias.shape[-1] if bias.ndim else 1)
    plain = made.table.shape[-1] == rows and np.array_equal(made.table.ravel(), np.arange(made.table.size))
    if not is_row or not plain or bias.size not in (1, rows):
        return False
    lift.weights[f"{made.value}_bias"] = np.broadcast_to(bias.ravel(), (rows,)).astype(np.float64)
    return True
