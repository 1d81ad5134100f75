"""Removed units: the smaller model computes what the larger one did without them, in floats and in C."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from random_models import random_sequences
from random_structures import PLAIN, random_data, random_feeds, random_structure
from stepcell.build import build_host, load_bundle
from stepcell.compress import prune, remove_layer, remove_units
from stepcell.compress.importance import Criterion, Scores
from stepcell.compress.prune import prunable
from stepcell.emit import emit
from stepcell.errors import StepcellError
from stepcell.ir import Block, Model, recurrent_ops
from stepcell.ir.model import FloatArray
from stepcell.ir.ops import Lstm, Normalize, Recurrent, Value
from stepcell.ir.sequences import Sequences
from stepcell.lower import lower
from stepcell.quantize import quantize
from stepcell.reference.float_model import run_float_functions
from stepcell.reference.integer_model import run_functions
from stepcell.run import Job, run_host
from stepcell.target import load_core
from stepcell.validate.backends import lanes, mismatches
from tools import require_tool
from training_models import CELLS, classifier, ragged, stack, with_head, with_op

SEEDS = range(24)


def _rows(op: Recurrent, units: int, dead: list[int]) -> list[int]:
    gates = 4 if isinstance(op, Lstm) else 3 if type(op).__name__ == "Gru" else 1
    return [gate * units + unit for gate in range(gates) for unit in dead]


def with_dead_units(model: Model, state: str, dead: list[int]) -> Model:
    """The model with some units of the layers of a state at 0 for ever: no weights, no biases, no start."""
    weights, states = dict(model.weights), {s.name: s for s in model.states}
    for op in (op for op in recurrent_ops(model) if op.h == state):
        rows = _rows(op, op.h_next.size, dead)
        for name in (op.input_weights, op.recurrent_weights, op.input_bias, op.recurrent_bias):
            weights[name] = weights[name].copy()
            weights[name][rows] = 0.0
        for own in (op.h, *([op.c] if isinstance(op, Lstm) else [])):
            initial = states[own].initial.copy()
            initial[dead] = 0.0
            states[own] = replace(states[own], initial=initial)
    return replace(model.with_weights(weights), states=tuple(states.values()))


def all_but(state: str, dead: list[int]) -> Criterion:
    """A criterion: 1 for the input weights of every unit of a state's layers except the dead ones."""

    def scores(model: Model, data: Sequences | None = None) -> Scores:
        del data
        found = {}
        for op in (op for op in recurrent_ops(model) if op.h == state):
            found[op.input_weights] = np.ones_like(model.weights[op.input_weights])
            found[op.input_weights][_rows(op, op.h_next.size, dead)] = 0.0
        return found

    return scores


def _results(model: Model) -> set[str]:
    return {op.h_next.name for op in recurrent_ops(model)}


def outputs(model: Model, data: Sequences) -> list[FloatArray]:
    runs = run_float_functions(model, data)
    return [y for function in model.functions for y in runs[function.name].outputs(function).values()]


