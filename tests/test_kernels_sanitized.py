"""The portable C of every kernel of every core under sanitizers: as a bundle runs elsewhere."""

from pathlib import Path

import numpy as np
import pytest

from random_bundles import Case, compile_case, preferring, run_cases
from random_models import random_qmodel
from stepcell.build import build_host
from stepcell.lower.kernels import Kernel, kernels_of
from stepcell.quantize.context import Activations, Weights
from stepcell.run import run_host
from stepcell.target import Core, load_core
from tools import require_tool

CORES = ("cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m55", "rv32imc", "aarch64")


def forced(folder: Path, core: Core, kernel: Kernel, seed: int) -> Case:
    """A random model with one kernel wherever it may be."""
    rng = np.random.default_rng(seed)
    weights: Weights = "int4" if kernel.weight_limit == 7 else "int8"
    activations: Activations = "int8" if kernel.input_bits == 8 else "int16"
    name = f"{kernel.name}_{activations}_{seed}"
    qmodel, _ = random_qmodel(rng, activations, weights, name=name, max_units=40, style="sparse")
    return compile_case(folder, qmodel, rng, preferring(core, kernel), optimize="speed")


@pytest.mark.parametrize("name", CORES)
def test_portable_c_of_a_core_equals_the_reference_under_sanitizers(tmp_path: Path, name: str) -> None:
    require_tool("gcc")
    core = load_core(name)
    cases = [forced(tmp_path, core, kernel, seed) for kernel in kernels_of(core) for seed in (7000, 7001)]
    used = {function for case in cases for function in case.functions}
    assert {kernel.name for kernel in kernels_of(core)} <= used
    program = build_host([case.bundle for case in cases], tmp_path / "host", "gcc", sanitize=True)
    assert run_cases(cases, lambda jobs: run_host(program, jobs)) == {}
