"""Instructions of generated steps: the same whatever the data, and the same in both emulators."""

from pathlib import Path

import numpy as np
import pytest

from random_bundles import Case, make_case
from random_graphs import PRELUDES
from stepcell.build import Bundle, build_firmware
from stepcell.run import Job, lane, profile_step
from stepcell.run.counts import Watch
from stepcell.run.unicorn_machine import count_unicorn
from stepcell.target import Board, load_board, load_core
from tools import require_tool

M4 = load_board("mps2-an386")
M0PLUS = load_board("emulated-cortex-m0plus")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    folder = tmp_path_factory.mktemp("bundles")
    return [
        make_case(folder, 1000 + i, max_units=12, prelude=prelude, softmax=i % 4 == 0)
        for i, prelude in enumerate(PRELUDES)
    ]


def constant_job(bundle: Bundle, value: str) -> Job:
    """Three equal frames of the least, the greatest or a small value."""
    numbers = {
        "least": np.iinfo(bundle.inputs[0].dtype).min,
        "greatest": np.iinfo(bundle.inputs[0].dtype).max,
    }
    return Job((lane(bundle, *(np.full((3, p.count), numbers.get(value, 1)) for p in bundle.inputs)),))


@pytest.mark.parametrize("compiler", ["arm-gcc", "zig"])
@pytest.mark.parametrize("board", [M4, M0PLUS], ids=lambda board: board.core)
def test_a_step_takes_the_same_instructions_whatever_the_data(
    tmp_path: Path, cases: list[Case], board: Board, compiler: str
) -> None:
    require_tool(compiler, "unicorn", "elftools", "capstone")
    elf = build_firmware([case.bundle for case in cases], board, tmp_path, compiler)
    core = load_core(board.core)
    varying = []
    for bundle in (case.bundle for case in cases):
        profile = profile_step(elf, bundle, board)
        varying += [(bundle.name, layer.function) for layer in profile.layers if layer.varies]
        jobs = [constant_job(bundle, value) for value in ("least", "small", "greatest")]
        totals = {count_unicorn(elf, core, [job], Watch(())).instructions.total() for job in jobs}
        varying += [(bundle.name, "the sum")] * (len(totals) > 1)
    assert varying == []


@pytest.mark.parametrize("compiler", ["arm-gcc", "zig"])
def test_unicorn_and_qemu_count_the_same_in_every_layer_of_a_model(
    tmp_path: Path, cases: list[Case], compiler: str
) -> None:
    require_tool(compiler, "unicorn", "qemu", "elftools", "capstone")
    some = [case.bundle for case in cases[:6]]
    elf = build_firmware(some, M4, tmp_path, compiler)
    for bundle in some:
        by_unicorn, by_qemu = (profile_step(elf, bundle, M4, backend) for backend in ("unicorn", "qemu"))
        assert by_unicorn == by_qemu
        assert [layer.function for layer in by_unicorn.layers[:-1]] == [c.function for c in bundle.calls]
        assert by_unicorn.instructions > 50
