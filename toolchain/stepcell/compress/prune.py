"""`prune`: one-shot pruning of a Model, without retraining."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepcell.compress.budget import (
    DEFAULT_FRACTION,
    DEFAULT_PATTERN,
    Budget,
    Matrix,
    Scope,
    budget_of,
    keep_masks,
)
from stepcell.compress.criteria import SECOND_ORDER, criterion_named
from stepcell.compress.importance import Criterion, Scores, gates_of, needed
from stepcell.compress.pattern import Pattern, Units, parse_pattern, stored_block
from stepcell.compress.units import remove_weights_in_units
from stepcell.errors import StepcellError
from stepcell.ir.graph import matrices as matrices_of
from stepcell.ir.model import Block, BoolArray, Mask, Model, all_ops, recurrent_ops
from stepcell.ir.ops import Gru, Lstm, Op, Recurrent
from stepcell.ir.row_order import (
    Order,
    grain_of,
    gru_row_order,
    lstm_row_order,
    reset_row_order,
    row_order,
    update_row_order,
)
from stepcell.ir.sequences import Sequences
from stepcell.ir.verify import verify


def prune(
    model: Model,
    fraction: float | None = None,
    criterion: str | Criterion = "magnitude",
    pattern: str | Pattern | Units = DEFAULT_PATTERN,
    *,
    data: Sequences | None = None,
    scope: Scope = "global",
    gates: Mapping[str, float] | None = None,
    keep_diagonal: bool = False,
    matrices: Sequence[str] | None = None,
    seed: int = 0,
) -> Model:
    """Remove the fraction `fraction` [0, 1) of the weights: the blocks whose scores are lowest on average.

    fraction: 0.8 by default; N:M patterns say themselves what they remove. criterion: a name of
    `criteria.CRITERIA`, "second-order", or a function; some need `data`, calibration sequences. pattern:
    "unstructured", "4x2", "2:4" or "units" (a truly smaller model: `remove_units`). scope: what shares a
    budget, all matrices, each one ("matrix"), or each group of rows that a kernel computes at once ("rows":
    balanced). gates: kept fractions of gates by letter (i o f c; z r n) in place of 1 - fraction.
    keep_diagonal: the diagonals of recurrent matrices stay, with their blocks. matrices: what is pruned, by
    default the input and recurrent matrices of every recurrent operation.

    The masks are stored in the Model in its own row order; what an earlier mask pruned stays pruned.
    Raises StepcellError for unknown names, fractions that are none, and what does not go together.
    """
    pattern = parse_pattern(pattern) if isinstance(pattern, str) else pattern
    if pattern == "units":
        _refuse_options(scope=scope != "global", gates=gates, keep_diagonal=keep_diagonal, matrices=matrices)
        removed = DEFAULT_FRACTION if fraction is None else fraction
        return remove_weights_in_units(model, removed, criterion, data=data, seed=seed)
    if criterion == SECOND_ORDER:
        from stepcell.compress.second_order import prune_in_closed_form

        return prune_in_closed_form(
            model,
            needed(data, SECOND_ORDER),
            fraction,
            pattern,
            matrices=matrices,
            scope=scope,
            gates=gates,
            keep_diagonal=keep_diagonal,
            seed=seed,
        )
    budget = budget_of(fraction, pattern, scope, gates, keep_diagonal)
    names = prunable(model, matrices)
    masks = choose_masks(model, criterion_named(criterion, seed)(model, data), budget, names)
    pruned = {name: np.where(mask.keep, model.weights[name], 0.0) for name, mask in masks.items()}
    return verify(model.with_weights(pruned, masks))


def prunable(model: Model, names: Sequence[str] | None = None) -> tuple[str, ...]:
    """The matrices to prune: those named, or the input and recurrent ones of every recurrent operation."""
    if names is None:
        return tuple(dict.fromkeys(name for op in recurrent_ops(model) for name in matrices_of(op)))
    known = [name for op in all_ops(model) for name in matrices_of(op)]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise StepcellError(
            f"{model.name}: it has no matrix '{unknown[0]}' to prune.", f"it has {', '.join(known)}."
        )
    return tuple(dict.fromkeys(names))


def row_orders(model: Model, block: Block) -> dict[str, Order]:
    """The rows of each matrix so that `block.rows` after each other are a row group of the kernels.

    They are the same ones whatever a core's passes are, which only move whole row groups.
    """
    return {
        name: _order(op, model.weights[name].shape[0], block.rows)
        for op in all_ops(model)
        for name in matrices_of(op)
    }


def choose_masks(model: Model, scores: Scores, budget: Budget, names: Sequence[str]) -> dict[str, Mask]:
    """What to keep of the named matrices, by their scores, out of what the model's masks still keep."""
    block = stored_block(budget.pattern)
    orders, ops = row_orders(model, block), {name: op for op in all_ops(model) for name in matrices_of(op)}
    found = [
        Matrix(
            _rows(scores[name]),
            orders[name],
            _rows(_alive(model.masks.get(name), model.weights[name].shape)),
            _rows(_diagonal(ops[name], name, model.weights[name].shape, budget.keep_diagonal)),
            gates_of(ops[name]),
        )
        for name in names
    ]
    keeps = keep_masks(found, budget)
    shapes = [model.weights[name].shape for name in names]
    return {n: Mask(k.reshape(s), block) for n, k, s in zip(names, keeps, shapes, strict=True)}


def _refuse_options(**given: object) -> None:
    """What says where weights lie in a matrix says nothing about whole units."""
    wrong = next((name for name, value in given.items() if value), None)
    if wrong is not None:
        raise StepcellError(
            f"pruning: '{wrong}' does not go with the pattern 'units'.",
            "leave it out; remove_units chooses layers.",
        )


def _order(op: Op, rows: int, group: int) -> Order:
    grain = grain_of(group)
    match op:
        case Lstm():
            return lstm_row_order(rows // 4, grain_of(group, 4))
        case Gru(linear_before_reset=True):
            return gru_row_order(rows // 3, grain, pass_units=grain)
        case Gru():
            units = rows // 3
            update = update_row_order(units, grain, pass_units=grain)
            return np.concatenate([reset_row_order(units, grain), update])
        case _:
            return row_order(rows, grain)


def _diagonal(op: Op, name: str, shape: tuple[int, ...], wanted: bool) -> BoolArray:
    """Where each gate of a recurrent matrix reads its own unit."""
    gates = len(gates_of(op))
    square = isinstance(op, Recurrent) and name == op.recurrent_weights and shape[0] == gates * shape[1]
    if not wanted or not square:
        return np.zeros(shape, np.bool_)
    return np.tile(np.eye(shape[1], dtype=np.bool_), (gates, 1))


def _rows(array: NDArray[Any]) -> NDArray[Any]:
    """A convolution's weights [rows, *kernel, channels] as the matrix that it multiplies by."""
    return array.reshape(len(array), -1)


def _alive(mask: Mask | None, shape: tuple[int, ...]) -> BoolArray:
    return np.ones(shape, np.bool_) if mask is None else mask.keep
