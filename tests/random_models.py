"""Random float models, data and integer models, built straight from the IR: no file, no torch.

Everything is drawn from the given generator, so a seed names a model. Sizes, layers, preludes, heads and
weight styles are drawn too, unless an argument fixes them.
"""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.random import Generator

from random_attention import attended
from random_graphs import HEADS, LAYERS, PRELUDES, STYLES, Build
from stepcell.errors import StepcellError
from stepcell.ir import Finish, Function, Model, Stage, verify
from stepcell.ir.memory import most_steps
from stepcell.ir.model import all_ops
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
    attention: bool | None = False,
) -> Model:
    """A model of 1-3 recurrent layers with up to `max_units` units, features or outputs; all names are C's.

    layers: of LAYERS; prelude, head, style: of PRELUDES, HEADS, STYLES; softmax: as the last operation;
    initial: states start elsewhere than at 0; attention: over the steps so far; None: in every
    eighth model, while the others stay what they are without it.
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
    of_its_own = rng.spawn(1)[0]
    if of_its_own.random() < 1 / 8 if attention is None else attention:
        x = attended(build, x, rows=int(of_its_own.integers(1, 10)))
    output, finished = build.head(head, x, soft)
    stage = Stage(
        "main", (Value("x", shape),), tuple(build.ops), tuple(build.updates), () if finished else (output,)
    )
    finish = Finish(tuple(build.finish), (output,)) if finished else None
    function = Function("main", stage.inputs, (stage,), finish, (output,))
    return verify(Model(name, (function,), tuple(build.states), build.weights, build.masks))


def random_sequences(rng: Generator, model: Model, count: int = 6, steps: int = 12) -> Sequences:
    """Ragged normal data of a random size and offset, zero past each length, no longer than memories are."""
    shape = model.main.inputs[0].shape
    steps = min(steps, most_steps(all_ops(model)) or steps)
    lengths = rng.integers(1, steps + 1, count)
    lengths[0] = steps
    x = (rng.standard_normal((count, steps, *shape)) + rng.normal()) * 10 ** rng.uniform(-1, 1)
    valid = (np.arange(steps) < lengths[:, None]).reshape(count, steps, *[1] * len(shape))
    return Sequences(x * valid, lengths)


def random_qmodel(
    rng: Generator, activations: Activations = "int8", weights: Weights = "int8", **overrides: Any
) -> tuple[QModel, Sequences]:
    """A random model quantized on random data, and the data; `overrides` are `random_model`'s.

    A model whose numbers differ by so many orders of magnitude that `quantize` refuses it is drawn again.
    """
    while True:
        model = random_model(rng, **overrides)
        data = random_sequences(rng, model)
        try:
            return quantize(model, data, activations, weights=weights), data
        except StepcellError as refusal:
            if "exceed what its output can hold" not in refusal.message:
                raise


def random_frames(rng: Generator, qmodel: QModel, count: int = 4, steps: int = 6) -> IntArray:
    """x [N, T, ...] over the whole range of the input's type.

    Sequence 0 holds only its extremes, and so does sequence 1, the same at every step: cells that add up what
    they see saturate.
    """
    limit = 1 << (qmodel.main.inputs[0].bits - 1)
    shape = (count, steps, *qmodel.main.inputs[0].shape)
    x = rng.integers(-limit, limit, shape) >> rng.integers(
        0, qmodel.main.inputs[0].bits, (count, 1, *[1] * (len(shape) - 2))
    )
    x[0] = rng.choice([-limit, limit - 1], shape[1:])
    x[1:2] = rng.choice([-limit, limit - 1], shape[2:])
    return x


def models(**overrides: Any) -> st.SearchStrategy[Model]:
    """Random models for hypothesis, which shrinks towards seed 0."""
    return st.integers(0, 2**32 - 1).map(lambda seed: random_model(np.random.default_rng(seed), **overrides))


def _one_of(rng: Generator, choices: tuple[str, ...]) -> str:
    return str(rng.choice(choices))
