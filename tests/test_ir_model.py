"""The IR: what verify refuses, and what to_text shows."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stepcell.errors import StepcellError
from stepcell.ir import (
    Function,
    Model,
    Stage,
    State,
    macs_per_step,
    parameter_count,
    to_text,
    verify,
    verify_lowerable,
)
from stepcell.ir.ops import Dense, Gru, Op, Value
from stepcell.reference.float_model import run_float


def model(*more: Op, **changes: Any) -> Model:
    """x [3] -> GRU of 2 units, its fields changed -> `more`."""
    random = np.random.default_rng(0)
    weights = {
        "w": random.standard_normal((6, 3)),
        "r": random.standard_normal((6, 2)),
        "b": np.zeros(6),
        "head": np.ones((4, 2)),
        "bias": np.zeros(4),
    }
    gru = replace(Gru("x", "h", Value("h_next", (2,)), "w", "r", "b", "b", True), **changes)
    stage = Stage("forward", (Value("x", (3,)),), (gru, *more), (("h", "h_next"),), ("h_next",))
    return Model(
        "m",
        (Function("main", stage.inputs, (stage,), None, ("h_next",)),),
        (State("h", np.zeros(2)),),
        weights,
    )


def with_stage(**changes: Any) -> Model:
    """The model, its stage changed."""
    found = model()
    stage = replace(found.main.stages[0], **changes)
    return replace(found, functions=(replace(found.main, stages=(stage,)),))


def test_text_shows_states_operations_and_weights() -> None:
    text = to_text(model(Dense("h_next", Value("y", (4,)), "head", "bias")))
    assert "state h: float[2]" in text
    assert "h_next: float[2] = gru(x, h, w, r, b, b, linear_before_reset=True, Sigmoid, Tanh)" in text
    assert "y: float[4] = dense(h_next, head, bias)" in text
    assert "head [4x2]" in text


def without_inputs() -> Model:
    return Model("still", (Function("main", (), (Stage("main", (), (), ()),), None, ()),), (), {})


def test_counts_of_work_and_size() -> None:
    found = model(Dense("h_next", Value("y", (4,)), "head", "bias"))
    assert macs_per_step(found) == 6 * 3 + 6 * 2 + 4 * 2
    assert parameter_count(found) == 18 + 12 + 6 + 8 + 4


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (model(x="nothing"), "reads nothing before it is defined"),
        (model(input_weights="none"), "unknown parameter none"),
        (model(input_weights="head"), "should be"),
        (model(Dense("h_next", Value("h_next", (4,)), "head", "bias")), "defined twice"),
        (model(Dense("x", Value("y", (4,)), "head", "bias")), "has 2 columns"),
        (with_stage(inputs=(Value("z", (3,)),)), "unknown sequence z"),
        (with_stage(frames_per_step=2), "does not begin with 2 frames"),
        (with_stage(outputs=("h",)), "yields the state h, not the value that it becomes"),
    ],
)
def test_a_malformed_model_is_a_bug(broken: Model, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        verify(broken)


def test_weights_that_are_not_finite_are_the_users_mistake() -> None:
    with pytest.raises(StepcellError, match="'w' holds 1 NaN or infinite"):
        verify(model().with_weights({"w": np.where(np.eye(6, 3, k=-5) > 0, np.nan, 0)}))


@pytest.mark.parametrize(
    ("unlowerable", "complaint"),
    [
        (without_inputs(), "the function 'main' has no input"),
        (
            replace(model(), functions=(replace(model().main, outputs=("x",)),)),
            "input 'x' is an output as it is",
        ),
    ],
)
def test_what_is_not_lowered_yet_is_refused_by_name(unlowerable: Model, complaint: str) -> None:
    with pytest.raises(StepcellError, match=complaint):
        verify_lowerable(unlowerable)


def test_weights_are_replaced_in_a_new_model() -> None:
    first = model()
    second = first.with_weights({"b": np.ones(6)})
    assert not first.weights["b"].any()
    assert second.weights["b"].all()


def test_sequences_hold_their_state_past_their_length() -> None:
    x = np.random.default_rng(1).standard_normal((2, 8, 3))
    ragged = run_float(model(), x, np.array([8, 3])).ends["h"]
    assert np.allclose(ragged[1], run_float(model(), x[1:, :3]).ends["h"][0], rtol=1e-12)


def test_a_backward_stage_runs_from_each_sequences_last_step() -> None:
    x = np.random.default_rng(2).standard_normal((2, 6, 3))
    lengths = np.array([6, 4])
    backward = run_float(with_stage(direction="backward"), x, lengths).steps["h_next"]
    turned = run_float(model(), x[1:, :4][:, ::-1]).steps["h_next"][0]
    assert np.allclose(backward[1, :4], turned[::-1])
