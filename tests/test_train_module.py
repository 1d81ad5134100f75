"""The torch module computes what the float interpreter does, by torch's kernels and step by step."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stepcell.errors import StepcellError
from stepcell.ir import Finish, Function, Model
from stepcell.ir.ops import RELU, TANH, Embed, Gate, Value
from stepcell.reference.float_model import run_float
from stepcell.train import from_module, to_module
from stepcell.train.fusable import is_fusable
from stepcell.train.module import Path
from training_models import (
    CELLS,
    assert_equals_interpreter,
    classifier,
    every_operation,
    masked,
    outputs,
    ragged,
    stack,
    with_head,
    with_op,
)

PATHS: tuple[Path, ...] = ("fused", "scan")
FUSED = [cell for cell in CELLS if cell != "gru-lbr0"]


@settings(max_examples=40)
@given(
    cells=st.lists(st.sampled_from(CELLS), min_size=1, max_size=2),
    inputs=st.integers(1, 9),
    hidden=st.integers(1, 17),
    steps=st.integers(1, 7),
    seed=st.integers(0, 2**16),
)
def test_both_paths_equal_the_interpreter_on_ragged_batches(
    cells: list[str], inputs: int, hidden: int, steps: int, seed: int
) -> None:
    model = stack(tuple(cells), inputs, hidden, 3, seed)
    data = ragged(4, steps, (inputs,), seed)
    assert_equals_interpreter(to_module(model), model, data)
    assert_equals_interpreter(to_module(model, "scan"), model, data)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("path", PATHS)
def test_every_operation_equals_the_interpreter(cell: str, path: Path) -> None:
    model = every_operation(cell, seed=1)
    module = to_module(model, path)
    assert_equals_interpreter(module, model, ragged(5, 6, (2, 2), seed=2))


@pytest.mark.parametrize("cell", CELLS)
def test_standard_cells_take_torch_kernels_and_others_do_not(cell: str) -> None:
    for model in (classifier(cell), every_operation(cell, seed=0)):
        assert is_fusable(model.main.stages[0], model.main) == (cell in FUSED)


@pytest.mark.parametrize(
    ("cell", "changes"),
    [
        ("lstm", {"clip": 0.3}),
        ("lstm", {"input_forget": True}),
        ("lstm", {"gates": (Gate("Sigmoid"), RELU, TANH)}),
        ("gru", {"clip": 0.3}),
        ("gru", {"gates": (TANH, RELU)}),
        ("rnn-tanh", {"clip": 0.2}),
    ],
)
def test_unusual_cells_equal_the_interpreter(cell: str, changes: dict[str, object]) -> None:
    model = with_op(classifier(cell), 0, **changes)
    assert not is_fusable(model.main.stages[0], model.main)
    assert_equals_interpreter(to_module(model), model, ragged(4, 6, (3,), seed=0))


def test_an_lstm_whose_cell_state_is_read_at_the_end_is_scanned() -> None:
    model = with_head(classifier("lstm"), 0, x="c0")
    assert not is_fusable(model.main.stages[0], model.main)
    assert_equals_interpreter(to_module(model), model, ragged(4, 6, (3,), seed=0))


def test_a_state_that_delays_another_is_scanned() -> None:
    """`before` is the h of the step before the last."""
    model = classifier("gru")
    (stage,) = model.main.stages
    late = replace(model.states[0], name="before")
    stage = replace(stage, updates=(*stage.updates, ("before", "h0")))
    function = Function("main", stage.inputs, (stage,), Finish((), ("before",)), ("before",))
    model = replace(model, functions=(function,), states=(*model.states, late))
    assert not is_fusable(stage, function)
    assert_equals_interpreter(to_module(model), model, ragged(4, 6, (3,), seed=0))


@pytest.mark.parametrize("path", PATHS)
def test_a_backward_stage_starts_at_each_sequences_own_end(path: Path) -> None:
    model = classifier("gru")
    (stage,) = model.main.stages
    stage = replace(stage, direction="backward", outputs=("h0_next",))
    model = replace(model, functions=(Function("main", stage.inputs, (stage,), None, ("h0_next",)),))
    module = to_module(model, path)
    assert_equals_interpreter(module, model, ragged(5, 6, (3,), seed=4))


@pytest.mark.parametrize("cell", ["lstm", "gru-lbr0"])
def test_a_ragged_batch_equals_its_sequences_one_by_one(cell: str) -> None:
    module, data = to_module(every_operation(cell, seed=3)), ragged(5, 7, (2, 2), seed=5)
    whole, steps = outputs(module, data)
    for index in range(len(data)):
        alone, alone_steps = outputs(module, data.take(np.array([index])))
        np.testing.assert_allclose(whole[index], alone[0], atol=1e-6)
        np.testing.assert_allclose(steps[index, : data.lengths[index]], alone_steps[0], atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_weights_and_masks_survive_the_round_trip_exactly(cell: str) -> None:
    model = masked(every_operation(cell, seed=2), "R.0", 0.4)
    back = from_module(to_module(model), model)
    for name, array in model.weights.items():
        assert back.weights[name].dtype == np.float64
        np.testing.assert_array_equal(back.weights[name], array)
    np.testing.assert_array_equal(back.masks["R.0"].keep, model.masks["R.0"].keep)


def test_state_dict_carries_weights_and_masks_to_another_module() -> None:
    model = masked(classifier(), "W.0", 0.5, seed=1)
    other = to_module(masked(classifier(seed=9), "W.0", 0.5, seed=2))
    other.load_state_dict(to_module(model).state_dict())
    back = from_module(other, model)
    np.testing.assert_array_equal(back.masks["W.0"].keep, model.masks["W.0"].keep)
    np.testing.assert_array_equal(back.weights["W.0"], model.weights["W.0"])


def test_both_paths_have_the_same_gradients() -> None:
    model, data = every_operation("lstm", seed=4), ragged(4, 6, (2, 2), seed=6)
    gradients = []
    for path in PATHS:
        module = to_module(model, path)
        y, _ = module(torch.from_numpy(data.x), torch.from_numpy(data.lengths))
        y.square().sum().backward()
        gradients.append({n: p.grad for n, p in module.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-5, rtol=1e-4)


def test_constants_are_not_trained() -> None:
    module = to_module(every_operation("gru", seed=0))
    frozen = [name for name, p in module.named_parameters() if not p.requires_grad]
    assert frozen == ["weights.values.mean"]


def test_logits_are_the_output_before_the_softmax() -> None:
    model, data = classifier(), ragged(3, 5, (3,), seed=0)
    module = to_module(model)
    x, lengths = torch.from_numpy(data.x), torch.from_numpy(data.lengths)
    torch.testing.assert_close(torch.softmax(module.logits(x, lengths), 1), module(x, lengths))


def test_an_embedding_reads_tokens() -> None:
    model = classifier("gru")
    (stage,) = model.main.stages
    token = Value("token", (), "token")
    ops = (Embed("token", Value("x", (3,)), "table"), *stage.ops)
    function = replace(model.main, inputs=(token,), stages=(replace(stage, inputs=(token,), ops=ops),))
    model = replace(model, functions=(function,)).with_weights({"table": np.eye(5, 3)})
    data = replace(ragged(3, 4, (), seed=0), x=np.arange(12).reshape(3, 4) % 5)
    expected = run_float(model, data.x, data.lengths).ends["y"]
    np.testing.assert_allclose(outputs(to_module(model), data)[0], expected, atol=1e-6)


def _two_functions(model: Model) -> Model:
    return replace(model, functions=(model.main, replace(model.main, name="decoder")))


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (_two_functions(classifier()), "main, decoder"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(model: Model, named: str) -> None:
    with pytest.raises(StepcellError, match=named):
        to_module(model)
