"""Attend and what it reads: memories that keep a value of every step."""

from dataclasses import replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from stepcell.importers.graph import GraphInput, Unsupported
from stepcell.importers.lift.attention import HINT, Side, Weighted, Weights
from stepcell.importers.lift.attention_rows import Rows
from stepcell.importers.lift.axes import KEYS, Axes
from stepcell.importers.lift.context import Lift, Phase, Tensor, constant, inner_shape, materialise
from stepcell.importers.lift.stages import stage_of
from stepcell.importers.reroll.trace import substituted
from stepcell.ir import State
from stepcell.ir.graph import writes
from stepcell.ir.ops import (
    Append,
    Attend,
    Binary,
    Concat,
    Constant,
    Count,
    Dense,
    Op,
    Value,
)

ROWS = 256
"""Rows of a memory where nothing says how many steps there are."""


def summed(lift: Lift, x: Weighted, axes: list[int]) -> Tensor:
    """The sum over the steps of weights * values: attention. Axes keep their number, the summed one as 1."""
    if [x.axes[axis] for axis in axes] != [(KEYS,)]:
        raise Unsupported("sums weighted values over another axis than their steps", HINT)
    after: Axes = tuple((1,) if k in axes else axis for k, axis in enumerate(x.axes))
    return attended(lift, x, after)


def attended(lift: Lift, x: Weighted, axes: Axes) -> Tensor:
    """One Attend for every column of scores; their results side by side."""
    query = x.weights.query
    given = x.values.rows is not None
    phase: Phase = query.phase if query is not None else "step" if given else "end"
    names, place, start = [], np.zeros(x.score.size, np.intp), 0
    order = x.table.ravel()
    score, index = x.score[order], x.index[order]
    for column in dict.fromkeys(score.tolist()):
        at = np.flatnonzero(score == column)
        own, inverse = np.unique(index[at], return_inverse=True)
        values = replace(x.values, indices=own[None])
        attend = _attend if x.values.rows is None else _attend_to_rows
        names.append(attend(lift, x.weights, column, values, phase))
        place[at] = start + inverse
        start += len(own)
    value = names[0] if len(names) == 1 else _joined(lift, names, start, phase)
    return Tensor(value, place.reshape(inner_shape(axes)), axes, phase)


def _joined(lift: Lift, names: list[str], size: int, phase: Phase) -> str:
    made = lift.fresh("concat")
    lift.emit(Concat(tuple(names), Value(made, (size,))), phase)
    return made


def _attend(lift: Lift, weights: Weights, column: int, values: Side, phase: Phase) -> str:
    keys, scale = _unscaled(lift, replace(weights.keys, indices=weights.keys.indices[[column]]))
    query = constant(lift, np.ones(1), phase)
    if weights.query is not None:
        found, factor = _unscaled(lift, replace(weights.query, indices=weights.query.indices[[column]]))
        query, scale = _vector(lift, found), scale * factor
    stored = [_stored(lift, _vector(lift, found)) for found in (keys, values)]
    if weights.causal:
        _check_one_stage(lift, [query, *(lift.stored[name] for name in stored)])
        read, count = [lift.updates[name] for name in stored], lift.updates[_count_of(stored[1])]
    else:
        read, count = stored, _count_of(stored[1])
    made = lift.fresh("attend")
    y = Value(made, (values.indices.shape[1],))
    lift.emit(Attend(query, read[0], read[1], count, y, scale * weights.scale), phase)
    return made


def _attend_to_rows(lift: Lift, weights: Weights, column: int, values: Side, phase: Phase) -> str:
    """Attention to the memory of another function: affine maps of its rows move to the query and the mean."""
    keys, rows = weights.keys.rows, values.rows
    assert keys is not None
    assert rows is not None
    matrix = keys.matrix[weights.keys.indices[column]]
    scale = 1.0
    if weights.query is None:
        query = constant(lift, matrix[0], phase)
    else:
        found, scale = _unscaled(lift, replace(weights.query, indices=weights.query.indices[[column]]))
        query = _mapped(lift, _vector(lift, found), matrix.T, np.zeros(matrix.shape[1]), phase)
    made, width = lift.fresh("attend"), rows.matrix.shape[1]
    read = (query, keys.memory, rows.memory, _count_of(rows.memory))
    lift.emit(Attend(*read, Value(made, (width,)), scale * weights.scale), phase)
    own = values.indices[0]
    return _mapped(lift, made, rows.matrix[own], rows.offset[own], phase)