def assert_same(small: Model, large: Model, data: Sequences) -> None:
    for found, expected in zip(outputs(small, data), outputs(large, data), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layer", [0, 1])
def test_dead_units_leave_a_stack_and_every_layer_that_reads_them(cell: str, layer: int) -> None:
    model = with_dead_units(stack((cell, cell), 3, 8, 4, seed=2), f"h{layer}", [1, 4, 6])
    small = remove_units(model, criterion=all_but(f"h{layer}", [1, 4, 6]), width=5, layers=[f"h{layer}_next"])
    gates = model.weights["R.0"].shape[0] // 8
    assert small.weights[f"R.{layer}"].shape == (5 * gates, 5)
    assert small.weights["W.1"].shape == ((8 if layer == 0 else 5) * gates, 5 if layer == 0 else 8)
    assert small.weights["D"].shape == (4, 8 if layer == 0 else 5)
    np.testing.assert_array_equal(
        small.weights["D"], model.weights["D"] if layer == 0 else model.weights["D"][:, [0, 2, 3, 5, 7]]
    )
    assert_same(small, model, ragged(6, 9, (3,), seed=1))


def test_cells_behind_a_projection_leave_and_what_is_projected_stays() -> None:
    rng, plain = np.random.default_rng(4), stack(("lstm", "gru"), 3, 8, 4, seed=2)
    weights = {**plain.weights, "P": rng.normal(size=(8, 8)), "holes": rng.normal(size=24)}
    model = with_op(replace(plain, weights=weights), 0, projection="P", peepholes="holes")
    model = with_dead_units(model, "h0", [0, 3, 7])
    start = replace(model.state("h0"), initial=plain.state("h0").initial)  # not a unit's, here
    model = replace(model, states=tuple(start if s.name == "h0" else s for s in model.states))
    small = remove_units(model, criterion=all_but("h0", [0, 3, 7]), width=5, layers=["h0_next"])
    shapes = {name: small.weights[name].shape for name in ("W.0", "R.0", "P", "holes", "W.1")}
    assert shapes == {"W.0": (20, 3), "R.0": (20, 8), "P": (8, 5), "holes": (15,), "W.1": (24, 8)}
    assert_same(small, model, ragged(6, 9, (3,), seed=1))


def _cut_structure(seed: int) -> tuple[Model, Model, Sequences] | None:
    """A random model with dead units in every layer of one state, and without them; None if it is refused.

    What the dead units were worth goes into biases: behind a sigmoid, a 0 is 0.5.
    """
    rng = np.random.default_rng([seed, 11])
    functions = ("one", "shared_state", "own_state")[seed % 3]
    model = random_structure(rng, kinds=PLAIN, functions=functions, name=f"cut{seed}")
    data = random_data(rng, model)
    op = recurrent_ops(model)[int(rng.integers(len(recurrent_ops(model))))]
    units = op.h_next.size
    becomes = {update for f in model.functions for stage in f.stages for update in stage.updates}
    if units < 2 or any(state == op.h and value not in _results(model) for state, value in becomes):
        return None  # a state that something else sets has no dead units
    dead = sorted(int(u) for u in rng.permutation(units)[: units // 2])
    large = with_dead_units(model, op.h, dead)
    left = units - len(dead)
    try:
        small = remove_units(
            large, criterion=all_but(op.h, dead), width=left, layers=[op.h_next.name], data=data
        )
    except StepcellError:
        return None
    return small, large, data


def test_dead_units_leave_any_structure() -> None:
    """Bidirectional ones, several stages and functions that share a state, joins, heads at any step."""
    made = [found for seed in SEEDS if (found := _cut_structure(seed)) is not None]
    assert len(made) >= 12
    for small, large, data in made:
        assert sum(w.size for w in small.weights.values()) < sum(w.size for w in large.weights.values())
        assert_same(small, large, data)


def test_what_is_left_runs_in_c_as_the_integer_reference_says(tmp_path: Path) -> None:
    require_tool("gcc", "cffi")
    made = [found for seed in SEEDS if (found := _cut_structure(seed)) is not None][:8]
    rng, parts = np.random.default_rng(5), []
    for small, _, data in made:
        qmodel = quantize(small, data)
        whole = any(not function.is_step for function in qmodel.functions)
        plan = lower(qmodel, load_core("cortex-m4"), max_steps=6 if whole else None)
        bundle = load_bundle(emit(plan, tmp_path / qmodel.name, {}, {}))
        parts.append((qmodel, bundle, random_feeds(rng, qmodel)))
    library = build_host([bundle for _, bundle, _ in parts], tmp_path / "host", "gcc")
    for qmodel, bundle, feeds in parts:
        results = run_host(library, [Job((one,)) for one in lanes(bundle, feeds)])
        assert mismatches(bundle, results, run_functions(qmodel, feeds), feeds) == 0


def test_the_fold_says_with_the_kept_units_what_the_removed_ones_said() -> None:
    """A unit that is a copy of another leaves without a trace, though its readers had weights for it."""
    model = classifier("gru", inputs=3, hidden=6)
    weights = {n: model.weights[n].copy() for n in ("W.0", "R.0", "Wb.0", "Rb.0")}
    for gate in range(3):
        for w in weights.values():
            w[gate * 6 + 5] = w[gate * 6 + 2]
    state = model.state("h0")
    initial = state.initial.copy()
    initial[5] = initial[2]
    model = replace(model.with_weights(weights), states=(replace(state, initial=initial),))
    data = ragged(40, 12, (3,), seed=0)

    def last_unit(model: Model, data: Sequences | None) -> Scores:
        del data
        return {n: np.ones_like(model.weights[n]) * (np.arange(18) % 6 != 5)[:, None] for n in ("W.0",)}

    folded = remove_units(model, criterion=last_unit, width=5, data=data)
    plain = remove_units(model, criterion=last_unit, width=5)
    (expected,), (found,), (without,) = (outputs(m, data) for m in (model, folded, plain))
    assert np.abs(found - expected).max() < 1e-3 < np.abs(without - expected).max()


def test_the_fold_helps_where_units_are_not_dead() -> None:
    model, data = stack(("lstm", "gru"), 3, 16, 4, seed=3), ragged(60, 12, (3,), seed=0)
    error = {}
    for folded in (True, False):
        small = remove_units(model, 0.25, data=data if folded else None)
        error[folded] = float(np.abs(outputs(small, data)[0] - outputs(model, data)[0]).mean())
    assert error[True] < 0.6 * error[False]


def test_pruning_by_units_keeps_the_fraction_of_weights() -> None:
    model = stack(("lstm", "gru"), 3, 20, 4, seed=0)
    small = prune(model, 0.75, pattern="units")
    before, after = (sum(m.weights[n].size for n in prunable(m)) for m in (model, small))
    assert 0.70 <= 1 - after / before - 0.0 <= 0.85
    assert 1 - after / before >= 0.75
    assert not small.masks


def test_masks_shrink_with_their_matrices() -> None:
    model = prune(stack(("gru", "gru"), 3, 8, 4, seed=0), 0.5, pattern="4x1")
    small = remove_units(model, 0.5)
    for name, mask in small.masks.items():
        assert mask.keep.shape == small.weights[name].shape
        assert mask.block == Block(1, 1)


def test_units_that_a_normalization_mixes_are_refused_by_name() -> None:
    model = stack(("lstm",), 3, 8, 4, seed=0)
    assert model.main.finish is not None
    norm = Normalize("h0", Value("normal", (8,)), "gain", "shift", 1e-5)
    head = with_head(model, 0, x="normal").main.finish
    assert head is not None
    finish = replace(head, ops=(norm, *head.ops))
    weights = {**model.weights, "gain": np.ones(8), "shift": np.zeros(8)}
    model = replace(model, weights=weights, functions=(replace(model.main, finish=finish),))
    with pytest.raises(StepcellError, match="'h0_next', for Normalize 'normal' mixes it with others"):
        remove_units(model, 0.5)


def test_units_that_are_outputs_are_refused_by_name() -> None:
    model = random_structure(np.random.default_rng(0), structure="step", functions="one", kinds=PLAIN)
    refused = 0
    for op in recurrent_ops(model):
        try:
            remove_units(model, 0.5, layers=[op.h_next.name])
        except StepcellError as error:
            refused += "it is the output" in error.message
    assert refused == sum(op.h in model.main.outputs for op in recurrent_ops(model))


@pytest.mark.parametrize("fraction", [1.0, -0.5, float("nan")])
def test_a_fraction_that_is_none_is_refused(fraction: float) -> None:
    for call in (remove_units, lambda m, f: prune(m, f, pattern="units")):
        with pytest.raises(StepcellError, match="no removed fraction"):
            call(classifier(), fraction)


def test_a_layer_that_is_none_is_named_with_those_that_there_are() -> None:
    with pytest.raises(StepcellError, match=r"'h9' is no recurrent layer(.|\n)*h0_next, h1_next"):
        remove_units(stack(("gru", "gru"), 3, 8, 4, seed=0), 0.5, layers=["h9"])


@pytest.mark.parametrize("options", [{"scope": "rows"}, {"gates": {"z": 0.5}}, {"keep_diagonal": True}])
def test_options_of_masks_do_not_go_with_units(options: dict[str, object]) -> None:
    with pytest.raises(StepcellError, match=f"'{next(iter(options))}' does not go with the pattern 'units'"):
        prune(classifier(), 0.5, pattern="units", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("layer", [1, 2])
def test_a_removed_layer_hands_on_what_it_read(layer: int) -> None:
    model = stack(("lstm", "gru", "rnn-tanh"), 3, 8, 4, seed=0)
    small = remove_layer(model, f"h{layer}_next")
    assert [type(op).__name__ for op in recurrent_ops(small)] == [
        name for at, name in enumerate(("Lstm", "Gru", "Rnn")) if at != layer
    ]
    assert not any(name.endswith(f".{layer}") for name in small.weights)
    data = ragged(5, 7, (3,), seed=0)
    shorter = stack(("lstm", "gru" if layer == 2 else "rnn-tanh"), 3, 8, 4, seed=0)
    kept = 1 if layer == 2 else 2
    same = {f"{part}.1": model.weights[f"{part}.{kept}"] for part in ("W", "R", "Wb", "Rb")}
    expected = shorter.with_weights(
        {**{n: w for n, w in model.weights.items() if n in shorter.weights}, **same}
    )
    start = replace(expected.state("h1"), initial=model.state(f"h{kept}").initial)
    states = tuple(
        start if s.name == "h1" else replace(s, initial=model.state(s.name).initial) for s in expected.states
    )
    assert_same(small, replace(expected, states=states), data)


def test_a_removed_layer_leaves_a_model_that_compiles() -> None:
    model = remove_layer(stack(("gru", "gru"), 3, 8, 4, seed=0), "h1_next")
    data = random_sequences(np.random.default_rng(0), model)
    assert lower(quantize(model, data), load_core("cortex-m4")).calls


def test_a_layer_of_another_width_than_its_input_is_refused() -> None:
    with pytest.raises(StepcellError, match="makes 8 values out of 'x', which is not as wide"):
        remove_layer(stack(("gru", "gru"), 3, 8, 4, seed=0), "h0_next")
