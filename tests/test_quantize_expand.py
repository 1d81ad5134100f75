"""Taking recurrent operations apart: the same numbers in float, and integers as exact as the kernels'."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from random_cells import BOUNDED, KINDS, cell_model, random_cell
from random_models import random_model
from stepcell.compress.prune import prune
from stepcell.ir import Model
from stepcell.ir.graph import writes
from stepcell.ir.model import all_ops, recurrent_ops
from stepcell.ir.ops import (
    RELU,
    SIGMOID,
    TANH,
    Gate,
    Gru,
    Lstm,
    Rnn,
    Value,
)
from stepcell.ir.sequences import Sequences
from stepcell.quantize import expand as expansion
from stepcell.quantize import quantize
from stepcell.quantize.expand import expand, has_kernel
from stepcell.reference.float_model import run_float
from stepcell.reference.integer_model import run_integer

SEEDS = st.integers(0, 2**32 - 1)
PLAIN = ("lstm", "gru_after", "gru_before", "rnn_tanh")
Array = NDArray[Any]


@settings(max_examples=300)
@given(SEEDS, st.sampled_from(KINDS), st.sampled_from([(3,), (2, 2)]), st.booleans())
def test_an_expanded_cell_computes_the_same_in_float(
    seed: int, kind: str, shape: tuple[int, ...], pruned: bool
) -> None:
    rng = np.random.default_rng(seed)
    x = Value("x", shape)
    model = cell_model(random_cell(rng, kind, "x", x.size, int(rng.integers(1, 6))), x)
    model = prune(model, 0.5) if pruned else model
    expanded = expand(model).model
    frames, lengths = rng.normal(size=(3, 5, *shape)), np.array([5, 1, 3])
    wanted = run_float(model, frames, lengths).outputs(model.main)
    found = run_float(expanded, frames, lengths).outputs(model.main)
    for name, array in wanted.items():
        assert np.max(np.abs(array - found[name]) / np.maximum(1.0, np.abs(array))) < 1e-12
    assert all(has_kernel(op) for op in recurrent_ops(expanded))


@given(SEEDS)
def test_what_the_kernels_run_stays_as_it_is(seed: int) -> None:
    model = random_model(np.random.default_rng(seed), layers=("lstm", "gru_after", "gru_before", "rnn_relu"))
    found = expand(model)
    assert (all_ops(found.model), found.inner, found.loops) == (all_ops(model), frozenset(), ())


@settings(max_examples=100)
@given(SEEDS, st.sampled_from(KINDS))
def test_bounds_hold_for_any_input(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    found = expand(cell_model(random_cell(rng, kind, "x", 3, 4), Value("x", (3,))))
    names = tuple(value.name for op in all_ops(found.model) for value in writes(op))
    with np.errstate(all="ignore"):  # unbounded gates may diverge
        run = run_float(found.model, rng.normal(size=(4, 6, 3)) * 100, keep=names)
    for name in found.bounds.keys() & set(names):
        assert np.nanmax(np.abs(run.steps[name]), initial=0.0) <= found.bounds[name] + 1e-12


def fused_and_expanded(kind: str, monkeypatch: pytest.MonkeyPatch) -> list[Array]:
    """The integer error of h' at every step of 10 sequences, by the kernel's equations and taken apart."""
    rng = np.random.default_rng(3)
    model = random_model(
        rng, layers=(kind,), features=8, max_units=1, prelude="none", head="state", style="gaussian"
    )
    model = widened(model, 24)
    x = np.cumsum(rng.normal(size=(20, 40, 8)), axis=1) * 0.1 + rng.normal(size=(20, 40, 8)) * 0.7
    errors = []
    for keep in (True, False):
        if not keep:
            monkeypatch.setattr(expansion, "has_kernel", lambda _: False)
        qmodel = quantize(model, Sequences(x[:10], np.full(10, 40)), "int16")
        scale = qmodel.main.inputs[0].scale
        stored = np.clip(np.floor(x[10:] / scale + 0.5), -32767, 32767).astype(np.int64)
        (wanted,) = run_float(model, stored * scale).outputs(model.main).values()
        errors.append(run_integer(qmodel, stored).output * qmodel.main.outputs[0].value.scale - wanted)
    return errors


def widened(model: Model, units: int) -> Model:
    """The model's only layer with Gaussian weights for `units` units and 8 features."""
    rng = np.random.default_rng(4)
    (op,) = recurrent_ops(model)
    gates = model.weights[op.recurrent_weights].shape[0]
    new = {
        op.input_weights: rng.normal(size=(gates * units, 8)) * 0.5,
        op.recurrent_weights: rng.normal(size=(gates * units, units)) / np.sqrt(units),
        op.input_bias: rng.normal(size=gates * units) * 0.3,
        op.recurrent_bias: rng.normal(size=gates * units) * 0.3,
    }
    (stage,) = model.main.stages
    states = tuple(replace(state, initial=np.zeros(units)) for state in model.states)
    if isinstance(op, Lstm):
        op = replace(op, c_next=replace(op.c_next, shape=(units,)))
    op = replace(op, h_next=replace(op.h_next, shape=(units,)))
    stage = replace(stage, ops=(op,))
    return replace(
        model, functions=(replace(model.main, stages=(stage,)),), states=states, weights=new, masks={}
    )


