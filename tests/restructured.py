"""Models to restructure, and what they come to."""

import numpy as np

from random_bundles import sized_float_model
from random_models import random_sequences
from stepcell.ir import Model
from stepcell.ir.model import FloatArray
from stepcell.ir.sequences import Sequences
from stepcell.reference.float_model import run_float

LAYERS = ("lstm", "gru_after", "gru_before", "rnn_tanh", "rnn_relu")
WITH_KERNELS = ("lstm", "gru_after", "rnn_tanh", "rnn_relu")


def drawn(layer: str, units: int = 16, depth: int = 2, seed: int = 0) -> tuple[Model, Sequences]:
    """Layers of this many units, a head on their last state, and data."""
    rng = np.random.default_rng(seed)
    name = f"{layer}{units}"
    model = sized_float_model(rng, name, (layer,) * depth, 6, units, 3, "last")
    return model, random_sequences(rng, model, count=8, steps=10)


def answers(model: Model, data: Sequences) -> FloatArray:
    run = run_float(model, data.x, data.lengths)
    (found,) = run.outputs(model.main).values()
    return np.asarray(found)


def with_products(before: Model, after: Model, ending: str = "") -> Model:
    """`before` with each matrix that `after` has factors of as what they multiply out to."""
    whole = {}
    for name in before.weights:
        if f"{name}_A{ending}" in after.weights:
            whole[name] = after.weights[f"{name}_B"] @ after.weights[f"{name}_A"]
    assert whole
    return before.with_weights(whole)
