"""Random float models, data and integer models, built straight from the IR: no file, no torch.

Everything is drawn from the given generator, so a seed names a model. Sizes, layers, preludes, heads and
weight styles are drawn too, unless an argument fixes them.
"""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.random import Generator

from random_graphs import HEADS, LAYERS, PRELUDES, STYLES, Build
from stepcell.ir import Finish, Function, Model, Stage, verify
from stepcell.ir.ops import Concat, Value
from stepcell.ir.qmodel import IntArray, QModel
from stepcell.ir.sequences import Sequences
from stepcell.quantize import quantize
from stepcell.quantize.context import Activations, Weights

__all__ = [
    "HEADS",
    "LAYERS",
    "PRELUDES",
    "STYLES",
    "models",
    "random_frames",
    "random_model",
    "random_qmodel",
    "random_sequences",
]


def random_model(
    rng: Generator,
    *,
    name: str = "random",
    layers: tuple[str, ...] | None = None,
    max_units: int = 130,
    features: int | None = None,
    prelude: str | None = None,
    head: str | None = None,
    style: str | None = None,
    softmax: bool | None = None,
    initial: bool | None = None,
) -> Model:
    """A model of 1-3 recurrent layers with up to `max_units` units, features or outputs; all names are C's.

    layers: of LAYERS; prelude, head, style: of PRELUDES, HEADS, STYLES; softmax: as the last operation;
    initial: states start elsewhere than at 0.
    """
    kinds = layers or tuple(str(k) for k in rng.choice(LAYERS, size=rng.choice([1, 1, 2, 3])))
    prelude, head = prelude or _one_of(rng, PRELUDES), head or _one_of(rng, HEADS)
    soft = head != "state" and rng.random() < 0.2 if softmax is None else softmax
    nonzero = bool(rng.random() < 0.25) if initial is None else initial
    build = Build(rng, max_units, style or _one_of(rng, STYLES), nonzero)
    width = build.size() if features is None else features
    shape = (width, 2) if prelude == "matrix" else (width,)
    x = build.prelude(prelude, Value("x", shape))
    for kind in kinds:
        skip = x
        x = build.layer(kind, x)
        if rng.random() < 0.2:
            x = build.add(Concat((skip.name, x.name), build.value("joined", skip.size + x.size)))
    output, finished = build.head(head, x, soft)
    stage = Stage(
        "main", (Value("x", shape),), tuple(build.ops), tuple(build.updates), () if finished else (output,)
    )
    finish = Finish(tuple(build.finish), (output,)) if finished else None
    function = Function("main", stage.inputs, (stage,), finish, (output,))
    return verify(Model(name, (function,), tuple(build.states), build.weights, build.masks))


def random_sequences(rng: Generator, model: Model, count: int = 6, steps: int = 12) -> Sequences:
    """Ragged normal data of a random size and offset, zero past each length."""
    shape = model.main.inputs[0].shape
    lengths = rng.integers(1, steps + 1, count)
    lengths[0] = steps
    x = (rng.standard_normal((count, steps, *shape)) + rng.normal()) * 10 ** rng.uniform(-1, 1)
    valid = (np.arange(steps) < lengths[:, None]).reshape(count, steps, *[1] * len(shape))
    return Sequences(x * valid, lengths)


def random_qmodel(
    rng: Generator, activations: Activations = "int8", weights: Weights = "int8", **overrides: Any
) -> tuple[QModel, Sequences]:
    """A random model quantized on random data, and the data; `overrides` are `random_model`'s."""
    model = random_model(rng, **overrides)
    data = random_sequences(rng, model)
    return quantize(model, data, activations, weights=weights), data


def random_frames(rng: Generator, qmodel: QModel, count: int = 4, steps: int = 6) -> IntArray:
    """x [N, T, ...] over the whole range of the input's type; sequence 0 holds only its extremes."""
    limit = 1 << (qmodel.main.inputs[0].bits - 1)
    shape = (count, steps, *qmodel.main.inputs[0].shape)
    x = rng.integers(-limit, limit, shape) >> rng.integers(
        0, qmodel.main.inputs[0].bits, (count, 1, *[1] * (len(shape) - 2))
    )
    x[0] = rng.choice([-limit, limit - 1], shape[1:])
    return x


def models(**overrides: Any) -> st.SearchStrategy[Model]:
    """Random models for hypothesis, which shrinks towards seed 0."""
    return st.integers(0, 2**32 - 1).map(lambda seed: random_model(np.random.default_rng(seed), **overrides))


def _one_of(rng: Generator, choices: tuple[str, ...]) -> str:
    return str(rng.choice(choices))