@pytest.mark.parametrize("kind", PLAIN)
def test_an_expanded_cell_is_as_exact_as_the_kernel(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured: 0.94 to 1.00 of the kernel's error (its matrices read h as int16, not the int8 view)."""
    fused, apart = fused_and_expanded(kind, monkeypatch)
    assert np.sqrt(np.mean(apart**2)) < 1.1 * np.sqrt(np.mean(fused**2))
    assert np.abs(apart).max() < 1.25 * np.abs(fused).max()


@pytest.mark.parametrize("kind", KINDS)
def test_integers_of_bounded_cells_are_close_to_float(kind: str) -> None:
    """Largest over 40 draws a kind, relative to the largest h: 2.9e-3 rms, 0.02 at most."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        model = cell_model(random_cell(rng, kind, "x", 6, 16, gates=BOUNDED), Value("x", (6,)))
        x = rng.normal(size=(16, 30, 6))
        qmodel = quantize(model, Sequences(x[:8], np.full(8, 30)), "int16")
        value, output = qmodel.main.inputs[0], qmodel.main.outputs[0].value
        stored = np.clip(np.floor(x[8:] / value.scale + 0.5), -32767, 32767).astype(np.int64)
        floats = run_float(model, stored * value.scale).outputs(model.main)
        if any(np.abs(array).max() > 50.0 for array in floats.values()):
            continue  # a forget gate beyond 1 lets the cell diverge
        wanted = floats[model.main.outputs[0]]
        error = run_integer(qmodel, stored).outputs[output.name] * output.scale - wanted
        error /= max(1.0, np.abs(wanted).max())
        assert np.sqrt(np.mean(error**2)) < 5e-3
        assert np.abs(error).max() < 0.04


def layer(**changes: Any) -> Model:
    """An LSTM of 3 units over 2 features, small weights, with some of its fields changed."""
    rng = np.random.default_rng(0)
    parts = random_cell(rng, "lstm", "x", 2, 3, initial=False)
    assert isinstance(parts.op, Lstm)
    op = replace(parts.op, gates=(SIGMOID, TANH, TANH), clip=None, peepholes=None, projection=None)
    weights = {
        op.input_weights: np.full((12, 2), 0.1),
        op.recurrent_weights: np.full((12, 3), 0.1),
        op.input_bias: np.zeros(12),
        op.recurrent_bias: np.zeros(12),
    }
    op = replace(op, input_forget=False, h_next=Value(op.h_next.name, (3,)), **changes)
    states = [replace(state, initial=np.zeros(3)) for state in parts.states]
    return cell_model(replace(parts, op=op, states=states, weights=weights), Value("x", (2,)))


@pytest.mark.parametrize(("clip", "acts"), [(16.0, False), (50.0, False), (15.9, True), (3.0, True)])
def test_a_clip_beyond_the_range_of_preactivations_is_dropped(clip: float, acts: bool) -> None:
    """Q4.11 saturates at 16; sigmoid and tanh are then at their ends."""
    (op,) = recurrent_ops(expand(layer(clip=clip)).model) or (None,)
    assert (op is None) == acts


def test_a_clip_that_the_weights_never_reach_is_dropped() -> None:
    """A second layer reads h within 1: |p| <= 3 * 0.1 + 3 * 0.1."""
    first, second = layer(), layer(clip=0.61)
    assert len(recurrent_ops(expand(stacked(first, second)).model)) == 2
    assert len(recurrent_ops(expand(stacked(first, layer(clip=0.59))).model)) == 1


def stacked(first: Model, second: Model) -> Model:
    """The second layer on the first one's h."""
    (below,), (above,) = recurrent_ops(first), recurrent_ops(second)
    assert isinstance(above, Lstm)
    op = replace(
        above,
        x=below.h_next.name,
        h="top_h",
        c="top_c",
        h_next=Value("top_h_next", (3,)),
        c_next=Value("top_c_next", (3,)),
        input_weights="top_w",
    )
    states = (*first.states, *(replace(s, name=f"top_{s.name[-1]}") for s in first.states))
    (stage,) = first.main.stages
    updates = (*stage.updates, ("top_h", "top_h_next"), ("top_c", "top_c_next"))
    stage = replace(stage, ops=(*stage.ops, op), updates=updates, outputs=("top_h_next",))
    function = replace(first.main, stages=(stage,), outputs=("top_h_next",))
    weights = {**first.weights, "top_w": np.full((12, 3), 0.1)}
    return replace(first, functions=(function,), states=states, weights=weights)


@pytest.mark.parametrize(
    ("op", "runs"),
    [
        (Lstm("x", "h", "c", Value("y", (1,)), Value("d", (1,)), "w", "r", "b", "s"), True),
        (Lstm("x", "h", "c", Value("y", (1,)), Value("d", (1,)), "w", "r", "b", "s", clip=1.0), False),
        (Lstm("x", "h", "c", Value("y", (1,)), Value("d", (1,)), "w", "r", "b", "s", projection="p"), False),
        (Gru("x", "h", Value("y", (1,)), "w", "r", "b", "s", False), True),
        (Gru("x", "h", Value("y", (1,)), "w", "r", "b", "s", True, gates=(SIGMOID, RELU)), False),
        (Rnn("x", "h", Value("y", (1,)), "w", "r", "b", "s", gate=RELU), True),
        (Rnn("x", "h", Value("y", (1,)), "w", "r", "b", "s", gate=Gate("Softsign")), False),
    ],
)
def test_which_operations_the_kernels_run(op: Lstm | Gru | Rnn, runs: bool) -> None:
    assert has_kernel(op) == runs
