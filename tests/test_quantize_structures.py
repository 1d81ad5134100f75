"""Formats of what stages and functions share."""

from dataclasses import replace

import numpy as np
import pytest

from random_models import random_model, random_sequences
from random_structures import random_data, random_quantized, random_structure
from stepcell.ir import Function, Model, Stage, State, verify
from stepcell.ir.ops import Activate, Binary, Constant, Dense, Lstm, Value
from stepcell.ir.qmodel import QLstm
from stepcell.ir.sequences import Sequences
from stepcell.quantize import quantize
from stepcell.reference.float_model import run_float
from stepcell.reference.integer_data import quantize_sequences, real_outputs
from stepcell.reference.integer_model import run_functions, run_integer

Q15 = 2.0**-15


def test_a_value_has_one_format_in_every_stage_that_reads_it() -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        _, qmodel, _ = random_quantized(rng, structure="bidirectional_finish", functions="shared_state")
        for function in qmodel.functions:
            known = {value.name: value for value in function.inputs}
            for stage in function.stages:
                assert all(known[value.name] == value for value in stage.inputs)
                known |= {value.name: value for value in stage.outputs}


def test_every_input_has_a_scale_of_its_own() -> None:
    rng = np.random.default_rng(2)
    model = random_structure(rng, structure="step", inputs="two", functions="one", frames=1)
    data = random_data(rng, model)
    (second,) = data.more
    data = replace(data, more={second: data.more[second] * 100})
    first, other = quantize(model, data).main.inputs
    assert first.scale == pytest.approx(np.abs(data.x).max() / (127 if first.bits == 8 else 32767))
    assert other.scale == pytest.approx(np.abs(data.more[second]).max() / (127 if other.bits == 8 else 32767))


def test_tokens_are_int16_without_a_scale() -> None:
    _, qmodel, data = random_quantized(np.random.default_rng(0), inputs="token", functions="one", frames=1)
    (token,) = qmodel.main.inputs
    assert (token.dtype, token.bits, token.scale) == ("token", 16, 1.0)
    np.testing.assert_array_equal(quantize_sequences(qmodel, data)["main"].inputs[token.name], data.x)


@pytest.mark.parametrize(
    ("layer", "bound"), [("lstm", 0.03), ("rnn_tanh", 0.03), ("gru_after", 0.03), ("gru_before", 0.03)]
)
def test_a_hidden_state_that_starts_beyond_one_has_room_for_it(layer: str, bound: float) -> None:
    rng = np.random.default_rng(5)
    model = random_model(
        rng, layers=(layer,), max_units=10, prelude="none", head="state", style="gaussian", softmax=False
    )
    model = _starting_at(model, 2.5)
    data = random_sequences(rng, model)
    qmodel = quantize(model, data, "int16")
    hidden = next(state for state in qmodel.states if state.value.name.startswith("h"))
    assert hidden.value.scale == 2.0**-13
    feeds = quantize_sequences(qmodel, data)
    found = real_outputs(qmodel.main, run_functions(qmodel, feeds)["main"].outputs, data.lengths)
    wanted = run_float(model, data.x, data.lengths).outputs(model.main)
    valid = np.arange(data.x.shape[1]) < data.lengths[:, None]
    for real, exact in zip(found.values(), wanted.values(), strict=True):
        assert np.abs(real - exact)[valid].max() < bound


def _starting_at(model: Model, start: float) -> Model:
    states = (replace(s, initial=np.linspace(-start, start, s.initial.size)) for s in model.states)
    return replace(model, states=tuple(states))


def test_hidden_states_within_one_are_q15_whoever_sets_them() -> None:
    for seed in range(8):
        _, qmodel, _ = random_quantized(np.random.default_rng(seed), functions="shared_state")
        hidden = {op.h for op in qmodel.all_ops if isinstance(op, QLstm)}
        assert all(s.value.scale == Q15 for s in qmodel.states if s.value.name in hidden)


def carrying() -> Model:
    """`start` sets an LSTM's state from a vector without a tanh, `main` runs on from there."""
    rng = np.random.default_rng(1)
    code, x = Value("code", (4,)), Value("x", (3,))
    first = Stage("start", (code,), (Dense("code", Value("set", (5,)), "s", "sb"),), (("h", "set"),))
    cell = Lstm("x", "h", "c", Value("h_next", (5,)), Value("c_next", (5,)), "w", "r", "b", "b")
    second = Stage("main", (x,), (cell,), (("h", "h_next"), ("c", "c_next")), ("h_next",))
    weights = {
        "s": rng.normal(size=(5, 4)),
        "sb": np.zeros(5),
        "w": rng.normal(size=(20, 3)),
        "r": rng.normal(size=(20, 5)) / 2,
        "b": np.zeros(20),
    }
    functions = (
        Function("start", (code,), (first,), None, ()),
        Function("main", (x,), (second,), None, ("h_next",)),
    )
    return verify(Model("carrying", functions, (State("h", np.zeros(5)), State("c", np.zeros(5))), weights))


