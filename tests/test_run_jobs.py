"""Jobs, their checks and their bytes, on the host."""

import struct
from pathlib import Path

import numpy as np
import pytest

from bundles import changed_bundle, fixture_bundle
from stepcell.build import build_host
from stepcell.errors import StepcellError
from stepcell.run import Job, Kind, lane, run_host, split_state
from stepcell.run.faults import HarnessError
from stepcell.run.wire import pack_jobs, unpack_results
from tools import require_tool

COUNTER = fixture_bundle("counter")
MIXER = fixture_bundle("mixer")
X = np.array([[1, 2, 3], [-128, 127, 0], [5, 5, 5]])


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_tool("gcc", "cffi")
    return build_host([COUNTER, MIXER], tmp_path_factory.mktemp("host"), "gcc")


def test_run_host_gives_states_and_outputs_after_every_step(library: Path) -> None:
    ((result,),) = run_host(library, [Job((lane(COUNTER, X),))])
    totals = np.cumsum(X @ np.array([[1, -4], [2, 5], [3, -6]]), axis=0) + np.array([0, 100])
    state = split_state(COUNTER, result.states)
    np.testing.assert_array_equal(state["total"], totals)
    np.testing.assert_array_equal(state["steps"][:, 0], [1, 2, 3])
    np.testing.assert_array_equal(result.outputs["y"], totals)
    assert result.outputs["y"].dtype == np.int16


def test_run_host_feeds_several_inputs_and_outputs(library: Path) -> None:
    ((result,),) = run_host(library, [Job((lane(MIXER, [[2], [-1]], [[10, 20], [1, -5]]),))])
    np.testing.assert_array_equal(result.outputs["mean"], [[15], [-26]])
    np.testing.assert_array_equal(result.outputs["sign"], [[1], [-1]])


def test_lanes_do_not_disturb_each_other(library: Path) -> None:
    lanes = (lane(COUNTER, X), lane(MIXER, [[2], [3], [4]], X[:, :2]), lane(COUNTER, -X // 2))
    (together,) = run_host(library, [Job(lanes)])
    alone = [result for (result,) in run_host(library, [Job((one,)) for one in lanes])]
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a.states, b.states)


def test_selftest_job_returns_the_models_code(library: Path) -> None:
    ((counter, mixer),) = run_host(
        library, [Job((lane(COUNTER, X), lane(MIXER, [[1]] * 3, X[:, :2])), Kind.SELFTEST)]
    )
    assert (counter.selftest, mixer.selftest) == (0, 0)


def test_no_jobs_and_no_steps_are_fine(library: Path) -> None:
    assert run_host(library, []) == []
    ((result,),) = run_host(library, [Job((lane(COUNTER, np.zeros((0, 3), int)),))])
    assert result.states.shape == (0, 12)


def test_stack_is_unknown_on_the_host(library: Path) -> None:
    with pytest.raises(HarnessError, match="stack"):
        run_host(library, [Job((lane(COUNTER, X),), Kind.STACK)])


def test_a_model_that_is_not_in_the_image_is_refused(tmp_path: Path) -> None:
    require_tool("gcc", "cffi")
    alone = build_host([COUNTER], tmp_path, "gcc")
    with pytest.raises(HarnessError, match="not in the image"):
        run_host(alone, [Job((lane(MIXER, [[1]], [[1, 1]]),))])


def test_a_write_past_the_outputs_is_found(tmp_path: Path) -> None:
    require_tool("gcc", "cffi")
    bad = changed_bundle(
        tmp_path,
        "counter",
        "counter.c",
        "    s->steps = (",
        "    volatile int past = COUNTER_Y;\n    y[past] = 1;\n    s->steps = (",
    )
    built = build_host([bad], tmp_path / "out", "gcc")
    with pytest.raises(HarnessError, match="past the end"):
        run_host(built, [Job((lane(bad, X),))])


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ([[1, 2]], "2 values a step"),
        ([[1.0, 2.0, 3.0]], "float64"),
        ([[1, 2, 300]], "values 1 to 300; allowed are -128 to 127"),
    ],
)
def test_lane_refuses_values_that_do_not_fit(values: list[list[float]], match: str) -> None:
    with pytest.raises(StepcellError, match=match):
        lane(COUNTER, values)


def test_lane_refuses_a_wrong_number_of_inputs_and_lengths_that_differ() -> None:
    with pytest.raises(StepcellError, match=r"takes 2 inputs \(a, b\); 1 were given"):
        lane(MIXER, [[1]])
    with pytest.raises(StepcellError, match="a 1, b 2"):
        lane(MIXER, [[1]], [[1, 1], [2, 2]])


def test_truncated_results_are_refused() -> None:
    with pytest.raises(ValueError, match="wrote 4 bytes"):
        unpack_results([Job((lane(COUNTER, X),))], b"SCR2")


def test_pack_jobs_writes_what_the_documentation_says() -> None:
    packed = pack_jobs([Job((lane(MIXER, [[7]], [[1, -2]]),), misaligned=True)])
    header = struct.pack("<4s11I", b"SCJ2", 1, 0, 1, 1, 1, MIXER.id, 4, 1, 0, 8, 8)
    assert packed == header + bytes([7, 0, 0, 0, 1, 0, 0xFE, 0xFF])
