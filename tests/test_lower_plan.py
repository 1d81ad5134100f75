"""Plans: the layout of the state, and states that are read after they were overwritten."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator

from random_bundles import M4, Case, compile_case, make_case, run_cases
from random_models import random_qmodel
from stepcell.build import build_host
from stepcell.ir.qmodel import QLstm, QMax, QModel, QOutput, QRescale, QState, QValue
from stepcell.lower import lower
from stepcell.run import run_host
from tools import require_tool


def drawn(seed: int, layer: str, units: int = 9) -> tuple[Generator, QModel]:
    """A model of one layer whose output is its new state."""
    rng = np.random.default_rng(seed)
    options: dict[str, Any] = {
        "layers": (layer,),
        "head": "state",
        "prelude": "none",
        "softmax": False,
        "max_units": units,
    }
    qmodel, _ = random_qmodel(rng, "int8", name=f"m{seed}", **options)
    return rng, qmodel


def updates(qmodel: QModel) -> tuple[tuple[str, str], ...]:
    return qmodel.main.stages[0].updates


def with_stage(qmodel: QModel, **changes: Any) -> QModel:
    """The model with something in its only stage replaced; its outputs are the function's."""
    stage = replace(qmodel.main.stages[0], **changes)
    outputs = tuple(QOutput(value, False) for value in stage.outputs)
    return replace(qmodel, functions=(replace(qmodel.main, stages=(stage,), outputs=outputs),))


def assert_c_equals_reference(folder: Path, case: Case) -> None:
    require_tool("gcc", "cffi")
    library = build_host([case.bundle], folder / "host", "gcc")
    assert run_cases([case], lambda jobs: run_host(library, jobs)) == {}


@pytest.mark.parametrize("layer", ["lstm", "gru_after", "gru_before", "rnn_tanh", "rnn_relu"])
def test_a_state_read_after_its_update_is_what_it_was_before(tmp_path: Path, layer: str) -> None:
    rng, qmodel = drawn(3000, layer)
    h = qmodel.states[0].value
    late = QRescale(h.name, QValue("late", h.shape, 16, h.scale), 1 << 14, 14)
    changed = with_stage(qmodel, ops=(*qmodel.all_ops, late), outputs=(late.y,))
    case = compile_case(tmp_path, changed, rng)
    assert [call.function for call in case.plan.main.step.calls].index("sc_rescale") > 2
    assert any(f"{h.name}_before" in buffer.holds for buffer in case.plan.main.step.buffers)
    assert_c_equals_reference(tmp_path, case)


@pytest.mark.parametrize("layer", ["lstm", "gru_after", "rnn_tanh"])
def test_a_state_may_become_what_another_was(tmp_path: Path, layer: str) -> None:
    rng, qmodel = drawn(3001, layer)
    h = qmodel.states[0]
    older = [replace(h, value=replace(h.value, name=f"older{i}")) for i in range(2)]
    delayed = (("older1", "older0"), ("older0", h.value.name))
    changed = with_stage(qmodel, updates=(*delayed, *updates(qmodel)))
    changed = replace(changed, states=(*qmodel.states, *older))
    assert_c_equals_reference(tmp_path, compile_case(tmp_path, changed, rng))


def test_states_may_change_places(tmp_path: Path) -> None:
    rng, qmodel = drawn(3002, "gru_before")
    a, b, c = (
        QState(QValue(name, (5,), 16, 1.0), rng.integers(-32768, 32768, (5,))) for name in ("a", "b", "c")
    )
    around = (("a", "b"), ("b", "c"), ("c", "a"))
    changed = with_stage(qmodel, updates=(*updates(qmodel), *around))
    changed = replace(changed, states=(*qmodel.states, a, b, c))
    assert_c_equals_reference(tmp_path, compile_case(tmp_path, changed, rng))


def test_two_states_may_become_the_same_maximum(tmp_path: Path) -> None:
    rng, qmodel = drawn(3003, "rnn_tanh")
    a, b = (QState(QValue(name, (5,), 16, 1.0), rng.integers(-32768, 32768, (5,))) for name in ("a", "b"))
    greater = QMax("a", "b", QValue("greater", (5,), 16, 1.0))
    both = (*updates(qmodel), ("a", "greater"), ("b", "greater"))
    changed = with_stage(qmodel, ops=(*qmodel.all_ops, greater), updates=both)
    changed = replace(changed, states=(*qmodel.states, a, b))
    assert_c_equals_reference(tmp_path, compile_case(tmp_path, changed, rng))


def test_states_lie_widest_first_without_a_hole(tmp_path: Path) -> None:
    for seed in range(3100, 3110):
        case = make_case(tmp_path, seed, head="mean_max", max_units=9)
        fields = case.plan.state
        widths = [field.bytes // field.count for field in fields]
        assert widths == sorted(widths, reverse=True)
        assert {4, 2} <= set(widths)
        assert [field.offset for field in fields] == [0, *np.cumsum([f.bytes for f in fields])[:-1]]
        assert case.plan.state_bytes in (end := sum(field.bytes for field in fields), end + 2)
        assert case.plan.state_bytes % 4 == 0


def test_accumulators_start_with_the_bias_and_the_half_of_their_shift() -> None:
    _, qmodel = drawn(3004, "lstm")
    (op,) = qmodel.all_ops
    assert isinstance(op, QLstm)
    plan = lower(qmodel, replace(M4, kernels=("portable",)))
    start = next(table.values for table in plan.tables if table.name == "lstm1_input_start")
    half = (1 << op.requant.input_pre_shift) >> 1
    assert start.reshape(-1, 4).tolist() == (op.bias.reshape(4, -1).T + half).tolist()
    recurrent = next(table.values for table in plan.tables if table.name == "lstm1_recurrent_start")
    assert recurrent.tolist() == [(1 << op.requant.recurrent_pre_shift) >> 1] * 4


def test_the_plan_says_why_each_format_was_chosen() -> None:
    _, qmodel = drawn(3005, "gru_after")
    choices = lower(qmodel, M4).choices
    assert {"gru1.input", "gru1.recurrent"} <= set(choices)
    assert "instructions" in choices["gru1.input"]
