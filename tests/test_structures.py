"""Stages, functions, inputs, outputs, tokens and frames a step: every Python backend computes the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from random_structures import (
    FUNCTIONS,
    INPUTS,
    PLAIN,
    STRUCTURES,
    random_data,
    random_feeds,
    random_quantized,
    random_structure,
)
from stepcell.exporters.float_onnx import export_float
from stepcell.exporters.integer_onnx import export_integer
from stepcell.ir import Model, to_text
from stepcell.ir.files import dump_model, dump_qmodel, load_model, load_qmodel
from stepcell.ir.qmodel import QModel
from stepcell.ir.qtext import qmodel_to_text
from stepcell.ir.sequences import Sequences
from stepcell.quantize.context import Activations
from stepcell.reference.float_model import run_float_functions
from stepcell.reference.float_session import run_float_in_onnx_runtime
from stepcell.reference.integer_data import Feed, quantize_sequences, real_outputs
from stepcell.reference.integer_model import run_functions
from stepcell.reference.integer_session import run_functions_in_onnx_runtime

SEEDS = st.integers(0, 2**32 - 1)


def float_difference(model: Model, data: Sequences) -> float:
    """The largest between the interpreter and ONNX Runtime, over valid steps, all outputs and functions."""
    runs = run_float_functions(model, data)
    files = {function.name: export_float(model, function.name) for function in model.functions}
    found = run_float_in_onnx_runtime(model, files, data)
    worst = 0.0
    for function in model.functions:
        fed = data if function is model.functions[0] else data.then[function.name]
        for name, wanted in runs[function.name].outputs(function).items():
            difference = np.abs(wanted - found[function.name][name])
            if function.finish is None or name not in function.finish.outputs:
                lengths = fed.lengths // function.frames_per_step
                difference = difference[np.arange(wanted.shape[1]) < lengths[:, None]]
            worst = max(worst, float(difference.max(initial=0.0)))
    return worst


def integer_differences(qmodel: QModel, feeds: dict[str, Feed]) -> list[str]:
    """Which states and outputs differ between the reference and ONNX Runtime."""
    runs = run_functions(qmodel, feeds)
    files = {function.name: export_integer(qmodel, function.name) for function in qmodel.functions}
    found = run_functions_in_onnx_runtime(qmodel, files, feeds)
    wrong = []
    for name, run in runs.items():
        outputs, states = found[name]
        assert list(outputs) == list(run.outputs)
        assert list(states) == list(run.states)
        wrong += [f"{name}.{n}" for n, array in run.outputs.items() if not np.array_equal(array, outputs[n])]
        wrong += [f"{name}/{n}" for n, array in run.states.items() if not np.array_equal(array, states[n])]
    return wrong


@settings(max_examples=40)
@given(SEEDS)
def test_random_structures_compute_the_same_floats_in_onnx_runtime(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = random_structure(rng)
    assert float_difference(model, random_data(rng, model)) < 1e-5


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("functions", FUNCTIONS)
def test_every_structure_computes_the_same_floats(structure: str, inputs: str, functions: str) -> None:
    rng = np.random.default_rng(
        [STRUCTURES.index(structure), INPUTS.index(inputs), FUNCTIONS.index(functions)]
    )
    model = random_structure(rng, structure=structure, inputs=inputs, functions=functions)
    assert float_difference(model, random_data(rng, model)) < 1e-5


@settings(max_examples=40)
@given(SEEDS, st.sampled_from(["int8", "int16"]))
def test_random_structures_compute_the_same_integers_in_onnx_runtime(
    seed: int, activations: Activations
) -> None:
    rng = np.random.default_rng(seed)
    _, qmodel, _ = random_quantized(rng, activations)
    assert integer_differences(qmodel, random_feeds(rng, qmodel)) == []


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("functions", FUNCTIONS)
def test_every_structure_computes_the_same_integers(structure: str, inputs: str, functions: str) -> None:
    rng = np.random.default_rng(
        [STRUCTURES.index(structure), INPUTS.index(inputs), FUNCTIONS.index(functions)]
    )
    _, qmodel, _ = random_quantized(rng, structure=structure, inputs=inputs, functions=functions)
    assert integer_differences(qmodel, random_feeds(rng, qmodel)) == []


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("path", ["fused", "scan"])
@pytest.mark.parametrize("inputs", INPUTS)
def test_every_structure_of_one_function_trains_as_it_runs(structure: str, path: str, inputs: str) -> None:
    torch = pytest.importorskip("torch")
    from stepcell.train import to_module

    rng = np.random.default_rng([STRUCTURES.index(structure), INPUTS.index(inputs)])
    model = random_structure(rng, structure=structure, inputs=inputs, functions="one", frames=2)
    data = random_data(rng, model)
    names = [value.name for value in model.main.inputs]
    x = {name: torch.from_numpy(array) for name, array in data.feed(names).items()}
    with torch.no_grad():
        found = to_module(model, path)(x, torch.from_numpy(data.lengths))  # type: ignore[arg-type]
    found = found if isinstance(found, tuple) else (found,)
    wanted = run_float_functions(model, data)["main"].outputs(model.main)
    for (name, exact), array in zip(wanted.items(), found, strict=True):
        valid = np.arange(exact.shape[1]) < data.lengths[:, None] // 2
        finished = model.main.finish is not None and name in model.main.finish.outputs
        near = np.isclose(array.numpy(), exact, atol=1e-5)
        assert np.all(near if finished else near[valid])


@settings(max_examples=25)
@given(SEEDS)
def test_random_structures_survive_their_files(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model, qmodel, data = random_quantized(rng)
    again, integers = load_model(dump_model(model), "file"), load_qmodel(dump_qmodel(qmodel), "file")
    assert dump_model(again) == dump_model(model)
    assert qmodel_to_text(integers) == qmodel_to_text(qmodel)
    assert to_text(again) == to_text(model)
    feeds = quantize_sequences(qmodel, data)
    runs, repeated = run_functions(qmodel, feeds), run_functions(integers, feeds)
    for name, run in runs.items():
        assert all(np.array_equal(array, repeated[name].outputs[n]) for n, array in run.outputs.items())


@settings(max_examples=25)
@given(SEEDS)
def test_padding_and_neighbours_change_nothing(seed: int) -> None:
    """A sequence of a ragged batch gives what it gives alone, in every direction."""
    rng = np.random.default_rng(seed)
    _, qmodel, _ = random_quantized(rng)
    feeds = random_feeds(rng, qmodel)
    together = run_functions(qmodel, feeds)
    for i in range(2):
        alone = run_functions(qmodel, {name: _only(feed, i) for name, feed in feeds.items()})
        for name, run in alone.items():
            for output, array in run.outputs.items():
                assert np.array_equal(array[0], together[name].outputs[output][i, : array.shape[1]])
            for state, array in run.ends().items():
                assert np.array_equal(array[0], together[name].ends()[state][i])


def _only(feed: Feed, i: int) -> Feed:
    steps = feed.lengths[i : i + 1]
    return Feed({name: array[i : i + 1, : steps[0]] for name, array in feed.inputs.items()}, steps)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("inputs", INPUTS)
def test_integers_stay_near_the_floats(structure: str, inputs: str) -> None:
    """Every output and state of calm models, within 4 % of its largest magnitude (int16 activations)."""
    rng = np.random.default_rng([7, STRUCTURES.index(structure), INPUTS.index(inputs)])
    model, qmodel, data = random_quantized(rng, "int16", structure=structure, inputs=inputs, kinds=PLAIN)
    floats, feeds = run_float_functions(model, data), quantize_sequences(qmodel, data)
    for name, run in run_functions(qmodel, feeds).items():
        function = model.function(name)
        real = real_outputs(qmodel.function(name), run.outputs, feeds[name].lengths)
        exact = floats[name].outputs(function)
        assert len(real) == len(exact)
        for found, wanted in zip(real.values(), exact.values(), strict=True):
            valid = np.arange(wanted.shape[1]) < feeds[name].lengths[:, None]
            errors = np.abs(found - wanted)
            every_step = wanted.shape[:2] == valid.shape and found.ndim == 3
            assert (errors[valid] if every_step else errors).max() <= 0.04 * max(1.0, np.abs(wanted).max())
