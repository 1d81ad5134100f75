"""What quantization refuses, and that it names the layer, the numbers and a way out."""

from dataclasses import replace

import numpy as np
import pytest

from random_models import random_model, random_sequences
from stepcell.errors import StepcellError
from stepcell.ir import Function, Model, Stage, State
from stepcell.ir.ops import Activate, Binary, Dense, Gru, Value
from stepcell.ir.sequences import Sequences
from stepcell.quantize import quantize


def _gru(features: int = 3, units: int = 4) -> Model:
    rng = np.random.default_rng(0)
    x, h = Value("x", (features,)), Value("h_next", (units,))
    weights = {
        "W": rng.normal(size=(3 * units, features)),
        "R": rng.normal(size=(3 * units, units)) * 0.3,
        "wb": np.zeros(3 * units),
        "rb": np.zeros(3 * units),
    }
    ops = (Gru("x", "h", h, "W", "R", "wb", "rb", True),)
    stage = Stage("main", (x,), ops, (("h", "h_next"),), ("h_next",))
    return Model(
        "net", (Function("main", (x,), (stage,), None, ("h_next",)),), (State("h", np.zeros(units)),), weights
    )


def _with_ops(model: Model, *ops: Activate | Binary | Dense, output: str) -> Model:
    (stage,) = model.main.stages
    changed = replace(stage, ops=(*stage.ops, *ops), outputs=(output,))
    return replace(model, functions=(replace(model.main, stages=(changed,), outputs=(output,)),))


def _data(*shape: int) -> Sequences:
    return Sequences(np.random.default_rng(1).normal(size=shape), np.full(shape[0], shape[1]))


def test_an_accumulator_that_could_overflow_is_refused_by_layer_and_row() -> None:
    model = _gru(features=600)
    model = model.with_weights({"W": np.ones_like(model.weights["W"])})
    with pytest.raises(
        StepcellError, match=r"h_next \(input\): the accumulator of row 0 can reach 2496921600"
    ):
        quantize(model, _data(2, 3, 600), "int16")
    quantize(model, _data(2, 3, 600), "int8")


def test_a_dense_layer_that_could_overflow_reads_the_view_and_says_so() -> None:
    rng = np.random.default_rng(0)
    model = _gru(units=530)
    model = model.with_weights({"D": np.ones((2, 530)), "b": rng.normal(size=2)})
    qmodel = quantize(
        _with_ops(model, Dense("h_next", Value("y", (2,)), "D", "b"), output="y"), _data(2, 3, 3)
    )
    assert "reads the int8 view" in qmodel.choices["y"]


def test_a_sum_over_time_without_a_bound_is_refused() -> None:
    model = _gru()
    total = Binary("total", "h_next", Value("total_next", (4,)), "add")
    states = (*model.states, State("total", np.zeros(4)))
    (stage,) = model.main.stages
    updates = (*stage.updates, ("total", "total_next"))
    summed = replace(stage, ops=(*stage.ops, total), updates=updates, outputs=("total_next",))
    function = replace(model.main, stages=(summed,), outputs=("total_next",))
    with pytest.raises(StepcellError, match="'total' sums over time without a bound"):
        quantize(replace(model, functions=(function,), states=states), _data(2, 3, 3))


def test_a_gain_beyond_the_output_is_refused() -> None:
    model = _gru()
    huge = model.with_weights({"W": model.weights["W"] * 1e6})
    with pytest.raises(
        StepcellError, match="h_next: its sums exceed what its output can hold by a factor of"
    ):
        quantize(huge, _data(2, 3, 3))


def test_a_sum_over_time_is_refused_outside_a_mean() -> None:
    rng = np.random.default_rng(0)
    model = random_model(rng, layers=("rnn_tanh",), prelude="none", head="mean", softmax=False)
    (stage,) = model.main.stages
    total = next(value for state, value in stage.updates if state == "total")
    shape = model.state("total").initial.shape
    reader = Activate(total, Value("squashed", shape), "tanh")
    changed = replace(stage, ops=(*stage.ops, reader))
    with pytest.raises(StepcellError, match="squashed: it reads the sum over time"):
        quantize(
            replace(model, functions=(replace(model.main, stages=(changed,)),)), random_sequences(rng, model)
        )


def test_a_running_sum_that_does_not_start_at_zero_is_refused() -> None:
    rng = np.random.default_rng(0)
    model = random_model(rng, layers=("rnn_tanh",), prelude="none", head="mean")
    states = tuple(replace(s, initial=s.initial + 1) if s.name == "total" else s for s in model.states)
    with pytest.raises(StepcellError, match="the running sum 'total' starts at 1, not at 0"):
        quantize(replace(model, states=states), random_sequences(rng, model))


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3), (2, 3, 3, 1), (0, 3, 3), (2, 0, 3)])
def test_calibration_data_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(StepcellError, match=r"net: the calibration data is .* the input 'x' is \[N, T, 3\]"):
        quantize(_gru(), Sequences(np.zeros(shape), np.ones(shape[0], np.int64)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_calibration_data_that_is_not_finite_is_refused(bad: float) -> None:
    data = _data(2, 3, 3)
    data.x[1, 1, 1] = bad
    with pytest.raises(StepcellError, match="becomes NaN or infinite on the calibration data"):
        quantize(_gru(), data)


def test_calibration_data_of_nothing_but_zeros_is_refused() -> None:
    with pytest.raises(StepcellError, match="nothing but zeros"):
        quantize(_gru(), Sequences(np.zeros((2, 3, 3)), np.asarray([3, 3])))
