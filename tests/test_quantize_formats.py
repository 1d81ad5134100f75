"""The formats and proofs of a quantized model: scales, widths, shifts, multipliers, states."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from random_models import random_model, random_qmodel, random_sequences
from stepcell.ir import Finish, Model, recurrent_ops
from stepcell.ir.qmodel import (
    JointRequant,
    QActivate,
    QDense,
    QGru,
    QLstm,
    QModel,
    QRescale,
    Requant,
    q_matrices,
)
from stepcell.ir.sequences import Sequences
from stepcell.quantize import calibrate, quantize
from stepcell.quantize.context import Activations, fraction_bits
from stepcell.quantize.requantize import ACCUMULATOR_LIMIT, accumulator_bound, pre_shift, requant
from stepcell.reference.integer_model import run_integer

SEEDS = st.integers(0, 2**32 - 1)


def _first(qmodel: QModel, kind: type) -> object:
    return next(op for op in qmodel.all_ops if isinstance(op, kind))


@settings(max_examples=25)
@given(SEEDS)
def test_weights_are_int8_and_pruned_ones_zero(seed: int) -> None:
    qmodel, _ = random_qmodel(np.random.default_rng(seed), style="sparse", head="every_step", max_units=40)
    matrices = [matrix for op in qmodel.all_ops for matrix in q_matrices(op)]
    assert all(np.abs(matrix.weights).max(initial=0) <= 127 for matrix in matrices)
    assert all(not matrix.weights[~matrix.mask.keep].any() for matrix in matrices if matrix.mask is not None)
    assert any(matrix.mask is not None for matrix in matrices)


@settings(max_examples=25)
@given(SEEDS, st.sampled_from(["int8", "int16"]))
def test_every_shifted_accumulator_has_16_bits_and_every_multiplier_15(seed: int, activations: str) -> None:
    wide = activations == "int16"
    qmodel, _ = random_qmodel(np.random.default_rng(seed), "int16" if wide else "int8", max_units=40)
    for op in qmodel.all_ops:
        biases = [getattr(op, n) for n in ("bias", "input_bias", "recurrent_bias") if hasattr(op, n)]
        for matrix, bias, (shift, multipliers, saturates) in zip(
            q_matrices(op), [*biases, 0], _scalings(op), strict=False
        ):
            largest = int(accumulator_bound(matrix, np.asarray(bias)).max())
            assert largest + ((1 << shift) >> 1) < 2**31
            assert ((largest + ((1 << shift) >> 1)) >> shift > 32767) == saturates
            assert multipliers.min() >= 0
            assert multipliers.max() <= 1 << 14


def _scalings(op: object) -> list[tuple[int, np.ndarray, bool]]:
    requant = getattr(op, "requant", None)
    if isinstance(requant, JointRequant):
        return [
            (requant.input_pre_shift, requant.input_multipliers, False),
            (requant.recurrent_pre_shift, requant.recurrent_multipliers, False),
        ]
    if isinstance(requant, Requant):
        return [(requant.pre_shift, requant.multipliers, requant.saturates)]
    return []


@settings(max_examples=200)
@given(SEEDS)
def test_a_sum_that_saturates_belongs_to_an_output_at_its_limit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scales = 10 ** rng.uniform(-9, -3) * rng.choice([1.0, 0.5, rng.uniform(1 / 16, 1), 1 / 16], 8)
    bound = rng.integers(2**15, ACCUMULATOR_LIMIT, 1)
    numbers = requant("layer", bound, scales, float(scales.max() * 10 ** rng.uniform(0, 5)))
    limits = np.array([[32767], [-32768]]) * numbers.multipliers + ((1 << numbers.post_shift) >> 1)
    if numbers.saturates:
        assert np.all(limits[0] >> numbers.post_shift >= 32767)
        assert np.all(limits[1] >> numbers.post_shift <= -32768)
    else:
        assert pre_shift(bound) == numbers.pre_shift


@pytest.mark.parametrize(
    ("largest", "bits"), [(0.0, 15), (0.9, 15), (1.0, 15), (1.1, 14), (16.0, 11), (1e9, 0)]
)
def test_fraction_bits(largest: float, bits: int) -> None:
    assert fraction_bits(largest) == bits


def test_only_matrices_leave_the_input_int8() -> None:
    rng = np.random.default_rng(1)
    cases: list[tuple[str, Activations, int]] = [
        ("none", "int8", 8),
        ("matrix", "int8", 8),
        ("standardize", "int8", 16),
        ("none", "int16", 16),
    ]
    for prelude, activations, bits in cases:
        qmodel, _ = random_qmodel(rng, activations, prelude=prelude, layers=("lstm",), head="state")
        assert qmodel.main.inputs[0].bits == bits


def test_a_relu_after_a_dense_layer_becomes_part_of_it() -> None:
    qmodel, _ = random_qmodel(np.random.default_rng(1), prelude="dense_relu", head="state")
    dense = _first(qmodel, QDense)
    assert isinstance(dense, QDense)
    assert dense.relu
    assert not any(isinstance(op, QActivate) for op in qmodel.main.stages[0].ops)


def test_only_linear_before_reset_keeps_the_two_candidate_biases_apart() -> None:
    for layer, apart in (("gru_after", True), ("gru_before", False)):
        qmodel, _ = random_qmodel(np.random.default_rng(1), layers=(layer,), style="gaussian", max_units=20)
        gru = _first(qmodel, QGru)
        assert isinstance(gru, QGru)
        units = len(gru.recurrent_bias) // 3
        assert not gru.recurrent_bias[: 2 * units].any()
        assert gru.recurrent_bias[2 * units :].any() == apart


def test_a_cell_state_holds_its_initial_value() -> None:
    rng = np.random.default_rng(2)
    model = random_model(rng, layers=("lstm",), prelude="none", style="gaussian", initial=False)
    far = tuple(replace(s, initial=s.initial + 50.0) if s.name.startswith("c") else s for s in model.states)
    qmodel = quantize(replace(model, states=far), random_sequences(rng, model))
    lstm = _first(qmodel, QLstm)
    assert isinstance(lstm, QLstm)
    assert lstm.cell_bits == fraction_bits(50.0)
    (cell,) = (s for s in qmodel.states if s.value.name.startswith("c"))
    assert np.all(cell.initial == 50 * 2**lstm.cell_bits)


def test_a_state_that_only_remembers_takes_the_format_of_what_it_remembers() -> None:
    qmodel, _ = random_qmodel(np.random.default_rng(2), prelude="none", head="held", layers=("rnn_tanh",))
    (held,) = (s.value for s in qmodel.states if s.value.name == "newest")
    dense = _first(qmodel, QDense)
    assert isinstance(dense, QDense)
    assert (held.bits, held.scale) == (dense.y.bits, dense.y.scale)


def _feeding_back_another_value(rng: np.random.Generator) -> tuple[Model, str]:
    """h becomes a dense head of as many units, not the layer's own output, and starts far from it."""
    model = random_model(
        rng, layers=("rnn_relu",), prelude="none", head="every_step", max_units=1, softmax=False
    )
    (op,), (stage,) = recurrent_ops(model), model.main.stages
    (output,) = stage.outputs
    changed = replace(stage, updates=((op.h, output),))
    far = tuple(replace(state, initial=state.initial + 100.0) for state in model.states)
    return replace(model, functions=(replace(model.main, stages=(changed,)),), states=far), op.h


