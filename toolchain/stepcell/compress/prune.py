"""`prune`: one-shot pruning of a Model, without retraining."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stepcell.compress.importance import Criterion, magnitude
from stepcell.compress.pattern import Matrix, keep_masks
from stepcell.errors import StepcellError
from stepcell.ir.model import Block, BoolArray, FloatArray, Mask, Model, all_ops, recurrent_ops
from stepcell.ir.ops import Gru, Lstm, Op
from stepcell.ir.ops import matrices as matrices_of
from stepcell.ir.row_order import (
    Order,
    grain_of,
    gru_row_order,
    lstm_row_order,
    reset_row_order,
    row_order,
    update_row_order,
)
from stepcell.ir.verify import verify

Scope = Literal["global", "matrix"]
DEFAULT_BLOCK = Block(4, 2)


def prune(
    model: Model,
    density: float = 0.25,
    block: Block = DEFAULT_BLOCK,
    *,
    matrices: Sequence[str] | None = None,
    scope: Scope = "global",
    criterion: Criterion = magnitude,
) -> Model:
    """Keep the fraction `density` (0-1] of the weights: the blocks with the highest mean score.

    `matrices` names what is pruned; by default the input and recurrent matrices of every recurrent
    operation. scope="global" gives all of them one budget, "matrix" each the same density. The masks are
    stored in the Model in its own row order; what an earlier mask pruned stays pruned.
    Raises StepcellError for an unknown matrix or a density that is none.
    """
    weights = {name: model.weights[name] for name in prunable(model, matrices)}
    masks = choose_masks(
        model, weights, model.masks, density=density, block=block, scope=scope, criterion=criterion
    )
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


def choose_masks(
    model: Model,
    weights: Mapping[str, FloatArray],
    masks: Mapping[str, Mask],
    *,
    density: float,
    block: Block,
    scope: Scope,
    criterion: Criterion,
) -> dict[str, Mask]:
    """What to keep of `weights`, which may have been trained on since, out of what `masks` still keep.

    `model` only tells what layers the matrices belong to.
    """
    if not 0.0 < density <= 1.0:
        raise StepcellError(f"pruning: the density {density} is no kept fraction.", "0.25 keeps a quarter.")
    orders = row_orders(model, block)
    found = {
        name: Matrix(_rows(criterion(array)), orders[name], _rows(_alive(masks.get(name), array.shape)))
        for name, array in weights.items()
    }
    kept: dict[str, Mask] = {}
    for group in [tuple(found)] if scope == "global" else [(name,) for name in found]:
        keeps = keep_masks([found[name] for name in group], block, density)
        shaped = {name: keep.reshape(weights[name].shape) for name, keep in zip(group, keeps, strict=True)}
        kept |= {name: Mask(keep, block) for name, keep in shaped.items()}
    return kept


def _rows(array: NDArray[Any]) -> NDArray[Any]:
    """A convolution's weights [rows, *kernel, channels] as the matrix that it multiplies by."""
    return array.reshape(len(array), -1)


def _alive(mask: Mask | None, shape: tuple[int, ...]) -> BoolArray:
    return np.ones(shape, np.bool_) if mask is None else mask.keep
