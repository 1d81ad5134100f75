"""Random models beyond one step function: stages, functions, inputs, outputs, tokens and frames a step.

Built straight from the IR, like random_models.py; a seed names a model.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from random_attention import attend, remember
from random_graphs import LAYERS, Build
from stepcell.ir import Finish, Function, Model, Stage, verify
from stepcell.ir.model import Direction
from stepcell.ir.ops import ArgMax, Concat, Dense, Embed, Gru, Lstm, Recurrent, Rnn, Take, Value
from stepcell.ir.qmodel import IntArray, QFunction, QModel
from stepcell.ir.sequences import Sequences
from stepcell.quantize import quantize
from stepcell.quantize.context import Activations
from stepcell.quantize.expand import has_kernel
from stepcell.reference.integer_data import Feed

STRUCTURES = ("step", "bidirectional", "bidirectional_finish", "repeated")
"""repeated: the last state of one stage is what every step of the next reads."""
INPUTS = ("one", "two", "token", "token_and_vector")
FUNCTIONS = ("one", "shared_state", "own_state", "setting")
"""What the model's functions are: a second one carries on a state of the first, or has states of its own;
setting: the first one only sets a state of the second, beyond 1 where it likes."""
PLAIN = ("lstm", "gru_after", "gru_before", "rnn_tanh")
KINDS = tuple(kind for kind in LAYERS if kind != "rnn_relu")
"""A relu RNN explodes where another function carries it on."""
VOCABULARY = 7


class _Structure:
    """A function under construction: a `Build` whose operations are cut into stages."""

    def __init__(self, build: Build, name: str, frames: int, kinds: tuple[str, ...]) -> None:
        self.build = build
        self.name = name
        self.frames = frames
        self.kinds = kinds
        self.inputs: list[Value] = []
        self.stages: list[Stage] = []
        self.finished: list[str] = []
        self.known: dict[str, Value] = {}

    def input(self, kind: str) -> Value:
        """An input of the function, at every step."""
        name = f"{self.name}_{kind}{len(self.inputs)}"
        lead = () if self.frames == 1 else (self.frames,)
        width = () if kind == "token" else (self.build.size(),)
        value = Value(name, (*lead, *width), "token" if kind == "token" else "float")
        self.inputs.append(value)
        self.known[name] = value
        return value

    def vector(self, value: Value) -> Value:
        """An input as one vector of floats."""
        if value.dtype == "token":
            table = f"table{self.build.made}"
            width = self.build.size()
            self.build.weights[table] = self.build.rng.normal(size=(VOCABULARY, width))
            value = self.build.add(
                Embed(value.name, self.build.value("embedded", *value.shape, width), table)
            )
        if len(value.shape) == 1:
            return value
        return self.build.add(
            Take(value.name, self.build.value("flat", value.size), tuple(range(value.size)))
        )

    def joined(self, values: list[Value]) -> Value:
        """Vectors as one."""
        if len(values) == 1:
            return values[0]
        y = self.build.value("joined", sum(value.size for value in values))
        return self.build.add(Concat(tuple(value.name for value in values), y))

    def end_stage(self, read: list[Value], outputs: list[Value], direction: Direction = "forward") -> None:
        """Make a stage of everything added since the last."""
        build = self.build
        name = f"{direction}{len(self.stages)}"
        frames = self.frames if any(value in self.inputs for value in read) or not self.stages else 1
        self.stages.append(
            Stage(
                name,
                tuple(read),
                tuple(build.ops),
                tuple(build.updates),
                tuple(value.name for value in outputs),
                direction,
                frames,
            )
        )
        build.ops, build.updates = [], []

    def function(self, outputs: list[str]) -> Function:
        """The function; what `build.finish` holds is its finish."""
        finish = None
        if self.finished:
            finish = Finish(tuple(self.build.finish), tuple(self.finished))
        self.build.finish = []
        return Function(self.name, tuple(self.inputs), tuple(self.stages), finish, tuple(outputs))


def random_structure(
    rng: Generator,
    *,
    structure: str | None = None,
    inputs: str | None = None,
    functions: str | None = None,
    frames: int | None = None,
    kinds: tuple[str, ...] = KINDS,
    max_units: int = 12,
    style: str = "gaussian",
    name: str = "structure",
) -> Model:
    """A model of one or two functions; what is None is drawn.

    structure, inputs: of the first function; kinds: the layers, of LAYERS.
    """
    functions = functions or str(rng.choice(FUNCTIONS))
    build = Build(rng, max_units, style, bool(rng.random() < 0.3))
    first_name = "main" if functions in ("one", "setting") else "encoder"
    made = [_function(build, first_name, kinds, structure, inputs, frames, None)]
    if functions == "setting":
        made.insert(0, _setting(build, made[0]))
        return verify(Model(name, tuple(made), tuple(build.states), build.weights, build.masks))
    if functions != "one":
        ops = [op for stage in made[0].stages for op in stage.ops]
        cells = [op for op in ops if isinstance(op, Lstm | Gru | Rnn) and has_kernel(op)]
        shared = cells[int(rng.integers(len(cells)))] if functions == "shared_state" and cells else None
        made.append(_function(build, "decoder", kinds, None, None, None, shared))
    return verify(Model(name, tuple(made), tuple(build.states), build.weights, build.masks))


def _setting(build: Build, following: Function) -> Function:
    """A function whose one step sets the hidden state of a layer of another."""
    ops = [op for stage in following.stages for op in stage.ops]
    cells = [op for op in ops if isinstance(op, Lstm | Gru | Rnn)]
    cell = cells[int(build.rng.integers(len(cells)))]
    code = Value("code", (build.size(),))
    shape = next(s.initial.shape for s in build.states if s.name == cell.h)
    first = _mixed(build, code, shape[0])
    stage = Stage("start", (code,), (*build.ops,), ((cell.h, first.name),))
    build.ops = []
    return Function("start", (code,), (stage,), None, ())


def _mixed(build: Build, x: Value, size: int) -> Value:
    """A dense layer of that size."""
    w, b = build.matrix("mix", 1, size, x.size)
    return build.add(Dense(x.name, build.value("mixed", size), w, b))


def _function(
    build: Build,
    name: str,
    layers: tuple[str, ...],
    structure: str | None,
    inputs: str | None,
    frames: int | None,
    shared: Recurrent | None,
) -> Function:
    rng = build.rng
    structure = structure or str(rng.choice(STRUCTURES))
    kinds = inputs or str(rng.choice(INPUTS))
    wanted = frames or int(rng.choice([1, 1, 2, 3]))
    made = _Structure(build, name, wanted, layers)
    named = {"one": ["vector"], "two": ["vector", "vector"], "token": ["token"]}
    read = [made.input(kind) for kind in named.get(kinds, ["token", "vector"])]
    outputs = _STRUCTURES[structure](made, read, shared)
    return made.function(outputs)


def _step(made: _Structure, read: list[Value], shared: Recurrent | None) -> list[str]:
    """One forward stage: outputs of every step, of the end, and a state."""
    build = made.build
    x = made.joined([made.vector(value) for value in read])
    y = _layer(made, x, shared)
    z = _layer(made, y, None)
    every = build.dense(z, "sigmoid" if build.rng.random() < 0.3 else None)
    if _one_in(build, 4):
        every = build.add(ArgMax(every.name, Value(f"class{build.made}", (), "token")))
    state = _state(build, z)
    end = build.dense(Value(state, z.shape), at_end=True)
    made.end_stage(read, [every])
    made.finished = [end.name, state]
    return _some(build, [every.name], [end.name, state])


def _bidirectional(made: _Structure, read: list[Value], shared: Recurrent | None) -> list[str]:
    """One or two pairs of stages, each pair joined, then a head at every step."""
    return _pairs(made, read, shared, finish=False)


def _bidirectional_finish(made: _Structure, read: list[Value], shared: Recurrent | None) -> list[str]:
    """As before, and a head that reads the last states of both directions."""
    return _pairs(made, read, shared, finish=True)


def _pairs(made: _Structure, read: list[Value], shared: Recurrent | None, finish: bool) -> list[str]:
    build = made.build
    x = None
    for _ in range(int(build.rng.integers(1, 3))):
        first = made.joined([made.vector(value) for value in read]) if x is None else x
        forward = _layer(made, first, shared)
        shared = None
        made.end_stage(read, [forward])
        again = made.joined([made.vector(value) for value in read]) if x is None else x
        backward = _layer(made, again, None)
        made.end_stage(read, [backward], "backward")
        read = [forward, backward]
        x = made.joined(read)
        if build.rng.random() < 0.5:  # a stage of its own joins them, and gives it to the next pair
            x = build.dense(x, "relu")
        made.end_stage(read, [x])
        read = [x]
    assert x is not None
    every = build.dense(x)
    made.end_stage(read, [every])
    if not finish:
        return [every.name]
    cells = [op for stage in made.stages for op in stage.ops if isinstance(op, Lstm | Gru | Rnn)]
    both = [Value(op.h, op.h_next.shape) for op in cells[-2:]]
    joined = Concat(tuple(v.name for v in both), build.value("ends", sum(v.size for v in both)))
    end = build.dense(build.add(joined, at_end=True), at_end=True)
    made.finished = [end.name, both[0].name]
    return _some(build, [every.name], [end.name, both[0].name])


def _repeated(made: _Structure, read: list[Value], shared: Recurrent | None) -> list[str]:
    """An autoencoder: a stage whose last state is all that the next one reads; in some, its memory, too."""
    build = made.build
    x = made.joined([made.vector(value) for value in read])
    y = _layer(made, x, shared)
    code = _state(build, y)
    attends = _one_in(build, 2)
    memory = remember(build, y, y, rows=8)[1] if attends else None
    made.end_stage(read, [])
    z = _layer(made, Value(code, y.shape), None)
    every = build.dense(z if memory is None else made.joined([z, attend(build, z, memory)]))
    made.end_stage([], [every])
    return [every.name]


_STRUCTURES = {
    "step": _step,
    "bidirectional": _bidirectional,
    "bidirectional_finish": _bidirectional_finish,
    "repeated": _repeated,
}


def _one_in(build: Build, times: int) -> bool:
    """A draw that leaves the others as they are."""
    return bool(build.rng.spawn(1)[0].integers(times) == 0)


def _state(build: Build, y: Value) -> str:
    """The hidden state of the layer that gives y."""
    cells = [op for op in build.ops if isinstance(op, Lstm | Gru | Rnn)]
    return next(op.h for op in cells if op.h_next.name == y.name)


def _layer(made: _Structure, x: Value, shared: Recurrent | None) -> Value:
    """A new layer; or one of the same kind and size, that carries on the states of `shared`."""
    build = made.build
    if shared is None:
        y = build.layer(str(build.rng.choice(made.kinds)), x)
        if build.rng.random() < 0.15:  # what is fed back is not what leaves
            mixed = build.activate(_mixed(build, y, y.size), "tanh")
            build.updates = [(s, mixed.name if value == y.name else value) for s, value in build.updates]
        return y
    units = shared.h_next.size
    gates = {Lstm: 4, Gru: 3}.get(type(shared), 1)
    w, wb = build.matrix("input", gates, units, x.size)
    r, rb = build.matrix("recurrent", gates, units, units)
    y = build.value("next", units)
    build.updates.append((shared.h, y.name))
    match shared:
        case Lstm():
            cell = build.value("cell", units)
            build.updates.append((shared.c, cell.name))
            build.ops.append(Lstm(x.name, shared.h, shared.c, y, cell, w, r, wb, rb))
        case Gru():
            build.ops.append(Gru(x.name, shared.h, y, w, r, wb, rb, shared.linear_before_reset))
        case Rnn():
            build.ops.append(Rnn(x.name, shared.h, y, w, r, wb, rb, shared.gate))
    return y


def _some(build: Build, every: list[str], ends: list[str]) -> list[str]:
    """One output at least, of either kind."""
    names = [*every, *ends]
    chosen = [name for name in names if build.rng.random() < 0.7] or names
    return [str(name) for name in build.rng.permutation(chosen)]


def random_data(rng: Generator, model: Model, count: int = 5, steps: int = 7) -> Sequences:
    """Ragged data for every function of the model."""
    fed = {function.name: _fed(rng, function, count, steps) for function in model.functions}
    first, *others = fed
    return replace(fed[first], then={name: fed[name] for name in others})


def _fed(rng: Generator, function: Function, count: int, steps: int) -> Sequences:
    s = function.frames_per_step
    lengths = rng.integers(1, steps + 1, count)
    lengths[0] = steps
    valid = np.arange(steps * s) < (lengths * s)[:, None]
    streams: dict[str, NDArray[np.generic]] = {}
    for value in function.inputs:
        shape = (count, steps * s, *value.shape[0 if s == 1 else 1 :])
        x = rng.standard_normal(shape) if value.dtype == "float" else rng.integers(0, VOCABULARY, shape)
        streams[value.name] = x * valid.reshape(count, steps * s, *[1] * (len(shape) - 2))
    first, *others = function.inputs
    more = {value.name: streams[value.name] for value in others}
    return Sequences(streams[first.name], lengths * s, more=more, frames_per_step=s)


def random_quantized(
    rng: Generator, activations: Activations = "int8", **overrides: Any
) -> tuple[Model, QModel, Sequences]:
    """A random structure, quantized on random data, and the data."""
    model = random_structure(rng, **overrides)
    data = random_data(rng, model)
    return model, quantize(model, data, activations), data


def random_feeds(rng: Generator, qmodel: QModel, count: int = 4, steps: int = 5) -> dict[str, Feed]:
    """Integers over the whole range of every input's type, tokens within the vocabulary."""
    return {function.name: _feed(rng, function, count, steps) for function in qmodel.functions}


def _feed(rng: Generator, function: QFunction, count: int, steps: int) -> Feed:
    lengths = rng.integers(1, steps + 1, count)
    lengths[0] = steps
    inputs: dict[str, IntArray] = {}
    for value in function.inputs:
        shape = (count, steps, *value.shape)
        limit = 1 << (value.bits - 1)
        wide = rng.integers(-limit, limit, shape) >> rng.integers(
            0, value.bits, (count, *[1] * (len(shape) - 1))
        )
        inputs[value.name] = rng.integers(0, VOCABULARY, shape) if value.dtype == "token" else wide
    return Feed(inputs, lengths)
