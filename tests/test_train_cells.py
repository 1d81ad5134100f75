"""Cells that torch has no kernel for train step by step, and compute what the interpreter does."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from random_cells import BOUNDED, KINDS, cell_model, random_cell
from stepcell.ir.gates import FUNCTIONS, gate_activation
from stepcell.ir.ops import Gate, Value
from stepcell.reference.float_functions import elementwise
from stepcell.train import from_module, to_module
from stepcell.train.gates import activated
from training_models import assert_equals_interpreter, ragged

PARAMETERS = {"Affine": (0.7, 0.1), "LeakyRelu": (0.2, None), "ThresholdedRelu": (0.5, None)}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_activation_equals_the_interpreters(name: str) -> None:
    gate = Gate(name, *PARAMETERS.get(name, (0.6, 0.4)))
    x = np.linspace(-6.0, 6.0, 241)
    found = activated(gate, torch.from_numpy(x)).numpy()
    assert np.allclose(
        found, elementwise(gate_activation(gate)[0], x, *gate_activation(gate)[1:]), atol=1e-12
    )


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.sampled_from(KINDS))
def test_any_cell_equals_the_interpreter_on_ragged_batches(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    model = cell_model(random_cell(rng, kind, "x", 3, 4, gates=BOUNDED), Value("x", (3,)))
    assert_equals_interpreter(to_module(model), model, ragged(4, 5, (3,), seed % 1000))


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_of_a_cell_learns_and_comes_back(kind: str) -> None:
    """Also peepholes and projection: seed 20 draws an LSTM that has both."""
    model = cell_model(
        random_cell(np.random.default_rng(20), kind, "x", 3, 4, gates=BOUNDED), Value("x", (3,))
    )
    module = to_module(model)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    outputs = module(torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0)))
    loss = sum(y.square().mean() for y in (outputs if isinstance(outputs, tuple) else (outputs,)))
    loss.backward()
    optimizer.step()
    trained = from_module(module, model)
    assert trained.main == model.main
    for name, before in model.weights.items():
        assert not np.allclose(trained.weights[name], before.astype(np.float32), atol=0), name
