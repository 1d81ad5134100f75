"""Operators along one inner axis: Softmax, LogSoftmax, ArgMax, TopK of one."""

from dataclasses import replace

import numpy as np

from stepcell.importers.graph import Node, Unsupported
from stepcell.importers.lift import attention
from stepcell.importers.lift.attention import Scores
from stepcell.importers.lift.attention_rows import Rows
from stepcell.importers.lift.attributes import Operands, axis_of
from stepcell.importers.lift.axes import Axes, replaced, require_inner
from stepcell.importers.lift.context import Lift, Lifted, Tensor, inner_shape, known, materialise
from stepcell.importers.lift.elementwise import numbers
from stepcell.ir.operators import FunctionName
from stepcell.ir.ops import Activate, ArgMax, Reduce, Value


def softmax(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Softmax and LogSoftmax over one inner axis, and softmax over time: attention.

    Before opset 13 they run over all axes from `axis` on, of which one may be long.
    """
    pending = operands[0] if isinstance(operands[0], Scores) else None
    x = operands[0] if isinstance(operands[0], Scores | Rows) else numbers(lift, operands[0])
    name: FunctionName = "softmax" if node.op == "Softmax" else "log_softmax"
    old = lift.graph.opset < 13
    axis = axis_of(int(node.attributes.get("axis", 1 if old else -1)), len(x.axes))
    if old:
        axis = _only_long_axis(lift, x, axis)
    if node.op == "Softmax" and pending is not None:
        return [attention.softmax(lift, pending, axis)]
    if node.op == "Softmax" and attention.is_over_time(lift, x, axis):
        return [attention.pooling_weights(lift, x, axis)]
    require_inner(x.axes[axis], "runs over")
    source, moved = _last(lift, x, axis)
    made = lift.fresh(name)
    lift.emit(Activate(source, Value(made, lift.values[source].shape), name), x.phase)
    table = np.moveaxis(np.arange(moved.size).reshape(moved.shape), -1, axis)
    return [Tensor(made, table, x.axes, x.phase)]


def _last(lift: Lift, x: Tensor, axis: int) -> tuple[str, np.ndarray]:
    """A value [..., n] whose last axis is `axis`, and its table."""
    moved = np.moveaxis(x.table, axis, -1)
    shape = (*(size for size in moved.shape[:-1] if size > 1), moved.shape[-1])
    return materialise(lift, replace(x, table=moved), shape), moved


def argmax(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """ArgMax over one inner axis: a token, the lowest of equal ones."""
    x = numbers(lift, operands[0])
    axis = axis_of(int(node.attributes.get("axis", 0)), len(x.axes))
    if node.attributes.get("select_last_index", 0):
        raise Unsupported(
            "takes the last of equal numbers; the first is allowed", "leave select_last_index out."
        )
    return [_without(_reduced(lift, x, axis, tokens=True), axis, bool(node.attributes.get("keepdims", 1)))]


def top_k(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """TopK of one: the maximum and where it is."""
    x = numbers(lift, operands[0])
    count = node.attributes["k"] if "k" in node.attributes else known(operands[1], "k").ravel()[0]
    if int(count) != 1 or not node.attributes.get("largest", 1):
        raise Unsupported(
            f"takes the {int(count)} first of a sorted axis; the largest one is allowed", "use ArgMax."
        )
    axis = axis_of(int(node.attributes.get("axis", -1)), len(x.axes))
    return [_reduced(lift, x, axis, tokens=False), _reduced(lift, x, axis, tokens=True)]


def _reduced(lift: Lift, x: Tensor, axis: int, tokens: bool) -> Tensor:
    require_inner(x.axes[axis], "runs over")
    source, moved = _last(lift, x, axis)
    shape = lift.values[source].shape[:-1]
    if tokens:
        made = lift.fresh("argmax")
        lift.emit(ArgMax(source, Value(made, shape, "token")), x.phase)
    else:
        made = lift.fresh("max")
        lift.emit(Reduce(source, Value(made, shape), "max"), x.phase)
    axes: Axes = replaced(x.axes, axis, (1,))
    table = np.arange(moved.size // moved.shape[-1]).reshape(inner_shape(axes))
    return Tensor(made, table, axes, x.phase)


def _without(x: Tensor, axis: int, keep: bool) -> Tensor:
    """The tensor with an axis of size one kept or left out."""
    if keep:
        return x
    axes = tuple(found for i, found in enumerate(x.axes) if i != axis)
    return replace(x, table=x.table.reshape(inner_shape(axes)), axes=axes)


def _only_long_axis(lift: Lift, x: Tensor, first: int) -> int:
    shape = lift.shape(x)
    long = [i for i in range(first, len(shape)) if shape[i] > 1] or [first]
    if len(long) > 1:
        raise Unsupported("runs over several axes at once (opset below 13)", "export with opset 13 or later.")
    return long[0]
