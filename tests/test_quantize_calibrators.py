"""What calibration decides: how much a scale covers, what biases take in, which layers need more bits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stepcell.errors import StepcellError
from stepcell.ir import Model
from stepcell.ir.files import load_qmodel
from stepcell.ir.model import FloatArray, Source
from stepcell.ir.qmodel import QGru, QLstm, QModel
from stepcell.ir.qtext import qmodel_to_text
from stepcell.ir.sequences import Sequences
from stepcell.pipeline import Options, Original, compile_model
from stepcell.quantize import quantize, quantize_settled, settle
from stepcell.quantize.calibrators import Calibrator, covered
from stepcell.reference.float_model import run_float
from stepcell.reference.integer_data import quantize_sequences, real_outputs
from stepcell.reference.integer_model import run_integer
from training_models import classifier, ragged, stack

DATA = ragged(60, 20, (3,), seed=0)
BITS = {8: 127, 16: 32767}


def _squared_error(x: FloatArray, threshold: float, limit: int) -> float:
    """What clipping at a threshold and rounding cost, measured on the numbers themselves."""
    step = threshold / limit
    return float(np.mean((np.clip(np.round(x / step), -limit, limit) * step - x) ** 2))


def _peaked(outliers: int = 3) -> FloatArray:
    random = np.random.default_rng(0)
    x: FloatArray = np.abs(np.concatenate([random.normal(size=20000), np.full(outliers, 40.0)]))
    return x


@pytest.mark.parametrize("bits", [8, 16])
def test_minmax_covers_all_and_a_percentile_the_rest(bits: int) -> None:
    x = _peaked()
    assert covered(x, "minmax", 100.0, bits) == 40.0
    assert covered(x, "minmax", 99.0, bits) == np.percentile(x, 99.0)
    assert covered(x, "percentile", 99.9, bits) == np.percentile(x, 99.9)
    assert covered(x, "percentile", 100.0, bits) == np.percentile(x, 99.99)


@pytest.mark.parametrize("bits", [8, 16])
def test_mse_covers_what_leaves_the_least_error(bits: int) -> None:
    x, limit = _peaked(), BITS[bits]
    best = min(_squared_error(x, t, limit) for t in np.linspace(2.0, 40.0, 400))
    assert _squared_error(x, covered(x, "mse", 100.0, bits), limit) < 1.05 * best
    assert covered(np.linspace(0.0, 3.0, 5000), "mse", 100.0, bits) > 2.9


def test_mse_and_entropy_clip_rare_peaks_of_int8_alone() -> None:
    x = _peaked()
    assert covered(x, "entropy", 100.0, 8) < 8.0
    assert covered(x, "entropy", 100.0, 16) == 40.0
    assert covered(x, "mse", 100.0, 16) > 39.0
    assert covered(_peaked(outliers=1), "mse", 100.0, 8) < covered(_peaked(outliers=200), "mse", 100.0, 8)


@pytest.mark.parametrize("calibrator", ["minmax", "percentile", "mse", "entropy"])
def test_every_calibrator_covers_evenly_spread_values_and_nothing_of_zeros(calibrator: Calibrator) -> None:
    assert covered(np.linspace(0.0, 1.0, 100_000), calibrator, 100.0, 8) > 0.93
    assert covered(np.zeros(10), calibrator, 100.0, 8) == 0.0


@pytest.mark.parametrize("calibrator", ["mse", "entropy"])
def test_a_percentile_for_what_has_its_own_threshold_is_refused(calibrator: Calibrator) -> None:
    with pytest.raises(StepcellError, match=f"{calibrator} finds its own threshold"):
        quantize(classifier(), DATA, percentile=99.0, calibrator=calibrator)


def test_calibrators_move_the_input_and_leave_states_alone() -> None:
    x = DATA.x.copy()
    x[3, 0, 0] = 60.0
    peaked = replace(DATA, x=x)
    model, clean = classifier("lstm"), DATA.take(np.arange(10, 60))
    plain, clipped = quantize(model, peaked), quantize(model, peaked, calibrator="entropy")
    assert plain.main.inputs[0].scale == pytest.approx(60 / 127)
    assert clipped.main.inputs[0].scale < 10 / 127
    assert [s.value for s in plain.states] == [s.value for s in clipped.states]
    assert _error(model, clipped, clean) < 0.5 * _error(model, plain, clean)


def _error(model: Model, qmodel: QModel, data: Sequences) -> float:
    """Root mean square of the last logits' error, against their deviation."""
    feed = quantize_sequences(qmodel, data)[qmodel.main.name]
    run = run_integer(qmodel, feed.inputs, feed.lengths)
    (found,) = real_outputs(qmodel.main, run.outputs, feed.lengths).values()
    (wanted,) = run_float(model, data.x, data.lengths).outputs(model.main).values()
    return float(np.sqrt(np.mean((found - wanted) ** 2)) / np.std(wanted))


