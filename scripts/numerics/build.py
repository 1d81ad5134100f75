"""Untrained classifiers: stacked recurrent layers, and a dense head that reads the last hidden state."""

import numpy as np
from numpy.random import Generator

from stepcell.ir import Finish, Function, Model, Stage, State, verify
from stepcell.ir.model import FloatArray
from stepcell.ir.ops import RELU, TANH, Dense, Gru, Lstm, Op, Rnn, Value

CELLS = {"lstm": 4, "gru": 3, "gru_reset_first": 3, "rnn_tanh": 1, "rnn_relu": 1}
"""Gates by cell; `gru` is linear_before_reset=1, `gru_reset_first` 0."""


def network(cell: str, layers: int, units: int, classes: int, scales: FloatArray, seed: int) -> Model:
    """Uniform initial weights, as if every feature had been divided by its scale beforehand."""
    rng = np.random.default_rng(seed)
    weights: dict[str, FloatArray] = {}
    ops: list[Op] = []
    states: list[State] = []
    updates: list[tuple[str, str]] = []
    x = Value("x", (len(scales),))
    for layer in range(layers):
        weights |= _weights(rng, cell, layer, units, ops[-1].h_next.size if layer else len(scales))  # type: ignore[union-attr]
        ops.append(_operation(cell, layer, x.name, units))
        states.append(State(f"h{layer}", np.zeros(units)))
        updates.append((f"h{layer}", f"y{layer}"))
        if cell == "lstm":
            states.append(State(f"c{layer}", np.zeros(units)))
            updates.append((f"c{layer}", f"cell{layer}"))
        x = Value(f"y{layer}", (units,))
    weights["w0"] /= scales
    weights |= {"head": _uniform(rng, units, classes, units), "head_bias": np.zeros(classes)}
    stage = Stage("main", (Value("x", (len(scales),)),), tuple(ops), tuple(updates))
    head = Dense(f"h{layers - 1}", Value("logits", (classes,)), "head", "head_bias")
    function = Function("main", stage.inputs, (stage,), Finish((head,), ("logits",)), ("logits",))
    return verify(Model("net", (function,), tuple(states), weights))


def _operation(cell: str, layer: int, x: str, units: int) -> Op:
    h, y = f"h{layer}", Value(f"y{layer}", (units,))
    w, r, wb, rb = (f"{stem}{layer}" for stem in ("w", "r", "wb", "rb"))
    if cell == "lstm":
        return Lstm(x, h, f"c{layer}", y, Value(f"cell{layer}", (units,)), w, r, wb, rb)
    if cell.startswith("gru"):
        return Gru(x, h, y, w, r, wb, rb, cell == "gru")
    return Rnn(x, h, y, w, r, wb, rb, RELU if cell == "rnn_relu" else TANH)


def _weights(rng: Generator, cell: str, layer: int, units: int, inputs: int) -> dict[str, FloatArray]:
    rows = CELLS[cell] * units
    return {
        f"w{layer}": _uniform(rng, units, rows, inputs),
        f"r{layer}": _uniform(rng, units, rows, units),
        f"wb{layer}": _uniform(rng, units, rows),
        f"rb{layer}": _uniform(rng, units, rows),
    }


def _uniform(rng: Generator, units: int, *shape: int) -> FloatArray:
    limit = units**-0.5
    return rng.uniform(-limit, limit, shape)
