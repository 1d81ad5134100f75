"""AVR: C built by avr-gcc and run in simavr equals the reference; what does not fit or apply is refused."""

from pathlib import Path

import numpy as np
import pytest

from bundles import changed_bundle, fixture_bundle
from random_bundles import Case, make_case, preferring, run_cases, run_selftests, sized_model
from stepcell.build import Bundle, build_firmware
from stepcell.errors import StepcellError
from stepcell.ir.qmodel import QGru, QLstm, QRnn
from stepcell.lower import lower
from stepcell.lower.fit import check_fit
from stepcell.lower.kernels import portable
from stepcell.run import Job, Kind, LaneResult, counting_emulator, emulator, emulators_of, lane, worst_stack
from stepcell.run.faults import HarnessError
from stepcell.run.simavr import run_simavr
from stepcell.target import load_board, load_core
from tools import require_tool

MEGA = load_board("atmega2560")
CORE = load_core("avr")
COUNTER = fixture_bundle("counter")
KERNELS = ("measured", "4x1", "4x2", "dense")
SEEDS, BATCHES = (*range(60), 84), 3
"""The last is the first that fits with 4x2 blocks of 16-bit inputs."""
ROOM = 40_000
"""Bytes of near flash for the tables of the models in one image."""


def draw(folder: Path, seed: int) -> Case:
    return make_case(folder, seed, preferring(CORE, KERNELS[seed // 2 % len(KERNELS)]))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of objects that nobody needs again would push the user's out of the cache."""
    monkeypatch.setenv("STEPCELL_CACHE_DIR", str(tmp_path / "cache"))


def table_bytes(case: Case) -> int:
    return sum(table.bytes for table in case.plan.tables)


def fitting(cases: list[Case]) -> list[list[Case]]:
    """The cases in groups that one chip holds: tables and RAM bound them."""
    groups: list[list[Case]] = [[]]
    used = 0
    for case in cases:
        size = table_bytes(case)
        if groups[-1] and (used + size > ROOM or len(groups[-1]) == 4):
            groups.append([])
            used = 0
        groups[-1].append(case)
        used += size
    return groups


@pytest.mark.parametrize("number", range(BATCHES))
def test_firmware_equals_the_reference(tmp_path: Path, number: int) -> None:
    require_tool("avr-gcc", "simavr", "elftools")
    drawn = [draw(tmp_path, seed) for seed in SEEDS[number::BATCHES]]
    cases = [case for case in drawn if table_bytes(case) <= ROOM]
    assert len(cases) >= len(drawn) * 3 // 4
    for index, group in enumerate(fitting(cases)):
        bundles = [case.bundle for case in group]
        run = emulator("simavr", build_firmware(bundles, MEGA, tmp_path / f"out{index}"), MEGA)
        assert run_cases(group, run) == {}
        assert run_selftests(bundles, run) == {}


def run(bundle: Bundle, folder: Path, *jobs: Job) -> list[LaneResult]:
    results = run_simavr(build_firmware([bundle], MEGA, folder), MEGA, jobs)
    return [result for (result,) in results]


def test_jobs_that_exceed_flash_together_run_one_after_the_other(tmp_path: Path) -> None:
    require_tool("avr-gcc", "simavr", "elftools")
    frames = np.random.default_rng(0).integers(-128, 128, (700, 3))
    whole, half, again = run(
        COUNTER, tmp_path, *(Job((lane(COUNTER, x),)) for x in (frames, frames[:350], frames))
    )
    np.testing.assert_array_equal(whole.states[:350], half.states)
    np.testing.assert_array_equal(whole.states, again.states)


def test_a_sequence_longer_than_flash_is_refused(tmp_path: Path) -> None:
    require_tool("avr-gcc", "simavr", "elftools")
    with pytest.raises(StepcellError, match="A sequence of 70000 steps takes 280,"):
        run(COUNTER, tmp_path, Job((lane(COUNTER, np.zeros((70_000, 3), np.int8)),)))


def test_worst_stack_grows_by_what_a_step_declares(tmp_path: Path) -> None:
    require_tool("avr-gcc", "simavr", "elftools")
    more = """
    volatile uint8_t block[400];
    for (uint32_t i = 0; i < 400; i++) {
        block[i] = (uint8_t)x[i % 3u];
    }
    (void)block[0];
    int16_t clamped"""
    deeper = changed_bundle(tmp_path, "counter", "counter.c", "    int16_t clamped", more)
    depths = []
    for index, bundle in enumerate((COUNTER, deeper)):
        results = run(bundle, tmp_path / str(index), Job((lane(bundle, [[1, 2, 3]] * 3),), Kind.STACK))
        depths.append(worst_stack([(result,) for result in results]))
    assert 0 < depths[0] < 100
    assert 400 <= depths[1] - depths[0] < 440


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("*(volatile uint8_t *)0xd000u = 1;", "crashed"),
        ("((void (*)(void))0)();", "started again"),
        ("extern volatile uint8_t stepcell_stack_limit[]; stepcell_stack_limit[0] = 0;", "stack grew into"),
    ],
)
def test_firmware_that_goes_wrong_is_found_out(tmp_path: Path, line: str, match: str) -> None:
    require_tool("avr-gcc", "simavr", "elftools")
    bad = changed_bundle(
        tmp_path, "counter", "counter.c", "    s->steps = (", f"    {line}\n    s->steps = ("
    )
    with pytest.raises(HarnessError, match=match):
        run(bad, tmp_path / "out", Job((lane(bad, [[1, 2, 3]]),)))


@pytest.mark.parametrize(
    ("layers", "units", "match"),
    [
        (("lstm",), 100, "40,000 bytes of near flash for a single table, 7,233 more"),
        (("lstm", "lstm"), 80, "bytes of near flash, where data has 16-bit addresses,"),
    ],
)
def test_tables_beyond_near_flash_are_refused(layers: tuple[str, ...], units: int, match: str) -> None:
    plan = lower(sized_model("wide", layers, 8, units, 2, "last"), CORE)
    with pytest.raises(StepcellError, match=match):
        check_fit(plan, MEGA)


def test_tables_that_the_linker_puts_beyond_near_flash_are_refused(tmp_path: Path) -> None:
    require_tool("avr-gcc", "elftools")
    table = "static const volatile uint8_t t{0}[30000] __attribute__((progmem)) = {{1}};"
    tables = " ".join([*(table.format(i) for i in range(3)), "(void)(t0[x[0]] + t1[x[0]] + t2[x[0]]);"])
    bad = changed_bundle(
        tmp_path, "counter", "counter.c", "    s->steps = (", f"    {tables}\n    s->steps = ("
    )
    with pytest.raises(StepcellError, match="does not fit in the near flash"):
        build_firmware([bad], MEGA, tmp_path / "out")


def test_constants_beyond_ram_is_refused_by_the_linker(tmp_path: Path) -> None:
    require_tool("avr-gcc", "elftools")
    huge = "    static const volatile uint8_t room[9000] = {1};\n    s->steps = room[x[0] & 1] + ("
    bad = changed_bundle(tmp_path, "counter", "counter.c", "    s->steps = (", huge)
    with pytest.raises(StepcellError, match="does not fit in the RAM of atmega2560"):
        build_firmware([bad], MEGA, tmp_path / "out")


def test_nothing_counts_instructions_of_an_avr() -> None:
    assert emulators_of(MEGA) == ("simavr",)
    with pytest.raises(StepcellError, match="No emulator counts the instructions of atmega2560"):
        counting_emulator(None, MEGA)


def test_the_models_use_every_cell_and_every_portable_kernel(tmp_path: Path) -> None:
    drawn = [draw(tmp_path, seed) for seed in SEEDS]
    cases = [case for case in drawn if table_bytes(case) <= ROOM]
    used = {name for case in cases for name in case.functions}
    assert {kernel.name for kernel in portable.KERNELS} <= used
    assert {QLstm, QGru, QRnn} <= {type(op) for case in cases for op in case.qmodel.all_ops}
    assert {case.qmodel.main.inputs[0].bits for case in cases} == {8, 16}
