"""--activations int16-states: matrices that read all of an int16 state compute the same everywhere."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from random_bundles import M4, Case, compile_case, run_cases
from random_models import random_frames, random_qmodel
from stepcell.build import build_firmware, build_host
from stepcell.exporters.integer_onnx import export_integer
from stepcell.ir.qmodel import QGru, QLstm, QRnn
from stepcell.reference.integer_model import run_integer
from stepcell.reference.integer_session import run_integer_in_onnx_runtime
from stepcell.run import Job, JobResult, run_host, run_unicorn
from stepcell.target import load_board
from tools import require_tool

MODELS = 24


def drawn(folder: Path) -> list[Case]:
    cases = []
    for seed in range(MODELS):
        rng = np.random.default_rng([seed, 16])
        qmodel, _ = random_qmodel(
            rng, "int16-states", "int4" if seed % 5 == 0 else "int8", name=f"wide{seed}"
        )
        layers = [op for op in qmodel.all_ops if isinstance(op, (QLstm, QGru, QRnn))]
        assert not any(op.recurrent.reads_view for op in layers)
        cases.append(compile_case(folder, qmodel, rng, M4))
    return cases


def test_host_and_chip_equal_the_reference(tmp_path: Path) -> None:
    require_tool("zig", "cffi", "unicorn")
    cases = drawn(tmp_path)
    bundles = [case.bundle for case in cases]
    library = build_host(bundles, tmp_path / "host")
    board = load_board("mps2-an386")
    firmware = build_firmware(bundles, board, tmp_path / "chip")

    def on_host(jobs: Sequence[Job]) -> list[JobResult]:
        return run_host(library, jobs)

    def on_chip(jobs: Sequence[Job]) -> list[JobResult]:
        return run_unicorn(firmware, M4, jobs)

    assert run_cases(cases, on_host) == {}
    assert run_cases(cases, on_chip) == {}


@pytest.mark.parametrize("seed", range(4))
def test_onnx_runtime_equals_the_reference(seed: int) -> None:
    rng = np.random.default_rng([seed, 17])
    qmodel, _ = random_qmodel(rng, "int16-states")
    x = random_frames(rng, qmodel)
    outputs, states = run_integer_in_onnx_runtime(export_integer(qmodel), x)
    run = run_integer(qmodel, x)
    for name, array in run.outputs.items():
        assert np.array_equal(outputs[name], array)
    for name, array in run.states.items():
        assert np.array_equal(states[name], array)
