"""What a header promises of a step: its stack is a bound, its instructions are close to the exact count."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from random_bundles import M4, Case, make_case
from runtime_functions import runtime_functions
from stepcell.build import build_firmware
from stepcell.ir.memory import most_steps
from stepcell.ir.qmodel import QGru, QLstm, QRnn
from stepcell.lower.estimate import estimate
from stepcell.lower.plan import Estimate
from stepcell.run import Job, Kind, lane, profile_step, run_unicorn, worst_stack
from stepcell.target import load_board, load_core
from tools import require_tool

BOARD = load_board("mps2-an386")
LONG = ("any_lstm", "any_gru", "lstm", "any_rnn", "any_lstm")
"""Layers of a step of a hundred calls, which keeps addresses between them."""


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Other models than those that the costs were measured on."""
    make = partial(make_case, tmp_path_factory.mktemp("bundles"), max_units=64, attention=None)
    return [make(seed) for seed in range(5000, 5080)]


def promised(case: Case) -> Estimate:
    assert case.plan.main.estimate is not None
    return case.plan.main.estimate


@pytest.mark.parametrize("compiler", ["arm-gcc", "zig"])
@pytest.mark.parametrize("board", ["mps2-an386", "emulated-cortex-m0plus"])
def test_no_step_uses_more_stack_than_its_header_says(tmp_path: Path, compiler: str, board: str) -> None:
    require_tool(compiler, "unicorn", "elftools")
    target = load_board(board)
    core = load_core(target.core)
    some = [make_case(tmp_path, seed, core, max_units=48) for seed in range(5000, 5032)]
    some += [make_case(tmp_path, seed, core, max_units=12, layers=LONG) for seed in range(5100, 5104)]
    elf = build_firmware([case.bundle for case in some], target, tmp_path / "image", compiler)
    jobs = [Job((lane(case.bundle, case.x[0]),), Kind.STACK) for case in some]
    used = [worst_stack([result]) for result in run_unicorn(elf, core, jobs)]
    bounds = [promised(case).stack_bytes for case in some]
    over = {c.bundle.name: (u, b) for c, u, b in zip(some, used, bounds, strict=True) if u > b}
    assert over == {}
    print(f"{compiler}, {board}: the least reserve is {min(np.subtract(bounds, used))} bytes")
    print(f"the bound is {np.mean(np.divide(bounds, used)):.3f} times what is used, on average")
    assert np.mean(np.divide(bounds, used)) < 1.2  # a bound, but no idle one


def test_the_estimate_is_within_5_percent_of_the_exact_count(tmp_path: Path, cases: list[Case]) -> None:
    require_tool("arm-gcc", "unicorn", "elftools", "capstone")
    large = [case for case in cases if all(op.h_next.size >= 16 for op in recurrent(case))]
    assert len(large) >= 8
    elf = build_firmware([case.bundle for case in large], BOARD, tmp_path, "arm-gcc")
    exact = [profile_step(elf, case.bundle, BOARD, steps=rows(case)).instructions for case in large]
    errors = {c.bundle.name: promised(c).instructions / e - 1 for c, e in zip(large, exact, strict=True)}
    print(f"{len(errors)} models, error at most {max(map(abs, errors.values())):.2%}")
    assert max(map(abs, errors.values())) < 0.05, errors


def rows(case: Case) -> int:
    """The steps after which a memory is full; estimates are of a full one."""
    return most_steps(case.qmodel.all_ops) or 1


def recurrent(case: Case) -> list[QLstm | QGru | QRnn]:
    return [op for op in case.qmodel.all_ops if isinstance(op, QLstm | QGru | QRnn)]


def test_a_core_that_was_not_measured_has_no_estimate(cases: list[Case]) -> None:
    assert estimate(load_core("host"), cases[0].plan.main) is None


def test_a_function_that_was_not_measured_leaves_no_estimate(cases: list[Case]) -> None:
    costs = {name: cost for name, cost in M4.costs.items() if name != "sc_dense"}
    assert estimate(replace(M4, costs=costs), cases[0].plan.main) is None
    assert any(call.function == "sc_dense" for call in cases[0].plan.calls)


def test_every_function_of_the_runtime_was_measured_on_a_cortex_m4() -> None:
    """Else steps that call it have no estimate: scripts/measure_costs.py, with a model that calls it."""
    assert sorted(runtime_functions(M4) - set(M4.costs)) == []