def _mapped(
    lift: Lift, x: str, matrix: NDArray[np.float64], offset: NDArray[np.float64], phase: Phase
) -> str:
    """matrix @ x + offset; x itself where that changes nothing."""
    if (
        np.array_equal(matrix, np.eye(*matrix.shape))
        and matrix.shape[0] == matrix.shape[1]
        and not offset.any()
    ):
        return x
    name = lift.fresh("dense")
    lift.weights[f"{name}_weights"] = np.ascontiguousarray(matrix, np.float64)
    lift.weights[f"{name}_bias"] = offset.astype(np.float64)
    lift.emit(Dense(x, Value(name, (len(matrix),)), f"{name}_weights", f"{name}_bias"), phase)
    return name


def given_memory(lift: Lift, source: GraphInput, axes: Axes) -> Rows:
    """An input of the file that holds every step of another function: a memory that it fills."""
    shape = inner_shape(axes)
    width = prod(shape)
    count = _count_of(source.name)
    memory = State(source.name, np.zeros((lift.rows, width)))
    for state in (memory, State(count, np.zeros(()), "token")):
        lift.states[state.name] = state
        lift.values[state.name] = state.value
    table = np.arange(width).reshape(shape)
    whole, none = np.eye(width), np.zeros(width)
    return Rows("", table, axes, "attention", memory=source.name, matrix=whole, offset=none)


def _vector(lift: Lift, found: Side) -> str:
    """A value that is exactly this vector."""
    size = found.indices.shape[1]
    table = found.indices.reshape(1, size)
    return materialise(lift, Tensor(found.value, table, ((1,), (size,)), found.phase), (size,))


def _unscaled(lift: Lift, found: Side) -> tuple[Side, float]:
    """The vector before a multiplication by one number, and that number."""
    ops: list[Op] = [op for op, _ in lift.steps] + lift.ends
    made = {value.name: op for op in ops for value in writes(op)}
    op = made.get(found.value)
    if not isinstance(op, Binary) or op.operator != "mul":
        return found, 1.0
    for x, factor in ((op.a, op.b), (op.b, op.a)):
        number = made.get(factor)
        if isinstance(number, Constant) and number.y.size == 1 and lift.values[x].shape == op.y.shape:
            return replace(found, value=x), float(lift.weights[number.weights].item())
    return found, 1.0


def _stored(lift: Lift, value: str) -> str:
    """The memory [rows, width] that keeps a value of every step."""
    key = ("memory", value)
    if key not in lift.made:
        name = lift.made[key] = lift.fresh("memory")
        shape = (lift.rows, *lift.values[value].shape)
        count = _count_of(name)
        lift.add_state(name, np.zeros(shape), f"{name}_next")
        lift.add_state(count, np.zeros(()), f"{count}_next", dtype="token")
        lift.emit(Append(name, count, value, Value(f"{name}_next", shape)), "step", "forward")
        lift.emit(Count(count, Value(f"{count}_next", (), "token")), "step", "forward")
        lift.stored[name] = value
    return lift.made[key]


def _count_of(memory: str) -> str:
    return f"{memory}_count"


def _check_one_stage(lift: Lift, values: list[str]) -> None:
    """Causal attention reads its memories while they are filled, so all it reads is made in that stage."""
    if len({stage_of(lift, value) for value in values}) > 1:
        raise Unsupported(
            "hides later steps (causal), and its query, keys and values come out of different stages",
            "make all three of the same sequence.",
        )


def share_counts(lift: Lift) -> None:
    """Memories that one stage fills count their rows once."""
    shared: dict[int, str] = {}
    names: dict[str, str] = {}
    for memory in (name for name in lift.stored if name in lift.states):
        count = _count_of(memory)
        first = shared.setdefault(stage_of(lift, lift.updates[memory]), count)
        if first != count:
            names |= {count: first, lift.updates[count]: lift.updates[first]}
    steps = [(op, d) for op, d in lift.steps if not (isinstance(op, Count) and op.x in names)]
    lift.steps = [(substituted(op, names), d) for op, d in steps]
    lift.ends = [substituted(op, names) for op in lift.ends]
    lift.states = {name: state for name, state in lift.states.items() if name not in names}
    lift.updates = {name: value for name, value in lift.updates.items() if name not in names}