def _carrying_data() -> Sequences:
    rng = np.random.default_rng(2)
    then = {"main": Sequences(rng.normal(size=(6, 9, 3)), np.array([9, 3, 9, 1, 5, 9]))}
    return Sequences(rng.normal(size=(6, 1, 4)), np.ones(6, np.int64), then=then)


def test_a_function_that_sets_a_state_gives_it_the_room_that_it_needs() -> None:
    model, data = carrying(), _carrying_data()
    qmodel = quantize(model, data, "int16")
    state = next(state.value for state in qmodel.states if state.value.name == "h")
    code = data.x[:, 0] @ model.weights["s"].T
    assert np.abs(code).max() > 1
    assert state.scale * 32768 >= np.abs(code).max() > state.scale * 16384
    feeds = quantize_sequences(qmodel, data)
    runs = run_functions(qmodel, feeds)
    assert np.abs(runs["start"].ends()["h"] * state.scale - code).max() < 0.01
    later = data.then["main"]
    wanted = run_float(model, later.x, later.lengths, function="main", initial={"h": code}).steps["h_next"]
    valid = np.arange(9) < later.lengths[:, None]
    found = runs["main"].output * qmodel.function("main").outputs[0].value.scale
    assert np.abs(found - wanted)[valid].max() < 0.03


def test_a_function_continues_where_it_is_told_to() -> None:
    qmodel = quantize(carrying(), _carrying_data())
    feeds = quantize_sequences(qmodel, _carrying_data())
    both = run_functions(qmodel, feeds)
    feed = feeds["main"]
    alone = run_integer(qmodel, feed.inputs, feed.lengths, both["start"].ends(), "main")
    np.testing.assert_array_equal(alone.output, both["main"].output)
    fresh = run_integer(qmodel, feed.inputs, feed.lengths, function="main")
    assert not np.array_equal(fresh.output, both["main"].output)


def test_logits_and_their_softmax_can_both_be_outputs() -> None:
    x = Value("x", (3,))
    ops = (
        Dense("x", Value("logits", (4,)), "w", "b"),
        Activate("logits", Value("shares", (4,)), "softmax"),
    )
    stage = Stage("main", (x,), ops, (), ("logits", "shares"))
    function = Function("main", (x,), (stage,), None, ("shares", "logits"))
    rng = np.random.default_rng(0)
    model = verify(Model("both", (function,), (), {"w": rng.normal(size=(4, 3)), "b": np.zeros(4)}))
    data = Sequences(rng.normal(size=(4, 5, 3)), np.full(4, 5))
    qmodel = quantize(model, data, "int16")
    assert [(o.value.name, o.left_to_caller) for o in qmodel.main.outputs] == [
        ("shares", None),
        ("logits", None),
    ]
    feeds = quantize_sequences(qmodel, data)
    found = real_outputs(qmodel.main, run_functions(qmodel, feeds)["main"].outputs, data.lengths)
    wanted = run_float(model, data.x).outputs(model.main)
    assert all(np.abs(found[name] - wanted[name]).max() < 0.02 for name in wanted)


def test_an_initial_state_outweighs_what_calibration_saw() -> None:
    """s' = s * 0.5: a state that starts at 4 and fades needs the scale of its start."""
    x, half = Value("x", (2,)), Value("half", (2,))
    ops = (
        Constant(half, "factor"),
        Binary("s", "half", Value("s_next", (2,)), "mul"),
        Binary("s_next", "x", Value("y", (2,)), "add"),
    )
    stage = Stage("main", (x,), ops, (("s", "s_next"),), ("y",))
    function = Function("main", (x,), (stage,), None, ("y",))
    model = verify(Model("fading", (function,), (State("s", np.full(2, 4.0)),), {"factor": np.full(2, 0.5)}))
    data = Sequences(np.random.default_rng(0).normal(size=(3, 5, 2)), np.full(3, 5))
    (state,) = quantize(model, data).states
    assert state.value.scale * 32767 == pytest.approx(4.0)
    assert state.initial.tolist() == [32767, 32767]


def test_an_average_that_forgets_is_no_unbounded_sum() -> None:
    """s' = s + 0.1 * (x - s)."""
    x, rate = Value("x", (2,)), Value("rate", (2,))
    ops = (
        Constant(rate, "factor"),
        Binary("x", "s", Value("away", (2,)), "sub"),
        Binary("away", "rate", Value("change", (2,)), "mul"),
        Binary("s", "change", Value("s_next", (2,)), "add"),
    )
    stage = Stage("main", (x,), ops, (("s", "s_next"),), ("s_next",))
    function = Function("main", (x,), (stage,), None, ("s_next",))
    model = verify(Model("average", (function,), (State("s", np.zeros(2)),), {"factor": np.full(2, 0.1)}))
    data = Sequences(np.random.default_rng(0).normal(size=(5, 40, 2)), np.full(5, 40))
    qmodel = quantize(model, data)
    feeds = quantize_sequences(qmodel, data)
    found = real_outputs(qmodel.main, run_functions(qmodel, feeds)["main"].outputs, data.lengths)
    wanted = run_float(model, data.x).outputs(model.main)
    assert np.abs(found["s_next"] - wanted["s_next"]).max() < 1e-3
