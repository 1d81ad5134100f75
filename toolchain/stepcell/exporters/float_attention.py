"""Memories and attention over them as nodes of opset 17: tensors [batch, rows, ...], counts as floats."""

from typing import Protocol

import numpy as np

from stepcell.exporters.float_functions import Nodes
from stepcell.ir.model import FloatArray
from stepcell.ir.ops import Append, Attend, Value


class Scope(Nodes, Protocol):
    """What collects the nodes (float_writer.Writer), with the names and shapes of values."""

    names: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    batch: str
    steps: str

    def define(self, value: Value, name: str | None = None) -> str:
        """Note where a value lies; its tensor's name."""

    def array(self, name: str, array: FloatArray) -> str:
        """A float32 initializer."""


def append(w: Scope, op: Append) -> None:
    """One step: the row whose number the count is, replaced."""
    rows, name = op.y.shape[0], op.y.name
    at = w.add("Equal", [_rows(w, rows), _count(w, op.count, name)], f"{name}_at")
    inner = [1] * (len(op.y.shape) - 1)
    at = w.add("Reshape", [at, w.ints(-1, rows, *inner)], f"{name}_here")
    row = w.add("Unsqueeze", [w.names[op.x], w.ints(1)], f"{name}_row")
    w.add("Where", [at, row, w.names[op.memory]], w.define(op.y))


def stored(w: Scope, op: Append, sequence: str, end: str) -> str:
    """A whole sequence [time, batch, n] in an empty memory; more steps than rows fail when the graph runs."""
    rows, *inner = op.y.shape
    left = w.add("Sub", [w.ints(rows), w.steps], f"{end}_rows_left")
    turned = w.add("Transpose", [sequence], f"{end}_rows", perm=[1, 0, 2])
    shape = w.add("Concat", [w.batch, left, w.ints(int(np.prod(inner, dtype=int)))], f"{end}_rest", axis=0)
    rest = w.add("ConstantOfShape", [shape], f"{end}_empty")
    whole = w.add("Concat", [turned, rest], f"{end}_flat", axis=1)
    return w.add("Reshape", [whole, w.ints(0, rows, *inner)], end)


def attend(w: Scope, op: Attend) -> None:
    """Once a sequence, or at one step: softmax over the rows that are filled, then their mean."""
    rows, y = w.shapes[op.keys][0], op.y.name
    query = w.add("Reshape", [w.names[op.query], w.ints(0, -1, 1)], f"{y}_query")
    keys = w.add("Reshape", [w.names[op.keys], w.ints(0, rows, -1)], f"{y}_keys")
    product = w.add("Squeeze", [w.add("MatMul", [keys, query], f"{y}_product"), w.ints(2)], f"{y}_dots")
    scores = w.add("Mul", [product, w.array(f"{y}_scale", np.asarray(op.scale))], f"{y}_scores")
    first = w.array(f"{y}_first", np.ones(()))
    count = w.add("Max", [_count(w, op.count, y), first], f"{y}_filled")
    seen = w.add("Less", [_rows(w, rows), count], f"{y}_seen")
    masked = w.add("Where", [seen, scores, w.array(f"{y}_hidden", np.asarray(-np.inf))], f"{y}_masked")
    weights = w.add("Unsqueeze", [w.add("Softmax", [masked], f"{y}_weights", axis=-1), w.ints(1)], f"{y}_row")
    values = w.add("Reshape", [w.names[op.values], w.ints(0, rows, -1)], f"{y}_values")
    mean = w.add("MatMul", [weights, values], f"{y}_mean")
    w.add("Reshape", [mean, w.ints(0, *op.y.shape)], w.define(op.y))


def _rows(w: Scope, rows: int) -> str:
    """The numbers of the rows, [1, rows]."""
    return w.array(f"numbers_of_{rows}_rows", np.arange(rows, dtype=np.float64)[None])


def _count(w: Scope, count: str, of: str) -> str:
    """How many rows are filled, [batch, 1] or [1, 1]."""
    return w.add("Reshape", [w.names[count], w.ints(-1, 1)], f"{of}_count")
