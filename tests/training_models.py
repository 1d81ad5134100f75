"""Models, data and comparisons that the tests of training and pruning share."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from stepcell.ir import Finish, Function, Mask, Model, Stage, State, verify
from stepcell.ir.model import Block, FloatArray
from stepcell.ir.ops import (
    RELU,
    TANH,
    Activate,
    Binary,
    Concat,
    Constant,
    Count,
    Dense,
    Gru,
    Lstm,
    Mean,
    Op,
    Rnn,
    Take,
    Value,
)
from stepcell.ir.sequences import Sequences
from stepcell.reference.float_model import run_float
from stepcell.train import StepModule

CELLS = ("lstm", "gru", "gru-lbr0", "rnn-tanh", "rnn-relu")


def weight(random: np.random.Generator, *shape: int) -> FloatArray:
    """Random numbers that float32 holds exactly."""
    return random.uniform(-0.5, 0.5, shape).astype(np.float32).astype(np.float64)


def layer(cell: str, index: int, x: str, inputs: int, hidden: int, seed: int) -> tuple[Op, Model]:
    """One recurrent operation, and a Model that only holds its weights and states (random initial ones)."""
    random = np.random.default_rng((seed, index))
    rows = {"lstm": 4, "gru": 3, "rnn": 1}[cell.split("-", maxsplit=1)[0]] * hidden
    w, r, wb, rb = (f"{part}.{index}" for part in ("W", "R", "Wb", "Rb"))
    shapes = {w: (rows, inputs), r: (rows, hidden), wb: (rows,), rb: (rows,)}
    weights = {name: weight(random, *shape) for name, shape in shapes.items()}
    states = [State(f"h{index}", weight(random, hidden))]
    h_next = Value(f"h{index}_next", (hidden,))
    op: Op
    if cell == "lstm":
        states.append(State(f"c{index}", weight(random, hidden)))
        op = Lstm(x, f"h{index}", f"c{index}", h_next, Value(f"c{index}_next", (hidden,)), w, r, wb, rb)
    elif cell.startswith("gru"):
        op = Gru(x, f"h{index}", h_next, w, r, wb, rb, linear_before_reset=cell == "gru")
    else:
        op = Rnn(x, f"h{index}", h_next, w, r, wb, rb, gate=RELU if cell == "rnn-relu" else TANH)
    return op, Model("layer", (), tuple(states), weights)


def classifier(cell: str = "gru", inputs: int = 3, hidden: int = 8, classes: int = 4, seed: int = 0) -> Model:
    """One recurrent layer, and one dense layer with softmax on its last state."""
    return stack((cell,), inputs, hidden, classes, seed)


def stack(cells: tuple[str, ...], inputs: int, hidden: int, classes: int, seed: int) -> Model:
    """Recurrent layers on top of each other; a head on the last one's last state."""
    random = np.random.default_rng((seed, 99))
    weights = {"D": weight(random, classes, hidden), "Db": weight(random, classes)}
    states: tuple[State, ...] = ()
    ops: list[Op] = []
    x, width = "x", inputs
    for index, cell in enumerate(cells):
        op, part = layer(cell, index, x, width, hidden, seed)
        ops.append(op)
        weights |= part.weights
        states += part.states
        x, width = f"h{index}_next", hidden
    stage = Stage(
        "main", (Value("x", (inputs,)),), tuple(ops), tuple((s.name, f"{s.name}_next") for s in states)
    )
    head = (
        Dense(f"h{len(cells) - 1}", Value("logits", (classes,)), "D", "Db"),
        Activate("logits", Value("y", (classes,)), "softmax"),
    )
    function = Function("main", stage.inputs, (stage,), Finish(head, ("y",)), ("y",))
    return verify(Model("stack", (function,), states, weights))


