"""Two small models of exact sizes beyond one step function, to be read: in golden files, and by people."""

import numpy as np

from random_graphs import Build
from random_structures import VOCABULARY, random_data
from stepcell.ir import Function, Model, Stage, State, verify
from stepcell.ir.ops import Concat, Dense, Embed, Gru, Op, Value
from stepcell.ir.qmodel import QModel
from stepcell.quantize import quantize

UNITS, FEATURES, OUTPUTS = 4, 3, 2


def both_directions(name: str) -> QModel:
    """A bidirectional GRU, and a head at every step."""
    build = _build()
    x = Value("x", (FEATURES,))
    stages = []
    for direction in ("forward", "backward"):
        h = _gru(build, direction, x, f"{direction}_h")
        stages.append(Stage(direction, (x,), (h[0],), (h[1],), (h[0].h_next.name,), direction))
    both = [stage.ops[0].h_next for stage in stages]  # type: ignore[union-attr]
    joined = Value("joined", (2 * UNITS,))
    head = _dense(build, joined, Value("logits", (OUTPUTS,)))
    concat = Concat(tuple(value.name for value in both), joined)
    stages.append(Stage("head", tuple(both), (concat, head), (), ("logits",)))
    return _quantized(build, name, (Function("main", (x,), tuple(stages), None, ("logits",)),))


def shared_state(name: str) -> QModel:
    """An encoder of tokens and a decoder of tokens that goes on from its state."""
    build = _build()
    functions = []
    for function, given in (("encoder", ()), ("decoder", ("logits",))):
        token, x = Value("token", (), "token"), Value(f"{function}_x", (FEATURES,))
        table = f"{function}_table"
        build.weights[table] = build.rng.normal(size=(VOCABULARY, FEATURES))
        cell, update = _gru(build, function, x, "h")
        ops: list[Op] = [Embed("token", x, table), cell]
        ops += [_dense(build, cell.h_next, Value(output, (OUTPUTS,))) for output in given]
        stage = Stage("main", (token,), tuple(ops), (update,), given)
        functions.append(Function(function, (token,), (stage,), None, given))
    return _quantized(build, name, tuple(functions))


def _build() -> Build:
    return Build(np.random.default_rng(0), UNITS, "gaussian", False)


def _gru(build: Build, stem: str, x: Value, state: str) -> tuple[Gru, tuple[str, str]]:
    """A layer and what updates its state, which is declared once."""
    w, wb = build.matrix(f"{stem}_input", 3, UNITS, x.size)
    r, rb = build.matrix(f"{stem}_recurrent", 3, UNITS, UNITS)
    if state not in [known.name for known in build.states]:
        build.states.append(State(state, np.zeros(UNITS)))
    y = Value(f"{stem}_next", (UNITS,))
    return Gru(x.name, state, y, w, r, wb, rb, True), (state, y.name)


def _dense(build: Build, x: Value, y: Value) -> Dense:
    w, b = build.matrix(y.name, 1, y.size, x.size)
    return Dense(x.name, y, w, b)


def _quantized(build: Build, name: str, functions: tuple[Function, ...]) -> QModel:
    model = verify(Model(name, functions, tuple(build.states), build.weights, {}))
    return quantize(model, random_data(build.rng, model), "int8")
