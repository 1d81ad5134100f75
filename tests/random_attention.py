"""Memories and attention over them: parts of random models, and a model of every kind."""

from dataclasses import dataclass

from numpy.random import Generator

from random_graphs import Build
from stepcell.ir import Finish, Function, Model, Stage, verify
from stepcell.ir.ops import Append, Attend, Concat, Count, Dense, Value

KINDS = ("causal", "pooled", "stages", "functions")
"""causal: over the steps so far, at every step; pooled: over all steps, at the end, by one learned score a
step (narrow keys, a constant query); stages: over all steps, at every step of a later stage; functions: a
decoder's over the encoder's steps."""


@dataclass(frozen=True)
class Memory:
    """Keys and values by row, and how many rows there are."""

    keys: Value
    values: Value
    count: str


def remember(build: Build, keys: Value, values: Value, rows: int) -> tuple[Memory, Memory]:
    """(as the step leaves it, as what comes later reads it): a row a step, one memory for equal vectors."""
    seen = build.value("seen").name
    grown, states = {}, {}
    for x in dict.fromkeys((keys, values)):
        grown[x] = build.value("grown", rows, *x.shape)
        states[x] = Value(build.value("memory").name, grown[x].shape)
        build.add(Append(states[x].name, seen, x.name, grown[x]))
        build.state(states[x].name, grown[x].shape, grown[x].name)
    counted = build.add(Count(seen, Value(f"{seen}_next", (), "token")))
    build.state(seen, (), counted.name, "token")
    return Memory(grown[keys], grown[values], counted.name), Memory(states[keys], states[values], seen)


def attend(build: Build, x: Value, memory: Memory, at_end: bool = False) -> Value:
    """The mean of the values for a query that a dense layer makes of x; a learned one without x."""
    width = memory.keys.shape[1]
    if at_end:
        query = build.constant(build.rng.normal(size=width), at_end=True)
    else:
        w, b = build.matrix("query", 1, width, x.size)
        query = build.add(Dense(x.name, build.value("query", width), w, b))
    scale = float(width**-0.5 if build.rng.random() < 0.5 else build.rng.uniform(0.1, 2.0))
    y = build.value("context", memory.values.shape[1])
    return build.add(Attend(query.name, memory.keys.name, memory.values.name, memory.count, y, scale), at_end)


def attended(build: Build, x: Value, rows: int) -> Value:
    """x joined with the mean of what a memory of it holds so far."""
    values = build.dense(x) if build.rng.random() < 0.3 else x
    now, _ = remember(build, x, values, rows)
    context = attend(build, x, now)
    return build.add(Concat((context.name, x.name), build.value("joined", context.size + x.size)))


def attention_model(
    rng: Generator,
    kind: str,
    rows: int = 6,
    *,
    layer: str = "gru_after",
    style: str = "gaussian",
    max_units: int = 24,
    name: str = "attention",
) -> Model:
    """A layer, its memory, and a Dense over the context."""
    build = Build(rng, max_units, style, False)
    x = Value("x", (build.size(),))
    y = build.layer(layer, x)
    keys = _score(build, y) if kind == "pooled" else y
    values = build.dense(y) if rng.random() < 0.5 else y
    now, later = remember(build, keys, values, rows)
    functions = _FUNCTIONS[kind](build, x, y, now, later)
    return verify(Model(name, functions, tuple(build.states), build.weights, build.masks))


def _score(build: Build, y: Value) -> Value:
    w, b = build.matrix("score", 1, 1, y.size)
    return build.add(Dense(y.name, build.value("score", 1), w, b))


def _stage(build: Build, name: str, inputs: list[Value], outputs: list[Value]) -> Stage:
    """Everything added since the last."""
    names = tuple(value.name for value in outputs)
    stage = Stage(name, tuple(inputs), tuple(build.ops), tuple(build.updates), names)
    build.ops, build.updates = [], []
    return stage


def _causal(build: Build, x: Value, y: Value, now: Memory, _: Memory) -> tuple[Function, ...]:
    out = build.dense(attend(build, y, now))
    return (Function("main", (x,), (_stage(build, "main", [x], [out]),), None, (out.name,)),)


def _pooled(build: Build, x: Value, y: Value, _: Memory, later: Memory) -> tuple[Function, ...]:
    out = build.dense(attend(build, y, later, at_end=True), at_end=True)
    finish = Finish(tuple(build.finish), (out.name,))
    return (Function("main", (x,), (_stage(build, "main", [x], []),), finish, (out.name,)),)


def _stages(build: Build, x: Value, y: Value, _: Memory, later: Memory) -> tuple[Function, ...]:
    first = _stage(build, "first", [x], [y])
    out = build.dense(attend(build, y, later))
    return (Function("main", (x,), (first, _stage(build, "second", [y], [out])), None, (out.name,)),)


def _functions(build: Build, x: Value, _y: Value, _: Memory, later: Memory) -> tuple[Function, ...]:
    encoder = Function("encoder", (x,), (_stage(build, "main", [x], []),), None, ())
    code = Value("code", (build.size(),))
    z = build.layer("lstm", code)
    context = attend(build, z, later)
    joined = build.add(Concat((context.name, z.name), build.value("joined", context.size + z.size)))
    out = build.dense(joined)
    decoder = Function("decoder", (code,), (_stage(build, "main", [code], [out]),), None, (out.name,))
    return encoder, decoder


_FUNCTIONS = {"causal": _causal, "pooled": _pooled, "stages": _stages, "functions": _functions}
