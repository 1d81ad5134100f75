"""Quantization-aware training computes what the integer reference, and so the C, computes: to the bit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from random_models import random_model, random_sequences
from random_structures import random_data, random_structure
from stepcell.build import build_host, load_bundle
from stepcell.compress import prune
from stepcell.emit import emit
from stepcell.errors import StepcellError
from stepcell.ir import Model
from stepcell.ir.model import FloatArray, recurrent_ops
from stepcell.ir.qmodel import QModel
from stepcell.ir.sequences import Sequences
from stepcell.lower import lower
from stepcell.quantize import quantize, settle
from stepcell.quantize.context import Weights
from stepcell.reference.float_model import run_float
from stepcell.reference.integer_data import quantize_sequences, real_outputs
from stepcell.reference.integer_model import run_integer
from stepcell.run import Job, lane_of, run_host
from stepcell.target import load_core
from stepcell.train import Epoch, fit, from_module, score, to_module
from stepcell.train.qat import fit_quantized
from stepcell.train.quantized import QuantizedModule, to_quantized_module
from training_models import classifier, every_operation, ragged, speakers, stack

TRAIN, VALIDATION = speakers(96, seed=0), speakers(64, seed=1)
CELLS = ("lstm", "gru", "gru-lbr0", "rnn-tanh", "rnn-relu")


def _module(model: Model, data: Sequences, weights: Weights = "int8") -> QuantizedModule:
    return to_quantized_module(model, lambda trained: settle(trained, data, weights=weights))


def _reference(qmodel: QModel, data: Sequences) -> dict[str, FloatArray]:
    """The integer reference's outputs [N, ...] or [N, T, ...], times their scales."""
    feed = quantize_sequences(qmodel, data)[qmodel.main.name]
    run = run_integer(qmodel, feed.inputs, feed.lengths)
    return real_outputs(qmodel.main, run.outputs, feed.lengths)


def _found(module: QuantizedModule, data: Sequences) -> tuple[FloatArray, ...]:
    names = module.input_names
    streams = {name: torch.from_numpy(x) for name, x in data.feed(names).items()}
    with torch.no_grad():
        found = module(streams, torch.from_numpy(data.lengths))
    return tuple(y.double().numpy() for y in (found if isinstance(found, tuple) else (found,)))


def _assert_equal(module: QuantizedModule, qmodel: QModel, data: Sequences) -> None:
    """Every output that the chip computes is the same integer; what the caller computes, to float32."""
    expected = _reference(qmodel, data).values()
    steps = data.lengths // data.frames_per_step
    for output, wanted, found in zip(qmodel.main.outputs, expected, _found(module, data), strict=True):
        valid = ... if output.finished else np.arange(wanted.shape[1]) < steps[:, None]
        if output.left_to_caller is not None:
            np.testing.assert_allclose(found[valid], wanted.reshape(found.shape)[valid], rtol=0, atol=1e-6)
            continue
        integers = [np.round(y[valid] / output.value.scale) for y in (wanted.reshape(found.shape), found)]
        np.testing.assert_array_equal(integers[0], integers[1])
        np.testing.assert_allclose(found[valid], wanted.reshape(found.shape)[valid], rtol=1e-7, atol=0)


