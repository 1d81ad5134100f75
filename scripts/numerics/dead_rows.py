"""Rows without weights: pruned networks, and trained ones with (nearly) dead rows and large biases."""

from collections.abc import Callable, Mapping

import numpy as np

from stepcell.compress import prune
from stepcell.ir import Model, recurrent_ops
from stepcell.ir.model import FloatArray
from stepcell.ir.ops import Gru

LARGEST_BIAS = 8.0
"""Half of the range of a pre-activation: such a gate is all but constant."""
EVERY = 3
"""One row in so many is made dead."""


def pruned(model: Model) -> dict[str, Model]:
    """One-shot, without retraining: what is measured is the integers against this float, not its accuracy."""
    return {
        "pruned 90 %": prune(model, 0.9, pattern="unstructured"),
        "pruned 75 % in 4x2": prune(model, 0.75, pattern="4x2"),
        "pruned 97 %": prune(model, 0.97, pattern="unstructured"),
    }


def deadened(model: Model) -> dict[str, Model]:
    """Every third row of a matrix times nothing or almost nothing, its bias from -8 to 8."""
    changes: Mapping[str, Callable[[Model], Model]] = {
        "W rows x 0": lambda m: _weaken(m, input_rows=0.0),
        "W rows x 1e-3": lambda m: _weaken(m, input_rows=1e-3),
        "W and R rows x 0": lambda m: _weaken(m, input_rows=0.0, recurrent_rows=0.0),
        "W x 1e-4, all biased": lambda m: _weaken(m, input_all=1e-4),
    }
    made = {name: change(model) for name, change in changes.items()}
    if isinstance(recurrent_ops(model)[0], Gru):
        made["R rows x 0, R bias"] = _weaken_candidate(model)
    return made


def _weaken(
    model: Model, input_rows: float = 1.0, recurrent_rows: float = 1.0, input_all: float | None = None
) -> Model:
    op = recurrent_ops(model)[0]
    w, r, bias = (model.weights[n].copy() for n in (op.input_weights, op.recurrent_weights, op.input_bias))
    w[::EVERY] *= input_rows
    r[::EVERY] *= recurrent_rows
    rows = slice(None, None, EVERY)
    if input_all is not None:
        w, rows = w * input_all, slice(None)
    bias[rows] = _biases(len(bias[rows]))
    return model.with_weights({op.input_weights: w, op.recurrent_weights: r, op.input_bias: bias})


def _weaken_candidate(model: Model) -> Model:
    """A GRU's recurrent matrix has a bias of its own only where linear_before_reset keeps it apart."""
    op = recurrent_ops(model)[0]
    r, bias = model.weights[op.recurrent_weights].copy(), model.weights[op.recurrent_bias].copy()
    r[::EVERY] = 0.0
    bias[::EVERY] = _biases(len(bias[::EVERY]))
    return model.with_weights({op.recurrent_weights: r, op.recurrent_bias: bias})


def _biases(count: int) -> FloatArray:
    """Evenly spread, in random order."""
    return np.random.default_rng(0).permutation(np.linspace(-LARGEST_BIAS, LARGEST_BIAS, count))
