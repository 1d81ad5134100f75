"""The integer reference: chunks, batches and padding change nothing, and plain Python agrees with it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scalar_contract
from random_models import (
    HEADS,
    LAYERS,
    PRELUDES,
    random_frames,
    random_model,
    random_qmodel,
    random_sequences,
)
from stepcell.ir import recurrent_ops
from stepcell.ir.qmodel import MAX_STEPS_OF_A_MEAN, QModel
from stepcell.quantize import quantize
from stepcell.quantize.context import Activations
from stepcell.reference.integer_model import IntegerRun, run_integer
from stepcell.reference.integer_ops import quantize_input

SEEDS = st.integers(0, 2**32 - 1)
ACTIVATIONS: tuple[Activations, Activations] = ("int8", "int16")


def _drawn(seed: int, max_units: int = 24) -> tuple[np.random.Generator, QModel]:
    rng = np.random.default_rng(seed)
    return rng, random_qmodel(rng, ACTIVATIONS[seed % 2], max_units=max_units, attention=None)[0]


def _same(a: IntegerRun, b: IntegerRun) -> bool:
    return np.array_equal(a.output, b.output) and all(
        np.array_equal(a.states[n], b.states[n]) for n in a.states
    )


def _rows(run: IntegerRun, sequences: slice, steps: slice = slice(None)) -> IntegerRun:
    states = {name: array[sequences, steps] for name, array in run.states.items()}
    outputs = {name: array[sequences, steps] for name, array in run.outputs.items()}
    return IntegerRun(states, outputs, run.saturations)


@settings(max_examples=25)
@given(SEEDS, st.integers(1, 5))
def test_two_chunks_give_what_one_run_gives(seed: int, cut: int) -> None:
    rng, qmodel = _drawn(seed)
    x = random_frames(rng, qmodel)
    whole = run_integer(qmodel, x)
    first = run_integer(qmodel, x[:, :cut])
    ends = {name: array[:, -1] for name, array in first.states.items()}
    assert _same(first, _rows(whole, slice(None), slice(None, cut)))
    assert _same(run_integer(qmodel, x[:, cut:], initial=ends), _rows(whole, slice(None), slice(cut, None)))


@settings(max_examples=25)
@given(SEEDS)
def test_a_sequence_does_not_depend_on_its_batch(seed: int) -> None:
    rng, qmodel = _drawn(seed)
    x = random_frames(rng, qmodel)
    together = run_integer(qmodel, x)
    for i in range(len(x)):
        assert _same(run_integer(qmodel, x[i : i + 1]), _rows(together, slice(i, i + 1)))


@settings(max_examples=25)
@given(SEEDS)
def test_frames_beyond_the_length_change_nothing(seed: int) -> None:
    rng, qmodel = _drawn(seed)
    x = random_frames(rng, qmodel)
    lengths = rng.integers(1, x.shape[1] + 1, len(x))
    padding = np.arange(x.shape[1]) >= lengths[:, None]
    other = np.where(padding.reshape(*padding.shape, *[1] * (x.ndim - 2)), 1, x)
    padded = run_integer(qmodel, x, lengths)
    assert _same(padded, run_integer(qmodel, other, lengths))
    for i, length in enumerate(lengths):
        alone = run_integer(qmodel, x[i : i + 1, :length])
        assert _same(alone, _rows(padded, slice(i, i + 1), slice(None, int(length))))
        assert np.all(padded.output[i, length:] == padded.output[i, length - 1])


@settings(max_examples=25)
@given(SEEDS)
def test_states_and_outputs_stay_in_their_types(seed: int) -> None:
    rng, qmodel = _drawn(seed)
    run = run_integer(qmodel, random_frames(rng, qmodel, steps=10))
    states = [(s.value, run.states[s.value.name]) for s in qmodel.states]
    stored = [(qmodel.main.outputs[0].value, run.output), *states]
    for value, array in stored:
        assert array.shape[2:] == value.shape
        assert -(1 << (value.bits - 1)) <= array.min()
        assert array.max() < 1 << (value.bits - 1)


def _agree_with_plain_python(qmodel: QModel, x: np.ndarray) -> None:
    run = run_integer(qmodel, x)
    for i, sequence in enumerate(x):
        frames = [[int(v) for v in frame.flat] for frame in sequence]
        for t, (states, output) in enumerate(scalar_contract.run(qmodel, frames)):
            assert output == run.output[i, t].ravel().tolist()
            assert all(states[name] == run.states[name][i, t].ravel().tolist() for name in states)


@pytest.mark.parametrize("activations", ACTIVATIONS)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("style", ["gaussian", "large", "extremes", "dead_rows", "big_biases"])
def test_every_layer_equals_plain_python_within_int32(
    layer: str, style: str, activations: Activations
) -> None:
    rng = np.random.default_rng([LAYERS.index(layer), len(style), len(activations)])
    qmodel, _ = random_qmodel(rng, activations, layers=(layer,), style=style, max_units=12)
    _agree_with_plain_python(qmodel, random_frames(rng, qmodel, count=3, steps=4))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("prelude", PRELUDES)
def test_every_prelude_and_head_equals_plain_python_within_int32(prelude: str, head: str) -> None:
    rng = np.random.default_rng(100 * PRELUDES.index(prelude) + HEADS.index(head))
    qmodel, _ = random_qmodel(rng, layers=("gru_after",), prelude=prelude, head=head, max_units=6)
    _agree_with_plain_python(qmodel, random_frames(rng, qmodel, count=2, steps=4))


def test_a_mean_takes_in_no_more_steps_than_its_sum_can_hold() -> None:
    rng = np.random.default_rng(3)
    qmodel, _ = random_qmodel(rng, layers=("rnn_tanh",), head="mean", prelude="none", max_units=2)
    x = random_frames(rng, qmodel, count=1, steps=3)
    full = {"steps": np.asarray([MAX_STEPS_OF_A_MEAN - 1])}
    run = run_integer(qmodel, x, initial=full)
    assert run.states["steps"].tolist() == [[MAX_STEPS_OF_A_MEAN] * 3]
    assert np.all(run.states["total"] == run.states["total"][:, :1])


def test_quantize_input_rounds_ties_up_and_clamps_symmetrically() -> None:
    x = np.asarray([-1000.0, -1.5, -0.5, 0.0, 0.49, 0.5, 1.5, 1000.0])
    assert quantize_input(x, 1.0, 8).tolist() == [-127, -1, 0, 0, 0, 1, 2, 127]
    assert quantize_input(x * 1000, 1.0, 16).min() == -32767


def test_saturations_count_cell_states_at_their_limits() -> None:
    rng = np.random.default_rng(0)
    model = random_model(rng, layers=("lstm",), prelude="none", head="state", max_units=3, initial=False)
    (bias,) = (op.input_bias for op in recurrent_ops(model))
    counting = model.with_weights({bias: np.full_like(model.weights[bias], 30.0)})  # c grows by 1 a step
    data = random_sequences(rng, counting, count=1, steps=4)
    qmodel = quantize(counting, data)
    run = run_integer(qmodel, np.zeros((2, 30, *qmodel.main.inputs[0].shape), np.int64), np.asarray([30, 10]))
    ((name, count),) = run.saturations.items()
    at_limit = run.states[name] == 32767
    assert count == at_limit[0].sum() + at_limit[1, :10].sum() > 0