def test_an_update_in_another_scale_is_brought_to_the_scale_of_its_state() -> None:
    rng = np.random.default_rng(4)
    model, state = _feeding_back_another_value(rng)
    data = random_sequences(rng, model)
    qmodel = quantize(model, data)
    rescale = qmodel.main.stages[0].ops[-1]
    assert isinstance(rescale, QRescale)
    assert dict(qmodel.main.stages[0].updates)[state] == rescale.y.name
    run = run_integer(qmodel, np.zeros((1, 3, *qmodel.main.inputs[0].shape), np.int64))
    (scale,) = (s.value.scale for s in qmodel.states if s.value.name == state)
    output = run.output * qmodel.main.outputs[0].value.scale
    assert np.abs(run.states[state] * scale - output).max() < 2 * scale


def _relu_rnn(gain: float) -> Model:
    """One unit, h' = relu(x + gain * h)."""
    rng = np.random.default_rng(7)
    model = random_model(
        rng, layers=("rnn_relu",), features=1, prelude="none", head="state", max_units=1, initial=False
    )
    (op,) = recurrent_ops(model)
    zero = np.zeros(1)
    return model.with_weights(
        {
            op.input_weights: np.ones((1, 1)),
            op.recurrent_weights: np.full((1, 1), gain),
            op.input_bias: zero,
            op.recurrent_bias: zero,
        }
    )


def test_a_relu_state_fills_its_int16() -> None:
    data = Sequences(np.ones((4, 3, 1)), np.full(4, 3))
    qmodel = quantize(_relu_rnn(0.0), data)
    (state,) = (state.value for state in qmodel.states)
    assert state.scale == pytest.approx(1 / 32767)


def test_a_relu_rnn_that_diverges_without_resets_is_scaled_by_its_sequences() -> None:
    data = Sequences(np.ones((32, 3, 1)), np.full(32, 3))  # 1, 1 + g, 1 + g + g^2 with resets
    ranges = {gain: calibrate(_relu_rnn(gain), data)["main"].peak for gain in (0.5, 2.0)}
    (op,) = recurrent_ops(_relu_rnn(2.0))
    assert ranges[2.0][op.h] == 7.0
    assert 1.75 < ranges[0.5][op.h] <= 2.0


def test_a_state_itself_can_be_the_output() -> None:
    rng = np.random.default_rng(6)
    model = random_model(rng, layers=("gru_after",), prelude="none", head="state")
    (op,) = recurrent_ops(model)
    function = replace(model.main, finish=Finish((), (op.h,)), outputs=(op.h,))
    qmodel = quantize(replace(model, functions=(function,)), random_sequences(rng, model))
    run = run_integer(qmodel, np.ones((2, 3, *qmodel.main.inputs[0].shape), np.int64))
    assert np.array_equal(run.output, run.states[op.h])
