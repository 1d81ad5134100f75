"""Which elements of a model's values belong to one hidden unit, so that they can only leave together.

Every element of every value and state gets a number; what an operation ties together (a gate's row to its
unit, a state to what it becomes, the two sides of a sum) gets the same one. Numbers in `Units.stuck` cannot
leave: the model's inputs and outputs, and what an operation mixes with others. What is left is a unit that
can: the rows that compute it, the states that hold it, and the columns that read it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.graph import reads, recurrent_operand, writes
from stepcell.ir.model import Model
from stepcell.ir.ops import (
    Activate,
    Binary,
    Concat,
    Constant,
    Conv,
    Count,
    Dense,
    Embed,
    Gru,
    Lstm,
    Mean,
    Op,
    Recurrent,
    Rnn,
    Take,
    Value,
)

Numbers = NDArray[np.int64]
Axes = tuple[Numbers | None, ...]
"""The number of each index along each axis of a parameter; None for an axis that units do not run along."""
_MIXING = ("softmax", "log_softmax")


@dataclass(frozen=True, eq=False)
class Units:
    """values: numbers by (function, value), shaped as it; states and parameters by name."""

    values: Mapping[tuple[str, str], Numbers]
    states: Mapping[str, Numbers]
    parameters: Mapping[str, Axes]
    stuck: Mapping[int, str]
    """Number -> why it cannot leave."""


class _Ties:
    """Sets of numbers that belong together (union-find), and why some are stuck."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self.stuck: dict[int, str] = {}

    def new(self, shape: tuple[int, ...]) -> Numbers:
        first, count = len(self._parent), int(np.prod(shape, dtype=np.int64))
        self._parent += range(first, first + count)
        return np.arange(first, first + count).reshape(shape)

    def find(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number

    def tie(self, a: Numbers, b: Numbers) -> None:
        for one, other in zip(a.flat, b.flat, strict=True):
            self._parent[self.find(int(other))] = self.find(int(one))

    def stick(self, numbers: Numbers, why: str) -> None:
        for number in numbers.flat:
            self.stuck.setdefault(int(number), why)

    def settled(self, numbers: Numbers) -> Numbers:
        return np.array([self.find(int(n)) for n in numbers.flat], np.int64).reshape(numbers.shape)


def find_units(model: Model) -> Units:
    """Number every element; see above."""
    ties, values, parameters = _Ties(), dict[tuple[str, str], Numbers](), dict[str, Axes]()
    states = {state.name: ties.new(state.initial.shape) for state in model.states}
    for function in model.functions:
        known = dict(states)
        for value in function.inputs:
            known[value.name] = ties.new(value.shape)
            ties.stick(known[value.name], f"it is the input '{value.name}'")
        for stage in function.stages:
            for op in stage.ops:
                _number(model, ties, op, known, parameters)
            for state, update in stage.updates:
                ties.tie(states[state], known[update])
        for op in function.finish.ops if function.finish is not None else ():
            _number(model, ties, op, known, parameters)
        for name in function.outputs:
            ties.stick(known[name], f"it is the output '{name}'")
        values |= {(function.name, name): numbers for name, numbers in known.items() if name not in states}
    settled = {name: tuple(_settled(ties, axis) for axis in axes) for name, axes in parameters.items()}
    return Units(
        {key: ties.settled(numbers) for key, numbers in values.items()},
        {name: ties.settled(numbers) for name, numbers in states.items()},
        settled,
        {ties.find(number): why for number, why in ties.stuck.items()},
    )


def _settled(ties: _Ties, axis: Numbers | None) -> Numbers | None:
    return None if axis is None else ties.settled(axis)


def _number(
    model: Model, ties: _Ties, op: Op, known: dict[str, Numbers], parameters: dict[str, Axes]
) -> None:
    """Number what the operation defines and its parameters."""
    made, axes = _made(model, ties, op, known)
    known |= made
    for name, own in axes.items():
        for one, other in zip(parameters.setdefault(name, own), own, strict=True):
            if one is not None and other is not None:
                ties.tie(one, other)


def _made(
    model: Model, ties: _Ties, op: Op, known: Mapping[str, Numbers]
) -> tuple[dict[str, Numbers], dict[str, Axes]]:
    match op:
        case Lstm() | Gru() | Rnn():
            return _recurrent(ties, op, known)
        case Dense():
            x = _last_axis(ties, known[op.x])
            rows = ties.new(op.y.shape[-1:])
            y = np.broadcast_to(rows, op.y.shape)
            return {op.y.name: y}, {op.weights: (rows, x), op.bias: (rows,)}
        case Conv() if op.groups == 1:
            x = _last_axis(ties, known[op.x])
            rows, inner = ties.new(op.y.shape[-1:]), (None,) * (model.weights[op.weights].ndim - 2)
            y = np.broadcast_to(rows, op.y.shape)
            return {op.y.name: y}, {op.weights: (rows, *inner, x), op.bias: (rows,)}
        case Embed():
            columns = ties.new(op.y.shape[-1:])
            return {op.y.name: np.broadcast_to(columns, op.y.shape)}, {op.table: (None, columns)}
        case Constant():
            y = ties.new(op.y.shape)
            return {op.y.name: y}, {op.weights: _along(ties, op.y.name, y)}
        case _:
            return _without_weights(ties, op, known), {}


def _without_weights(ties: _Ties, op: Op, known: Mapping[str, Numbers]) -> dict[str, Numbers]:
    match op:
        case Activate() if op.function not in _MIXING:
            return {op.y.name: known[op.x]}
        case Mean():
            return {op.y.name: known[op.total]}
        case Binary():
            return {op.y.name: _paired(ties, known[op.a], known[op.b], op.y)}
        case Take():
            flat, padding = known[op.x].reshape(-1), ties.new(op.y.shape).reshape(-1)
            ties.stick(padding[np.asarray(op.indices) < 0], f"it is padding in '{op.y.name}'")
            at = np.asarray(op.indices, np.int64)
            return {op.y.name: np.where(at >= 0, flat[at], padding).reshape(op.y.shape)}
        case Concat():
            joined = np.concatenate([known[x].reshape(-1) for x in op.xs])
            return {op.y.name: joined.reshape(op.y.shape)}
        case Count():
            return {op.y.name: known[op.x]}
        case _:
            why = f"{type(op).__name__} '{writes(op)[0].name}' mixes it with others"
            for name in reads(op):
                ties.stick(known[name], why)
            made = {value.name: ties.new(value.shape) for value in writes(op)}
            for numbers in made.values():
                ties.stick(numbers, why)
            return made


def _recurrent(
    ties: _Ties, op: Recurrent, known: Mapping[str, Numbers]
) -> tuple[dict[str, Numbers], dict[str, Axes]]:
    x, h = known[op.x].reshape(-1), known[op.h].reshape(-1)
    cell = known[op.c].reshape(-1) if isinstance(op, Lstm) else h
    gates = {Lstm: 4, Gru: 3, Rnn: 1}[type(op)]
    rows = np.tile(cell, gates)
    axes: dict[str, Axes] = {
        op.input_weights: (rows, x),
        op.recurrent_weights: (rows, known[recurrent_operand(op)].reshape(-1)),
        op.input_bias: (rows,),
        op.recurrent_bias: (rows,),
    }
    if not isinstance(op, Lstm):
        return {op.h_next.name: h.reshape(op.h_next.shape)}, axes
    if op.projection:
        axes[op.projection] = (h, cell)
    else:
        ties.tie(h, cell)
    if op.peepholes:
        axes[op.peepholes] = (np.tile(cell, 3),)
    return {op.h_next.name: h, op.c_next.name: cell}, axes


def _along(ties: _Ties, name: str, y: Numbers) -> Axes:
    """The numbers of a parameter that is a value: along its only axis longer than 1, else it is stuck."""
    if sum(size > 1 for size in y.shape) != 1:
        ties.stick(y, f"'{name}' is a parameter of {y.ndim} axes")
        return (None,) * y.ndim
    return tuple(y.reshape(-1) if size > 1 else None for size in y.shape)


def _last_axis(ties: _Ties, x: Numbers) -> Numbers:
    """The numbers along the last axis, those along the others tied: one matrix reads them all."""
    rows = x.reshape(-1, x.shape[-1])
    for row in rows[1:]:
        ties.tie(rows[0], row)
    first: Numbers = rows[0]
    return first


def _paired(ties: _Ties, a: Numbers, b: Numbers, y: Value) -> Numbers:
    """Elements that meet are tied; a single number that meets all is not one of them."""
    if a.size == 1 < y.size:
        return b.reshape(y.shape)
    if b.size == 1 < y.size:
        return a.reshape(y.shape)
    ties.tie(*np.broadcast_arrays(a, b))
    return np.broadcast_to(a, y.shape)