@pytest.mark.parametrize("seed", range(12))
def test_a_random_model_is_the_integer_model(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = random_model(rng, max_units=24)
    data = random_sequences(rng, model)
    _assert_equal(_module(model, data), quantize(model, data), data)


@pytest.mark.parametrize("seed", range(8))
def test_stages_and_several_inputs_are_the_integer_model(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = random_structure(rng, functions="one")
    data = random_data(rng, model)
    _assert_equal(_module(model, data), quantize(model, data), data)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_it_stays_the_integer_model_while_it_is_trained(cell: str, weights: Weights) -> None:
    model = stack((cell, cell), 3, 8, 4, seed=1)
    module = _module(model, TRAIN, weights)
    history = fit(module, TRAIN, VALIDATION, epochs=2, batch_size=32, learning_rate=1e-2)
    assert len({epoch.loss for epoch in history.epochs}) == 2
    moved = from_module(module, model)
    assert any(not np.array_equal(moved.weights[name], model.weights[name]) for name in model.weights)
    _assert_equal(module, module.quantized(), VALIDATION)
    module.recalibrate()
    _assert_equal(module, quantize(moved, TRAIN, weights=weights), VALIDATION)


@pytest.mark.parametrize("cell", CELLS)
def test_its_gradients_are_those_of_the_float_model_within_rounding(cell: str) -> None:
    model = classifier(cell, seed=3)
    gradients = []
    for module in (to_module(model), _module(model, TRAIN)):
        logits = module.logits(torch.from_numpy(TRAIN.x), torch.from_numpy(TRAIN.lengths))
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(np.asarray(TRAIN.y))).backward()
        found = (p.grad for p in module.parameters() if p.grad is not None)
        gradients.append(torch.cat([gradient.flatten() for gradient in found]))
    first, second = gradients
    assert torch.nn.functional.cosine_similarity(first, second, dim=0) > 0.999


def test_every_operation_around_a_layer_passes_gradients() -> None:
    model = every_operation("gru", seed=0)
    data = ragged(16, 6, (2, 2), seed=0)
    module = _module(model, data)
    first, second = module(torch.from_numpy(data.x), torch.from_numpy(data.lengths))
    (first.sum() + second.sum()).backward()
    without = [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def _trained() -> Model:
    model = classifier()
    module = to_module(model)
    fit(module, TRAIN, VALIDATION, epochs=12, batch_size=16, learning_rate=0.03)
    return from_module(module, model)


def _host_accuracy(folder: Path, qmodel: QModel, data: Sequences) -> float:
    """The accuracy of the compiled C."""
    bundle = load_bundle(emit(lower(qmodel, load_core("cortex-m4")), folder / "c", {}, {}))
    feed = quantize_sequences(qmodel, data)[qmodel.main.name]
    (x,) = feed.inputs.values()
    jobs = [Job((lane_of(bundle, [[row[:n]]]),)) for row, n in zip(x, feed.lengths, strict=True)]
    results = run_host(build_host([bundle], folder / "host"), jobs)
    logits = np.stack([next(iter(result[0].parts[0].outputs.values()))[-1] for result in results])
    return float((logits.argmax(1) == data.y).mean())


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_accuracy_in_training_is_that_of_the_integers_and_of_the_c(tmp_path: Path, weights: Weights) -> None:
    seen = list[Epoch]()
    trained = fit_quantized(
        _trained(), TRAIN, VALIDATION, weights=weights, epochs=3, learning_rate=3e-3, on_epoch=seen.append
    )
    best = min(seen, key=lambda epoch: epoch.validation.loss)
    qmodel = quantize(trained, TRAIN, "auto", weights=weights)
    (logits,) = _reference(qmodel, VALIDATION).values()
    assert (logits.argmax(-1) == VALIDATION.y).mean() == best.validation.accuracy
    assert _host_accuracy(tmp_path, qmodel, VALIDATION) == best.validation.accuracy
    assert best.validation.accuracy is not None
    assert best.validation.accuracy > 0.95


def test_int4_weights_lose_less_after_training_on_them() -> None:
    model = _trained()
    trained = fit_quantized(model, TRAIN, VALIDATION, weights="int4", epochs=6, distill=0.0)
    before, after = (score(_module(m, TRAIN, "int4"), VALIDATION).loss for m in (model, trained))
    assert after < before


def test_it_learns_from_the_float_model_without_labels() -> None:
    model, seen = _trained(), list[Epoch]()
    unlabelled = [replace(data, y=None) for data in (TRAIN, VALIDATION)]
    trained = fit_quantized(model, *unlabelled, weights="int4", epochs=6, on_epoch=seen.append)
    distances = [
        np.abs(next(iter(_reference(q, VALIDATION).values())) - _float(model)).mean()
        for q in (quantize(m, TRAIN, "auto", weights="int4") for m in (model, trained))
    ]
    assert distances[1] < 0.8 * distances[0]
    assert min(epoch.validation.loss for epoch in seen) < 0.01


def _float(model: Model) -> FloatArray:
    (y,) = run_float(model, VALIDATION.x, VALIDATION.lengths).outputs(model.main).values()
    return y


def test_what_is_pruned_stays_pruned() -> None:
    model = prune(_trained(), 0.5, pattern="4x1")
    trained = fit_quantized(model, TRAIN, VALIDATION, weights="int4", epochs=2)
    for op in recurrent_ops(trained):
        for name in (op.input_weights, op.recurrent_weights):
            np.testing.assert_array_equal(trained.masks[name].keep, model.masks[name].keep)
            assert not trained.weights[name][~model.masks[name].keep].any()


def test_several_functions_are_refused_by_name() -> None:
    rng = np.random.default_rng(0)
    model = random_structure(rng, functions="own_state")
    data = random_data(rng, model)
    with pytest.raises(StepcellError, match="it has the functions"):
        _module(model, data)


def test_integers_of_the_source_are_refused_by_name() -> None:
    model = replace(classifier(), quantized={"y": object()})  # type: ignore[dict-item]
    with pytest.raises(StepcellError, match="computes with the integers of its source"):
        _module(model, TRAIN)
