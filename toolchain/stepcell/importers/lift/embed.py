"""Look-ups of tokens: Gather of a constant table by data, OneHot."""

import numpy as np

from stepcell.importers.graph import Node, Unsupported
from stepcell.importers.lift.attributes import Operands, axis_of
from stepcell.importers.lift.axes import Axes
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
from stepcell.ir.ops import Embed, Value


def embed(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Gather of rows: y = table[token]."""
    table = known(operands[0], "a table")
    if axis_of(int(node.attributes.get("axis", 0)), table.ndim) != 0:
        raise Unsupported("looks tokens up along another axis than the first", "transpose the table.")
    return [_looked_up(lift, tokens(lift, operands[1]), table)]


def one_hot(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """OneHot along a new last axis: a look-up in a diagonal table."""
    token = tokens(lift, operands[0])
    depth = int(known(operands[1], "a depth").ravel()[0])
    off, on = (float(value) for value in known(operands[2], "values").ravel())
    if axis_of(int(node.attributes.get("axis", -1)), len(token.axes) + 1) != len(token.axes):
        raise Unsupported("puts its new axis before others; the last is allowed", "transpose after it.")
    if not 0 < depth <= 2**12:
        raise Unsupported(f"has {depth} classes; 1 to {2**12} are allowed", "use an embedding.")
    return [_looked_up(lift, token, np.full((depth, depth), off) + np.eye(depth) * (on - off))]


def tokens(lift: Lift, operand: Lifted | None) -> Tensor:
    """The operand as tokens; refused where it is real numbers."""
    found = tensor(operand, "its indices")
    if lift.values[found.value].dtype != "token":
        raise Unsupported("looks real numbers up in a table", "feed integers.")
    return found


def _looked_up(lift: Lift, token: Tensor, table: Known) -> Tensor:
    inner = tuple(size for size in token.table.shape if size > 1)
    source = materialise(lift, token, inner)
    width = table.shape[1:] or (1,)
    rows = table.reshape(len(table), -1)
    name = lift.fresh("embedding")
    lift.weights[f"{name}_table"] = np.ascontiguousarray(rows, np.float64)
    lift.emit(Embed(source, Value(name, (*inner, rows.shape[1])), f"{name}_table"), token.phase)
    axes: Axes = (*token.axes, *((size,) for size in width)) if table.ndim > 1 else token.axes
    return data(name, inner_shape(axes), axes, token.phase)
