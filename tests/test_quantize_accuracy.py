"""Post-training quantization: how close the integers stay to the float interpreter."""

import numpy as np
import pytest

from random_models import LAYERS, random_model, random_sequences
from stepcell.ir import Model, recurrent_ops
from stepcell.ir.qmodel import QModel
from stepcell.ir.sequences import Sequences
from stepcell.quantize import quantize
from stepcell.quantize.context import Activations
from stepcell.reference.float_model import run_float
from stepcell.reference.integer_model import run_integer
from stepcell.reference.integer_ops import quantize_input

HIDDEN_RMS = 0.01
SEEDS = range(6)


def _well_behaved(seed: int, layer: str, style: str = "gaussian") -> tuple[Model, Sequences]:
    """Eight standard normal features, as a trained model would get them, and no chaos."""
    rng = np.random.default_rng(seed)
    model = random_model(
        rng,
        layers=(layer,),
        features=8,
        prelude="none",
        head="state",
        style=style,
        max_units=40,
        softmax=False,
    )
    data = Sequences(rng.standard_normal((12, 24, 8)), rng.integers(1, 25, 12))
    return model, data


def _state_error(model: Model, qmodel: QModel, data: Sequences) -> float:
    """RMS error of the hidden states over all valid steps, relative to their largest magnitude or 1."""
    names = tuple(op.h for op in recurrent_ops(model))
    x = quantize_input(data.x, qmodel.main.inputs[0].scale, qmodel.main.inputs[0].bits)
    states = run_integer(qmodel, x, data.lengths).states
    exact = run_float(model, data.x, data.lengths, keep=names).steps
    scales = {state.value.name: state.value.scale for state in qmodel.states}
    valid = np.arange(data.x.shape[1]) < data.lengths[:, None]
    errors = []
    for name in names:
        difference = (states[name] * scales[name] - exact[name])[valid]
        errors.append(np.sqrt(np.mean(difference**2)) / max(1.0, np.abs(exact[name][valid]).max()))
    return float(max(errors))


def _errors(layer: str, style: str, activations: Activations) -> list[float]:
    cases = [_well_behaved(seed, layer, style) for seed in SEEDS]
    return [_state_error(model, quantize(model, data, activations), data) for model, data in cases]


@pytest.mark.parametrize("style", ["gaussian", "big_biases", "sparse", "dead_rows"])
@pytest.mark.parametrize("layer", LAYERS)
def test_hidden_states_stay_within_one_percent(layer: str, style: str) -> None:
    assert max(_errors(layer, style, "int8")) < HIDDEN_RMS


@pytest.mark.parametrize("layer", LAYERS)
def test_int16_activations_lower_the_error(layer: str) -> None:
    narrow, wide = _errors(layer, "gaussian", "int8"), _errors(layer, "gaussian", "int16")
    assert np.mean(wide) < np.mean(narrow)


@pytest.mark.parametrize("size", [0.0, 1e-12, 1e-3])
@pytest.mark.parametrize("layer", LAYERS)
def test_dead_rows_keep_their_biases_and_harm_no_other_row(layer: str, size: float) -> None:
    model, data = _well_behaved(3, layer)
    (op,) = recurrent_ops(model)
    weights, bias = model.weights[op.input_weights].copy(), model.weights[op.input_bias].copy()
    weights[::3] *= size
    bias[::3] = np.linspace(-4, 4, len(bias[::3]))
    dead = model.with_weights({op.input_weights: weights, op.input_bias: bias})
    assert _state_error(dead, quantize(dead, data), data) < HIDDEN_RMS


def test_logits_of_a_last_step_head_stay_within_one_percent() -> None:
    rng = np.random.default_rng(5)
    model = random_model(
        rng, layers=("gru_after",), features=8, prelude="standardize", head="last", style="gaussian"
    )
    data = random_sequences(rng, model, count=12)
    qmodel = quantize(model, data)
    x = quantize_input(data.x, qmodel.main.inputs[0].scale, qmodel.main.inputs[0].bits)
    found = run_integer(qmodel, x, data.lengths).last_outputs() * qmodel.main.outputs[0].value.scale
    exact = run_float(model, data.x, data.lengths).ends[qmodel.main.outputs[0].value.name]
    assert np.sqrt(np.mean((found - exact) ** 2)) < 0.01 * np.abs(exact).max()


def test_a_softmax_at_the_end_is_left_to_the_caller() -> None:
    rng = np.random.default_rng(5)
    model = random_model(rng, layers=("lstm",), prelude="none", head="last", softmax=True)
    qmodel = quantize(model, random_sequences(rng, model))
    assert qmodel.main.outputs[0].left_to_caller == "softmax"
    assert qmodel.main.outputs[0].value.name not in model.main.outputs


def test_percentile_calibration_clips_rare_peaks_but_no_cell_state() -> None:
    model, data = _well_behaved(0, "lstm")
    data.x[0, 0, 0] = 1000.0
    full, clipped = quantize(model, data), quantize(model, data, percentile=99.0)
    assert full.main.inputs[0].scale == pytest.approx(1000.0 / 127)
    assert clipped.main.inputs[0].scale < 5.0 / 127
    cell = {state.value.name: state.value.scale for state in full.states if state.value.name.startswith("c")}
    assert cell == {s.value.name: s.value.scale for s in clipped.states if s.value.name.startswith("c")}