def every_operation(cell: str, seed: int) -> Model:
    """Arithmetic around a layer at every step, a running mean, maximum and sum read at the end."""
    random = np.random.default_rng((seed, 7))
    op, part = layer(cell, 0, "joined", 6, 5, seed)
    weights = {**part.weights, "mean": weight(random, 4), "D": weight(random, 3, 5), "Db": weight(random, 3)}
    states = (
        *part.states,
        State("total", np.zeros(3)),
        State("peak", np.full(3, -0.1)),
        State("count", np.zeros(()), "token"),
        State("last", np.ones(3)),
    )
    ops = (
        Constant(Value("c", (4,)), "mean"),
        Take("x", Value("flat", (4,)), (3, 2, 1, 0)),
        Binary("flat", "c", Value("centred", (4,)), "sub"),
        Take("flat", Value("pair", (2,)), (1, 1)),
        Concat(("centred", "pair"), Value("joined", (6,))),
        op,
        Dense("h0_next", Value("d", (3,)), "D", "Db"),
        Activate("d", Value("a", (3,)), "sigmoid"),
        Binary("total", "a", Value("total_next", (3,)), "add"),
        Binary("a", "peak", Value("peak_next", (3,)), "max"),
        Count("count", Value("count_next", (), "token")),
    )
    updates = tuple((s.name, f"{s.name}_next") for s in states if s.name != "last")
    stage = Stage("main", (Value("x", (2, 2)),), ops, (*updates, ("last", "a")), ("d",))
    finish = (
        Mean("total", "count", Value("average", (3,))),
        Concat(("average", "peak", "last"), Value("y", (9,))),
    )
    function = Function("main", stage.inputs, (stage,), Finish(finish, ("y",)), ("y", "d"))
    return verify(Model("every", (function,), states, weights))


def ragged(count: int, steps: int, shape: tuple[int, ...], seed: int) -> Sequences:
    """Random sequences of 1 to `steps` steps; one of each is as short and as long as possible."""
    random = np.random.default_rng((seed, 3))
    lengths = random.integers(1, steps + 1, count)
    lengths[:1], lengths[-1:] = steps, 1
    return Sequences(random.normal(size=(count, steps, *shape)).astype(np.float32), lengths)


def speakers(count: int, seed: int) -> Sequences:
    """A small task: which of four directions three noisy signals drift in, 5 to 12 steps."""
    random = np.random.default_rng((seed, 5))
    y = random.integers(0, 4, count)
    x = (
        0.5 * random.normal(size=(count, 12, 3))
        + np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, -1, 0]])[y][:, None]
    )
    return Sequences(x.astype(np.float32), random.integers(5, 13, count), y)


def outputs(module: StepModule, data: Sequences) -> tuple[FloatArray, ...]:
    """What the module computes, as arrays."""
    with torch.no_grad():
        found = module(torch.from_numpy(data.x), torch.from_numpy(data.lengths))
    return tuple(y.double().numpy() for y in (found if isinstance(found, tuple) else (found,)))


def assert_equals_interpreter(module: StepModule, model: Model, data: Sequences) -> None:
    """Compare every output with the float interpreter's, up to each sequence's length, to 1e-5."""
    expected = run_float(model, data.x.astype(np.float64), data.lengths).outputs(model.main)
    once = model.main.finish.outputs if model.main.finish else ()
    for name, found in zip(model.main.outputs, outputs(module, data), strict=True):
        steps = found.shape[1]
        valid = ... if name in once else np.arange(steps) < data.lengths[:, None]
        np.testing.assert_allclose(found[valid], expected[name][valid], rtol=0, atol=1e-5)


def masked(model: Model, name: str, density: float, seed: int = 0) -> Model:
    """The model with a random mask on one matrix."""
    keep = np.random.default_rng(seed).random(model.weights[name].shape) < density
    return model.with_weights({name: model.weights[name] * keep}, {name: Mask(keep, Block(1, 1))})


def with_op(model: Model, index: int, **changes: object) -> Model:
    """The model with fields of one operation of its only stage changed."""
    (stage,) = model.main.stages
    stage = replace(stage, ops=_changed(stage.ops, index, changes))
    return replace(model, functions=(replace(model.main, stages=(stage,)),))


def with_head(model: Model, index: int, **changes: object) -> Model:
    """The model with fields of one operation of its `finish` changed."""
    finish = model.main.finish
    assert finish is not None
    finish = replace(finish, ops=_changed(finish.ops, index, changes))
    return replace(model, functions=(replace(model.main, finish=finish),))


def _changed(ops: tuple[Op, ...], index: int, changes: dict[str, Any]) -> tuple[Op, ...]:
    changed: Any = replace(ops[index], **changes)
    return (*ops[:index], changed, *ops[index + 1 :])
