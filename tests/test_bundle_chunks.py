"""Streaming: any chunking gives the same bits, states stand alone, and self-tests notice a broken table."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from random_bundles import Case, compile_case, make_case, run_selftests, sized_model
from stepcell.build import Bundle, build_firmware, build_host, load_bundle
from stepcell.build.toolchains import device_module
from stepcell.ir.qmodel import IntArray
from stepcell.run import Job, JobResult, LaneResult, lane, run_host, run_qemu, run_unicorn, split_state
from stepcell.target import load_board, load_core
from tools import require_tool

M4 = load_board("mps2-an386")
FINISHED_HEADS = ("last", "last_relu", "held", "mean", "max", "mean_max")


class Stepper:
    """One state of one model in a library, called as firmware would call it."""

    def __init__(self, library: Path, bundle: Bundle) -> None:
        self._ffi: Any = device_module("cffi").FFI()
        name = bundle.name
        self._ffi.cdef(
            f"void {name}_init(void *); void {name}_step(void *, const void *, void *);"
            f"void {name}_push(void *, const void *); void {name}_read(const void *, void *);"
        )
        self._library, self._name, self._bundle = self._ffi.dlopen(str(library)), name, bundle
        self.state = self._ffi.new("uint32_t[]", -(-bundle.state_bytes // 4))
        self._call("init", self.state)

    def push(self, frame: IntArray) -> None:
        """One frame in."""
        self._call("push", self.state, self._input(frame))

    def read(self) -> list[int]:
        """The output."""
        return self._output("read")

    def step(self, frame: IntArray) -> list[int]:
        """One frame in, the output out."""
        return self._output("step", self._input(frame))

    def saved(self) -> bytes:
        """A copy of the state."""
        return bytes(self._ffi.buffer(self.state))[: self._bundle.state_bytes]

    def restore(self, saved: bytes) -> None:
        """Put a copy back."""
        self._ffi.memmove(self.state, saved, len(saved))

    def _output(self, function: str, *arguments: Any) -> list[int]:
        (port,) = self._bundle.outputs
        y = self._ffi.new(f"{port.dtype.name}_t[]", port.count)
        self._call(function, self.state, *arguments, y)
        return list(y)

    def _input(self, frame: IntArray) -> Any:
        (port,) = self._bundle.inputs
        return self._ffi.new(f"{port.dtype.name}_t[]", [int(v) for v in frame.reshape(-1)])

    def _call(self, function: str, *arguments: Any) -> None:
        getattr(self._library, f"{self._name}_{function}")(*arguments)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Models whose output is read when it is wanted, two of every head."""
    folder = tmp_path_factory.mktemp("bundles")
    return [make_case(folder, 2000 + i, head=head, max_units=40) for i, head in enumerate(FINISHED_HEADS * 2)]


@pytest.fixture(scope="module")
def library(cases: list[Case], tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_tool("gcc", "cffi")
    return build_host([case.bundle for case in cases], tmp_path_factory.mktemp("host"), "gcc")


def test_pushes_and_one_read_equal_steps(cases: list[Case], library: Path) -> None:
    for case in cases:
        for frames in case.x:
            stepped, pushed = Stepper(library, case.bundle), Stepper(library, case.bundle)
            outputs = [stepped.step(frame) for frame in frames]
            for frame in frames:
                pushed.push(frame)
            assert pushed.saved() == stepped.saved()
            assert pushed.read() == pushed.read() == outputs[-1]
            assert pushed.saved() == stepped.saved()


def test_reads_between_pushes_change_nothing(cases: list[Case], library: Path) -> None:
    for case in cases:
        reference = case.reference.output[1].reshape(case.x.shape[1], -1)
        often = Stepper(library, case.bundle)
        for frame, expected in zip(case.x[1], reference, strict=True):
            often.push(frame)
            assert often.read() == expected.tolist()


def test_a_state_copied_away_and_back_goes_on_as_if_nothing_had_happened(
    cases: list[Case], library: Path
) -> None:
    for case in cases:
        first, other = case.x[1], case.x[2]
        straight, interrupted = Stepper(library, case.bundle), Stepper(library, case.bundle)
        expected = [straight.step(frame) for frame in first]
        found = []
        for frame, disturbance in zip(first, other, strict=True):
            found.append(interrupted.step(frame))
            saved = interrupted.saved()
            interrupted.step(disturbance)
            interrupted.restore(saved)
        assert found == expected


def equals_reference(case: Case, sequence: int, result: LaneResult) -> bool:
    states = split_state(case.bundle, result.states)
    steps = case.x.shape[1]
    wanted = case.reference.output[sequence].reshape(steps, -1)
    return np.array_equal(next(iter(result.outputs.values())), wanted) and all(
        np.array_equal(states[name], array[sequence].reshape(steps, -1))
        for name, array in case.reference.states.items()
    )


@pytest.mark.parametrize("backend", ["host", "unicorn", "qemu"])
def test_states_and_models_side_by_side_do_not_disturb_each_other(
    tmp_path: Path, cases: list[Case], backend: str
) -> None:
    require_tool("gcc", "cffi", "arm-gcc", "unicorn", "qemu", "elftools")
    one, two = cases[0], cases[5]
    lanes = ((one, 0), (two, 1), (one, 2), (two, 3))
    job = Job(tuple(lane(case.bundle, case.x[sequence]) for case, sequence in lanes))
    (results,) = runner(backend, [one.bundle, two.bundle], tmp_path)([job])
    assert all(equals_reference(*which, result) for which, result in zip(lanes, results, strict=True))


def runner(backend: str, bundles: list[Bundle], folder: Path) -> Callable[[Sequence[Job]], list[JobResult]]:
    if backend == "host":
        library = build_host(bundles, folder, "gcc")
        return lambda jobs: run_host(library, jobs)
    elf = build_firmware(bundles, M4, folder, "arm-gcc")
    if backend == "unicorn":
        return lambda jobs: run_unicorn(elf, load_core(M4.core), jobs)
    return lambda jobs: run_qemu(elf, M4, jobs)


TABLES = (
    "gru1_input",
    "gru1_input_start",
    "gru1_recurrent",
    "gru1_recurrent_start",
    "gru1_multipliers",
    "dense1_weights",
)


@pytest.mark.parametrize("table", TABLES)
def test_the_selftest_fails_where_a_table_is_corrupted(tmp_path: Path, table: str) -> None:
    require_tool("gcc", "cffi")
    model = sized_model("sample", ("gru_after",), 6, 8, 3, "last")
    bundle = compile_case(tmp_path, model, np.random.default_rng(0)).bundle
    path = bundle.folder / "sample_weights.c"
    pattern = rf"(sample_{table}\[\d+\] \w+ = \{{\n *)([-\w]+),"
    changed, count = re.subn(pattern, r"\g<1>0x3fff2f17,", path.read_text())
    assert count == 1
    path.write_text(changed)
    library = build_host([load_bundle(bundle.folder)], tmp_path / "host", "gcc")
    assert run_selftests([bundle], lambda jobs: run_host(library, jobs))["sample"] in range(1, 5)
