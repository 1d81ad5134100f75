"""ReduceMean, ReduceSum, ...: over inner axes within a step, or over time as a running value."""

from dataclasses import replace

import numpy as np

from stepcell.importers.graph import Node, Unsupported
from stepcell.importers.lift import attention_operators, over_time
from stepcell.importers.lift.attention import is_pending
from stepcell.importers.lift.attributes import Operands, axis_of, ints_of
from stepcell.importers.lift.axes import Axes, Relabel, is_open, labels
from stepcell.importers.lift.context import Lift, Lifted, Tensor, inner_shape, materialise, movable, tensor
from stepcell.ir.operators import FunctionName, ReduceKind
from stepcell.ir.ops import Activate, Reduce, Value

_OVER_TIME = {
    "mean": over_time.mean,
    "max": over_time.maximum,
    "min": over_time.minimum,
    "sum": over_time.total,
}
_KINDS: dict[str, ReduceKind] = {
    "ReduceMean": "mean",
    "ReduceMax": "max",
    "ReduceMin": "min",
}
_BEFORE: dict[str, FunctionName] = {
    "ReduceL1": "abs",
    "ReduceL2": "square",
    "ReduceSumSquare": "square",
    "ReduceLogSumExp": "exp",
}
_AFTER: dict[str, FunctionName] = {"ReduceL2": "sqrt", "ReduceLogSum": "log", "ReduceLogSumExp": "log"}
"""What every element and every result go through; the rest of these is a sum."""

OPERATORS = (*_KINDS, *_BEFORE, "ReduceSum", "ReduceLogSum")


def reduce(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """A sum, mean, maximum, minimum or norm over inner axes, or over the time axis alone."""
    x = movable(operands[0]) if is_pending(operands[0]) else tensor(operands[0])
    axes = _axes(node, operands, x)
    if not axes:
        return [x]
    attended = attention_operators.summed_over(lift, node.op, x, axes)
    if attended is not None:
        return [_kept(node, attended, axes)]
    if node.op in _BEFORE:
        x = applied(lift, x, _BEFORE[node.op])
    kind = _KINDS.get(node.op, "sum")
    if _is_time(x, axes):
        made = over_time.last(lift, x) if lift.single_step else _OVER_TIME[kind](lift, x)
    else:
        made = _within_step(lift, x, axes, kind)
    if node.op in _AFTER:
        made = applied(lift, made, _AFTER[node.op])
    return [_kept(node, made, axes)]


def _kept(node: Node, made: Tensor, axes: list[int]) -> Tensor:
    """The result with its reduced axes as they are, of size one, or without them."""
    if node.attributes.get("keepdims", 1):
        return made
    left = tuple(axis for i, axis in enumerate(made.axes) if i not in axes)
    return replace(made, table=made.table.reshape(inner_shape(left)), axes=left)


def applied(lift: Lift, x: Tensor, function: FunctionName) -> Tensor:
    """A function without parameters of every element."""
    made = lift.fresh(function)
    source = materialise(lift, x, tuple(size for size in x.table.shape if size > 1) or (1,))
    lift.emit(Activate(source, Value(made, lift.values[source].shape), function), x.phase)
    return replace(x, value=made, table=np.arange(x.table.size).reshape(x.table.shape))


def _axes(node: Node, operands: Operands, x: Tensor) -> list[int]:
    rank = len(x.axes)
    given = ints_of(node, operands, "axes", 1)
    if not given and node.attributes.get("noop_with_empty_axes", 0):
        return []
    return sorted({axis_of(axis, rank) for axis in given}) if given else list(range(rank))


def _is_time(x: Tensor, axes: list[int]) -> bool:
    """Whether the axes are the time axis (and others of size one); False where they are inner."""
    found = [label for axis in axes for label in labels(x.axes[axis])]
    unknown = [label for label in found if is_open(label)]
    if unknown:
        raise Relabel(dict.fromkeys(unknown, "inner"), "reduces")
    if not found:
        return False
    if "batch" in found:
        raise Unsupported("reduces the batch axis", "reduce inner axes, or time.")
    if any(set(x.axes[axis]) - {1, "time"} for axis in axes):
        raise Unsupported(
            f"reduces the axes {axes}, of which one is time; time alone or inner axes are allowed",
            "reduce over time first, then over the other axes.",
        )
    return True


def _within_step(lift: Lift, x: Tensor, axes: list[int], kind: ReduceKind) -> Tensor:
    """Over inner axes: they are moved behind the others and become the last one."""
    kept = [i for i in range(len(x.axes)) if i not in axes]
    moved = x.table.transpose([*kept, *axes])
    lead = moved.shape[: len(kept)]
    shape = tuple(size for size in lead if size > 1)
    flat = moved.reshape(*lead, -1)
    after: Axes = tuple((1,) if i in axes else axis for i, axis in enumerate(x.axes))
    if flat.shape[-1] == 1:
        return replace(x, axes=after)
    source = materialise(lift, replace(x, table=flat), (*shape, flat.shape[-1]))
    made = lift.fresh(kind if kind != "mean" else "average")
    lift.emit(Reduce(source, Value(made, shape), kind), x.phase)
    table = np.arange(int(np.prod(lead))).reshape(inner_shape(after))
    return Tensor(made, table, after, x.phase)
