"""Operations that exporters take apart, found again among the lifted ones.

A layer normalization is (x - mean(x)) / sqrt(mean((x - mean(x))^2) + epsilon), and then perhaps a gain
and a bias. A look-up whose rows only a matrix reads is a look-up of the products.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stepcell.importers.lift.context import Lift
from stepcell.ir.graph import reads, writes
from stepcell.ir.ops import (
    Activate,
    Binary,
    Constant,
    Dense,
    Embed,
    Normalize,
    Op,
    Reduce,
    Take,
    Value,
)


def recognise(lift: Lift) -> None:
    """Replace what is found in the step graph and in `finish`; what it was made of stays, perhaps dead."""
    found = [op for op, _ in lift.steps] + lift.ends
    graph = _Graph(
        {value.name: op for op in found for value in writes(op)},
        lift.values,
        lift.weights,
        Counter(name for op in found for name in reads(op)) + Counter(lift.updates.values()),
    )
    lift.steps = [(_rewritten(lift, graph, op), direction) for op, direction in lift.steps]
    lift.ends = [_rewritten(lift, graph, op) for op in lift.ends]


@dataclass(frozen=True)
class _Graph:
    made: Mapping[str, Op]
    values: Mapping[str, Value]
    weights: Mapping[str, NDArray[np.float64]]
    readers: Counter[str]

    def source(self, name: str) -> str:
        """What a value is, seen through reshapes."""
        op = self.made.get(name)
        while isinstance(op, Take) and op.indices == tuple(range(self.values[op.x].size)):
            name = op.x
            op = self.made.get(name)
        return name

    def op(self, name: str) -> Op | None:
        """The operation that makes a value, seen through reshapes."""
        return self.made.get(self.source(name))

    def constant(self, name: str) -> NDArray[np.float64] | None:
        """The numbers of a constant."""
        op = self.op(name)
        return self.weights[op.weights] if isinstance(op, Constant) else None


@dataclass(frozen=True)
class _Found:
    x: str
    epsilon: float
    gain: NDArray[np.float64]
    bias: NDArray[np.float64]


def _rewritten(lift: Lift, graph: _Graph, op: Op) -> Op:
    if isinstance(op, Dense):
        return _looked_up(lift, graph, op)
    found = _scaled(graph, op) if isinstance(op, Binary) else None
    if found is None or not isinstance(op, Binary):
        return op
    lift.weights[f"{op.y.name}_gain"] = found.gain
    lift.weights[f"{op.y.name}_bias"] = found.bias
    return Normalize(found.x, op.y, f"{op.y.name}_gain", f"{op.y.name}_bias", found.epsilon)


def _scaled(graph: _Graph, op: Binary) -> _Found | None:
    """A normalization, with what follows it: times a gain, plus a bias."""
    plain = _normalized(graph, op)
    if plain is not None or op.operator not in ("add", "mul"):
        return plain
    for name, other in ((op.a, op.b), (op.b, op.a)):
        before, row = graph.op(name), graph.constant(other)
        if not isinstance(before, Binary) or row is None or before.y.shape != op.y.shape:
            continue
        found = _scaled(graph, before) if op.operator == "add" else _normalized(graph, before)
        numbers = _row(row, op.y.shape[-1]) if found is not None else None
        if found is None or numbers is None:
            continue
        if op.operator == "add":
            return replace(found, bias=found.bias + numbers)
        return replace(found, gain=found.gain * numbers)
    return None


def _row(array: NDArray[np.float64], size: int) -> NDArray[np.float64] | None:
    """A constant as one number an element of the last axis; None where it differs along another."""
    if array.size not in (1, size) or array.shape[-1:] not in ((), (1,), (size,)):
        return None
    return np.broadcast_to(array.ravel(), (size,)).astype(np.float64)


def _normalized(graph: _Graph, op: Binary) -> _Found | None:
    """(x - mean) divided by, or times the reciprocal of, the deviation."""
    if op.operator not in ("div", "mul"):
        return None
    for centred, factor in ((op.a, op.b), (op.b, op.a)):
        variance = _under_root(graph, factor, inverse=op.operator == "mul")
        x = _centred(graph, centred)
        if variance is None or x is None or graph.values[x].shape != op.y.shape:
            continue
        epsilon = _epsilon_of_variance(graph, variance, x)
        if epsilon is not None:
            size = op.y.shape[-1]
            return _Found(x, epsilon, np.ones(size), np.zeros(size))
        if op.operator == "div":
            return None
    return None


def _under_root(graph: _Graph, name: str, inverse: bool) -> str | None:
    """v of sqrt(v), or of 1 / sqrt(v)."""
    op = graph.op(name)
    if not isinstance(op, Activate):
        return None
    if not inverse:
        return op.x if op.function == "sqrt" else None
    if op.function == "power" and op.alpha == -0.5:
        return op.x
    below = graph.op(op.x)
    root = isinstance(below, Activate) and below.function == "sqrt"
    return below.x if op.function == "reciprocal" and isinstance(below, Activate) and root else None


def _centred(graph: _Graph, name: str) -> str | None:
    """x of x - mean(x)."""
    op = graph.op(name)
    if not isinstance(op, Binary) or op.operator != "sub":
        return None
    x, mean = graph.source(op.a), graph.op(op.b)
    whole = isinstance(mean, Reduce) and mean.kind == "mean" and graph.source(mean.x) == x
    return x if whole and isinstance(mean, Reduce) and _over_last(graph, mean, x) else None


def _over_last(graph: _Graph, op: Reduce, x: str) -> bool:
    return graph.values[op.x].shape[-1:] == graph.values[x].shape[-1:]


def _epsilon_of_variance(graph: _Graph, name: str, x: str) -> float | None:
    """epsilon of mean((x - mean(x))^2) + epsilon."""
    op = graph.op(name)
    if not isinstance(op, Binary) or op.operator != "add":
        return None
    for side, other in ((op.a, op.b), (op.b, op.a)):
        epsilon, mean = graph.constant(other), graph.op(side)
        if epsilon is None or epsilon.size != 1 or not isinstance(mean, Reduce) or mean.kind != "mean":
            continue
        squares = graph.op(mean.x)
        base = _base_of_square(squares)
        if base is not None and _centred(graph, base) == x and _over_last(graph, mean, x):
            return float(epsilon.ravel()[0])
    return None


def _base_of_square(op: Op | None) -> str | None:
    if isinstance(op, Activate) and op.function == "square":
        return op.x
    return op.a if isinstance(op, Binary) and op.operator == "mul" and op.a == op.b else None


def _looked_up(lift: Lift, graph: _Graph, op: Dense) -> Op:
    """A Dense of an embedding that nothing else reads: an embedding of wider or narrower rows."""
    embed = graph.made.get(op.x)
    if not isinstance(embed, Embed) or graph.readers[op.x] != 1:
        return op
    table = lift.weights[embed.table]
    rows = table @ lift.weights[op.weights].T + lift.weights[op.bias]
    if rows.size > table.size:
        return op
    lift.weights[f"{op.y.name}_table"] = rows
    return Embed(embed.token, op.y, f"{op.y.name}_table")
