"""What the generated C looks like, for a reader: the golden files are meant to be read."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from random_bundles import M4, Case, compile_case, sized_model
from sized_structures import both_directions, shared_state
from stepcell import __version__
from stepcell.emit import emit
from stepcell.lower import lower

# A table of its own: measuring a core again must not change the golden files.
CORE = replace(
    M4,
    costs={
        "glue": {"call": 5.0, "address": 4, "stack": 32.0},
        **{f"sc_{name}": {} for name in ("copy", "view_s8", "gru", "lstm", "dense", "sigmoid")},
        **{f"sc_matvec_{k}_s{b}": {"group": 60.0, "item": 12.0} for k in ("dense", "4x1") for b in (8, 16)},
    },
)


@pytest.fixture(scope="module")
def gru(tmp_path_factory: pytest.TempPathFactory) -> Case:
    model = sized_model("tiny_gru", ("gru_after",), 3, 5, 2, "last")
    return compile_case(tmp_path_factory.mktemp("bundles"), model, np.random.default_rng(0), CORE)


@pytest.fixture(scope="module")
def lstm(tmp_path_factory: pytest.TempPathFactory) -> Case:
    model = sized_model("tiny_lstm", ("lstm", "lstm"), 3, 6, 4, "every_step_sigmoid")
    return compile_case(tmp_path_factory.mktemp("bundles"), model, np.random.default_rng(0), CORE)


@pytest.mark.parametrize("suffix", [".c", ".h", "_float.c"])
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_generated_c_reads_as_it_did(
    request: pytest.FixtureRequest, golden: Callable[..., None], kind: str, suffix: str
) -> None:
    case: Case = request.getfixturevalue(kind)
    path: Path = case.bundle.folder / f"{case.bundle.name}{suffix}"
    golden(path.read_text().replace(__version__, "VERSION"), path.name)


@pytest.mark.parametrize("file", ["tiny_both.c", "tiny_both.h", "tiny_pair.h", "tiny_pair_selftest.c"])
def test_runs_and_functions_read_as_they_did(tmp_path: Path, golden: Callable[..., None], file: str) -> None:
    both, pair = both_directions("tiny_both"), shared_state("tiny_pair")
    plan = lower(both, CORE, max_steps=20) if "both" in file else lower(pair, CORE)
    folder = emit(plan, tmp_path / "out", {}, {})
    golden((folder / file).read_text().replace(__version__, "VERSION"), file)
