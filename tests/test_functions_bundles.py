"""Functions, norms, reductions and look-ups: reference = ONNX Runtime = plain Python = host C."""

from pathlib import Path

import numpy as np
import pytest

import scalar_contract
from random_bundles import Case, compile_case, run_cases, run_selftests
from random_functions import KINDS
from random_models import random_frames, random_qmodel
from stepcell.build import build_host
from stepcell.exporters.integer_onnx import export_integer
from stepcell.ir.qmodel import QModel
from stepcell.reference.integer_model import run_integer
from stepcell.reference.integer_session import run_integer_in_onnx_runtime
from stepcell.run import run_host
from tools import require_tool

SEEDS = 6


def drawn(kind: str, seed: int, name: str = "model") -> tuple[np.random.Generator, QModel]:
    rng = np.random.default_rng([KINDS.index(kind), seed])
    qmodel, _ = random_qmodel(rng, ("int8", "int16")[seed % 2], prelude=kind, max_units=20, name=name)
    return rng, qmodel


@pytest.mark.parametrize("kind", KINDS)
def test_models_equal_the_reference_in_onnx_runtime(kind: str) -> None:
    for seed in range(SEEDS):
        rng, qmodel = drawn(kind, seed)
        x = random_frames(rng, qmodel)
        run = run_integer(qmodel, x)
        outputs, states = run_integer_in_onnx_runtime(export_integer(qmodel), x, np.full(len(x), x.shape[1]))
        assert [np.array_equal(y, run.output) for y in outputs.values()] == [True]
        assert all(np.array_equal(states[name], run.states[name]) for name in run.states)


@pytest.mark.parametrize("kind", KINDS)
def test_models_equal_plain_python_within_32_bits(kind: str) -> None:
    for seed in range(SEEDS):
        rng, qmodel = drawn(kind, seed)
        x = random_frames(rng, qmodel, count=2, steps=3)
        run = run_integer(qmodel, x)
        for i, sequence in enumerate(x):
            frames = [[int(v) for v in frame.flat] for frame in sequence]
            for t, (_, output) in enumerate(scalar_contract.run(qmodel, frames)):
                assert output == run.output[i, t].ravel().tolist()


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_host_c_equals_the_reference(tmp_path: Path, compiler: str) -> None:
    require_tool(compiler, "cffi")
    cases: list[Case] = []
    for kind in KINDS:
        for seed in range(SEEDS):
            rng, qmodel = drawn(kind, seed, f"{kind}{seed}")
            cases.append(compile_case(tmp_path, qmodel, rng))
    assert {"sc_abs", "sc_relu"} <= {name for case in cases for name in case.functions}
    library = build_host([case.bundle for case in cases], tmp_path / "host", compiler)
    assert run_cases(cases, lambda jobs: run_host(library, jobs)) == {}
    assert run_selftests([case.bundle for case in cases], lambda jobs: run_host(library, jobs)) == {}
