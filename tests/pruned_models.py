"""Small models of every kind of layer that second-order pruning fits, and data like speech."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from stepcell.ir import Block, Finish, Function, Model, Stage, verify
from stepcell.ir.model import FloatArray
from stepcell.ir.ops import Activate, Conv, Dense, Lstm, Take, Value
from stepcell.ir.sequences import Sequences
from stepcell.reference.float_model import run_float
from training_models import CELLS, classifier, layer, stack, weight

INPUTS, HIDDEN = 5, 6
BLOCKS = [Block(1, 1), Block(4, 1), Block(4, 2), Block(3, 4)]


def sigmoid(x: FloatArray) -> FloatArray:
    """1 / (1 + e^-x)."""
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def data_of(model: Model, count: int = 40, steps: int = 12) -> Sequences:
    """Inputs of which a few directions hold most of the power, as in speech."""
    random = np.random.default_rng(1)
    width = model.main.inputs[0].size
    few = random.standard_normal((count, steps, 2)) @ np.random.default_rng(0).standard_normal((2, width))
    x = few + 0.2 * random.standard_normal((count, steps, width))
    lengths = random.integers(steps // 2, steps + 1, count)
    x *= (np.arange(steps) < lengths[:, None])[..., None]
    return Sequences(x.reshape(count, steps, *model.main.inputs[0].shape), lengths)


def logits(model: Model, data: Sequences) -> FloatArray:
    return run_float(model, data.x, data.lengths).ends["logits"]


def windowed() -> Model:
    """A dense layer, a convolution over its 6 numbers, a GRU over the positions, a head."""
    random = np.random.default_rng(3)
    op, part = layer("gru", 0, "c", 8, 6, seed=3)
    weights = {"P": weight(random, 6, 5), "Pb": weight(random, 6), "K": weight(random, 2, 3, 1)}
    weights |= {"Kb": weight(random, 2), "D": weight(random, 4, 6), "Db": weight(random, 4), **part.weights}
    ops = (
        Dense("x", Value("p", (6,)), "P", "Pb"),
        Activate("p", Value("t", (6,)), "tanh"),
        Take("t", Value("q", (6, 1)), tuple(range(6))),
        Conv("q", Value("c", (4, 2)), "K", "Kb", (1,), (1,), ((0, 0),)),
        op,
    )
    return closed(ops, part, weights, (5,))


def both_ways() -> Model:
    """An LSTM backwards, whose h a GRU reads forwards."""
    first, back = layer("lstm", 0, "x", INPUTS, HIDDEN, seed=5)
    second, ahead = layer("gru", 1, "h0_next", HIDDEN, HIDDEN, seed=5)
    random = np.random.default_rng(5)
    weights = {**back.weights, **ahead.weights, "D": weight(random, 4, HIDDEN), "Db": weight(random, 4)}
    x = Value("x", (INPUTS,))
    assert isinstance(first, Lstm)
    stages = (
        Stage("back", (x,), (first,), (("h0", "h0_next"), ("c0", "c0_next")), ("h0_next",), "backward"),
        Stage("ahead", (first.h_next,), (second,), (("h1", "h1_next"),)),
    )
    head = Finish((Dense("h1", Value("logits", (4,)), "D", "Db"),), ("logits",))
    function = Function("main", (x,), stages, head, ("logits",))
    return verify(Model("both", (function,), (*back.states, *ahead.states), weights))


def closed(
    ops: tuple[Any, ...], part: Model, weights: dict[str, FloatArray], shape: tuple[int, ...]
) -> Model:
    updates = tuple((s.name, f"{s.name}_next") for s in part.states)
    stage = Stage("main", (Value("x", shape),), ops, updates)
    head = Finish((Dense("h0", Value("logits", (4,)), "D", "Db"),), ("logits",))
    function = Function("main", stage.inputs, (stage,), head, ("logits",))
    return verify(Model("windowed", (function,), part.states, weights))


MODELS: dict[str, Callable[[], Model]] = {
    **{cell: partial(classifier, cell, INPUTS, HIDDEN) for cell in CELLS},
    "stacked": lambda: stack(("lstm", "gru"), INPUTS, HIDDEN, 4, seed=2),
    "windowed": windowed,
    "both ways": both_ways,
}