def test_bias_correction_moves_each_bias_by_the_mean_error_of_its_row() -> None:
    model, data = stack(("gru",), 3, 48, 6, seed=2), replace(DATA, x=DATA.x + 1.0)
    plain, corrected = (
        _layer(quantize(model, data, weights="int4", bias_correction=on)) for on in (False, True)
    )
    valid = np.arange(20) < DATA.lengths[:, None]
    qmodel = quantize(model, data, weights="int4")
    feed = quantize_sequences(qmodel, data)["main"]
    scale = qmodel.main.inputs[0].scale
    stored = plain.input.weights * plain.input.scales[:, None]
    read = feed.inputs["x"][valid].mean(axis=0) * scale
    error = (model.weights["W.0"] - stored) @ read
    candidate = slice(96, 144)  # whose input bias holds nothing of the recurrent matrix
    moved = (corrected.input_bias - plain.input_bias)[candidate] * plain.input.scales[candidate] * scale
    np.testing.assert_allclose(moved, error[candidate], rtol=0, atol=1.01 * plain.input.scales.max() * scale)
    assert np.abs(moved).max() > 5 * plain.input.scales.max() * scale


def _layer(qmodel: QModel) -> QGru:
    return next(op for op in qmodel.all_ops if isinstance(op, QGru))


@pytest.mark.parametrize("cells", [("gru",), ("lstm",), ("gru", "lstm")])
def test_bias_correction_lowers_the_error_of_int4_weights(cells: tuple[str, ...]) -> None:
    errors = []
    for seed in range(4):
        model = stack(cells, 3, 48, 6, seed)
        qmodels = (quantize(model, DATA, weights="int4", bias_correction=on) for on in (False, True))
        errors.append([_error(model, qmodel, DATA) for qmodel in qmodels])
    plain, corrected = np.mean(errors, axis=0)
    assert corrected < 0.9 * plain


def test_settled_ranges_quantize_other_weights_of_the_same_scales() -> None:
    model, other = stack(("lstm", "gru"), 3, 8, 4, seed=0), stack(("lstm", "gru"), 3, 8, 4, seed=1)
    other = model.with_weights(other.weights)
    settled = settle(model, DATA, "auto", weights="int4")
    assert qmodel_to_text(quantize_settled(model, settled)) == qmodel_to_text(
        quantize(model, DATA, "auto", weights="int4")
    )
    moved = quantize_settled(other, settled)
    same = quantize_settled(model, settled)
    assert [s.value for s in moved.states] == [s.value for s in same.states]
    assert not np.array_equal(_layer(moved).input.weights, _layer(same).input.weights)


def _layers(qmodel: QModel) -> list[QLstm]:
    return [op for op in qmodel.all_ops if isinstance(op, QLstm)]


def _largest_weights(qmodel: QModel) -> list[tuple[int, int]]:
    """Of the input and the recurrent matrix of each layer."""
    pairs = ((layer.input.weights, layer.recurrent.weights) for layer in _layers(qmodel))
    return [(int(np.abs(w).max()), int(np.abs(r).max())) for w, r in pairs]


def test_auto_weights_keep_int8_where_int4_costs_most() -> None:
    model = stack(("lstm", "lstm"), 3, 24, 4, seed=1)
    recurrent = model.weights["R.0"].copy()
    recurrent[::7, 3] *= 40
    model = model.with_weights({"R.0": recurrent})
    qmodels = [quantize(model, DATA, weights=bits) for bits in ("int4", "auto", "int8")]
    four, auto, eight = (_error(model, qmodel, DATA) for qmodel in qmodels)
    assert _largest_weights(qmodels[1]) == [(7, 127), (7, 7)]
    assert qmodels[1].choices["R.0"].startswith("int8 weights")
    assert eight < auto < 0.7 * four


def test_auto_activations_read_int16_states_in_the_layer_that_needs_them() -> None:
    model = stack(("lstm", "lstm"), 3, 16, 4, seed=1)
    bias = model.weights["Wb.1"].copy()
    bias[16:32] -= 5  # h below the int8 view's resolution
    model = model.with_weights({"Wb.1": bias, "R.1": 20 * model.weights["R.1"], "D": 40 * model.weights["D"]})
    data = ragged(40, 30, (3,), seed=0)
    plain, auto = (quantize(model, data, activations) for activations in ("int8", "auto"))
    assert [layer.recurrent.reads_view for layer in _layers(auto)] == [True, False]
    assert auto.choices["h1_next"].startswith("reads int16 states")
    assert _error(model, auto, data) < 0.5 * _error(model, plain, data)


def _compiled(folder: Path, model: Model, options: Options) -> str:
    """The integer model in the bundle, as text."""
    original = Original({}, Source("drawn.py:build", "0" * 64, "torch"))
    bundle = compile_model(model, original, DATA, folder / "c", options)
    stored = bundle / "onnx" / "integer.npz"
    return qmodel_to_text(load_qmodel(stored.read_bytes(), str(stored)))


def test_compile_calibrates_and_corrects_as_it_is_told(tmp_path: Path) -> None:
    model = stack(("gru",), 3, 16, 4, seed=0)
    options = Options(weights="auto", calibrator="mse", bias_correction=True)
    expected = quantize(model, DATA, "auto", weights="auto", calibrator="mse", bias_correction=True)
    assert _compiled(tmp_path, model, options) == qmodel_to_text(expected)
    assert qmodel_to_text(expected) != qmodel_to_text(quantize(model, DATA, "auto", weights="auto"))


def test_compile_refuses_rounding_by_data_for_weights_that_are_yet_to_be_chosen(tmp_path: Path) -> None:
    with pytest.raises(StepcellError, match="does not go with --weight-bits auto"):
        _compiled(tmp_path, classifier(), Options(weights="auto", rounding="data"))
