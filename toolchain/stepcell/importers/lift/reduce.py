"""ReduceMean and ReduceMax over time."""

from dataclasses import replace

from stepcell.importers.graph import Node, Unsupported
from stepcell.importers.lift import over_time
from stepcell.importers.lift.attributes import Operands, axis_of, ints_of
from stepcell.importers.lift.axes import Relabel, extent, is_open
from stepcell.importers.lift.context import Lift, Lifted, inner_shape, tensor

_OVER_TIME = {"ReduceMean": over_time.mean, "ReduceMax": over_time.maximum}


def reduce(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """A mean or maximum over the time axis alone."""
    x = tensor(operands[0])
    axes = ints_of(node, operands, "axes", 1)
    if axes is None and node.attributes.get("noop_with_empty_axes", 0):
        return [x]
    chosen = [axis_of(axis, len(x.axes)) for axis in (range(len(x.axes)) if axes is None else axes)]
    if len(chosen) != 1 or not set(x.axes[chosen[0]]) - {1}:
        raise Unsupported(
            f"reduces axes {chosen}; the time axis alone is allowed", "reduce over time, then use a Dense."
        )
    (atom,) = x.axes[chosen[0]][:1]
    if isinstance(atom, str) and is_open(atom):
        raise Relabel({atom: "inner"})
    if x.axes[chosen[0]] != ("time",):
        what = (
            f"an inner axis of size {extent(x.axes[chosen[0]], lift.sizes)}"
            if atom != "batch"
            else "the batch axis"
        )
        raise Unsupported(
            f"reduces {what}; the time axis alone is allowed", "reduce over time, then use a Dense."
        )
    reduced = _OVER_TIME[node.op](lift, x)
    if node.attributes.get("keepdims", 1):
        return [reduced]
    left = tuple(axis for i, axis in enumerate(reduced.axes) if i != chosen[0])
    return [replace(reduced, table=reduced.table.reshape(inner_shape(left)), axes=left)]
