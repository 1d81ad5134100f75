"""`round_to_data`: weights on the quantizer's grid, and sums over the data nearer to the float model's."""

import numpy as np
import pytest

from stepcell.compress import prune, round_to_data
from stepcell.ir import Model
from stepcell.ir.model import FloatArray, recurrent_ops
from stepcell.ir.qmodel import QDense, QGru, QLstm, QRnn
from stepcell.ir.sequences import Sequences
from stepcell.quantize import quantize
from stepcell.quantize.context import Activations, Weights
from stepcell.reference.float_model import run_float
from training_models import CELLS, classifier

STEPS, INPUTS = 24, 12


def correlated(sequences: int = 24) -> Sequences:
    """Inputs of which a few directions hold most of the power, as in speech."""
    random = np.random.default_rng(0)
    few = random.standard_normal((sequences, STEPS, 2)) @ random.standard_normal((2, INPUTS))
    x = few + 0.05 * random.standard_normal((sequences, STEPS, INPUTS))
    return Sequences(x, random.integers(STEPS // 2, STEPS + 1, sequences))


def outputs(model: Model, data: Sequences) -> FloatArray:
    found = run_float(model, data.x, data.lengths)
    return found.outputs(model.main)[model.main.outputs[0]]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_the_quantizer_finds_every_weight_on_its_grid(cell: str, weights: Weights) -> None:
    data = correlated()
    model = round_to_data(classifier(cell, INPUTS, 16), data, weights)
    (stage,) = quantize(model, data, weights=weights).main.stages
    layers = [op for op in stage.ops if isinstance(op, (QLstm, QGru, QRnn))]
    for op, layer in zip(recurrent_ops(model), layers, strict=True):
        for name, matrix in ((op.input_weights, layer.input), (op.recurrent_weights, layer.recurrent)):
            stored = matrix.weights * matrix.scales[:, None]
            np.testing.assert_allclose(stored, model.weights[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_sums_over_the_data_come_nearer_to_the_float_model(cell: str) -> None:
    data = correlated()
    model = classifier(cell, INPUTS, 16)
    rounded = round_to_data(model, data, "int4")
    op = recurrent_ops(model)[0]
    x = data.x.reshape(-1, INPUTS)
    w = model.weights[op.input_weights]
    scales = np.abs(w).max(axis=1, keepdims=True) / 7
    nearest = np.round(w / scales) * scales
    error, plain = (np.linalg.norm(x @ (v - w).T) for v in (rounded.weights[op.input_weights], nearest))
    assert error < plain / 2


def test_pruned_weights_stay_zero() -> None:
    data = correlated()
    model = prune(classifier("gru", INPUTS, 16), fraction=0.5, pattern="4x2")
    rounded = round_to_data(model, data)
    for name, mask in model.masks.items():
        assert not rounded.weights[name][~mask.keep].any()
        assert rounded.weights[name][mask.keep].any()


@pytest.mark.parametrize("activations", ["int8", "int16", "int16-states"])
def test_every_choice_of_activations_stays_close_to_the_float_model(activations: Activations) -> None:
    """And no state is read by less than it holds with int16-states."""
    data = correlated()
    model = round_to_data(classifier("gru", INPUTS, 16), data)
    q_model = quantize(model, data, activations)
    (gru,) = (op for op in q_model.all_ops if isinstance(op, QGru))
    assert gru.recurrent.reads_view == (activations != "int16-states")
    assert gru.recurrent.input_bound == (32768 if activations == "int16-states" else 128)
    assert any(isinstance(op, QDense) for op in q_model.all_ops)
    assert np.abs(outputs(model, data) - outputs(classifier("gru", INPUTS, 16), data)).max() < 0.02
