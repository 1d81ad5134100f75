"""AArch64 under Linux: C built by the cross compiler and run by QEMU's user mode equals the reference."""

from pathlib import Path

import pytest

from bundles import changed_bundle, fixture_bundle
from random_bundles import Case, make_case, preferring, run_cases, run_selftests
from stepcell.build import build_firmware, measure_flash
from stepcell.errors import StepcellError
from stepcell.ir.qmodel import QGru, QLstm, QRnn
from stepcell.lower.kernels import portable
from stepcell.run import (
    Job,
    Kind,
    check_emulator,
    counting_emulator,
    emulator,
    lane,
    profile_step,
    worst_stack,
)
from stepcell.run.faults import HarnessError
from stepcell.target import load_board, load_core
from tools import require_tool

BATCHES = 3
A53 = load_board("qemu-cortex-a53")
CORE = load_core("aarch64")
COUNTER = fixture_bundle("counter")
KERNELS = ("measured", "4x1", "4x2", "dense")


def draw(folder: Path, seed: int) -> Case:
    return make_case(folder, seed, preferring(CORE, KERNELS[seed // 2 % len(KERNELS)]))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of objects that nobody needs again would push the user's out of the cache."""
    monkeypatch.setenv("STEPCELL_CACHE_DIR", str(tmp_path / "cache"))


@pytest.mark.parametrize("number", range(BATCHES))
def test_program_equals_the_reference_on_every_processor(tmp_path: Path, number: int) -> None:
    require_tool("aarch64-gcc", "qemu-user", "elftools")
    cases = [draw(tmp_path, seed) for seed in range(40 * number, 40 * number + 40)]
    bundles = [case.bundle for case in cases]
    elf = build_firmware(bundles, A53, tmp_path / "out")
    for board in (A53, load_board("qemu-max-aarch64")):
        run = emulator("qemu-user", elf, board)
        assert run_cases(cases, run) == {}
        assert run_selftests(bundles, run) == {}


def test_instructions_are_exact_and_those_of_the_manifests_calls(tmp_path: Path) -> None:
    require_tool("aarch64-gcc", "qemu-user", "elftools")
    cases = [draw(tmp_path, seed) for seed in range(12)]
    elf = build_firmware([case.bundle for case in cases], A53, tmp_path / "out")
    for case in cases:
        short, long = (profile_step(elf, case.bundle, A53, steps=steps) for steps in (2, 5))
        assert short == long
        assert not short.varies
        assert short.cycles is None
        assert [layer.function for layer in short.layers[:-1]] == [c.function for c in case.bundle.calls]
        assert short.instructions > short.macs / 16


def test_flash_and_stack_are_measured(tmp_path: Path) -> None:
    require_tool("aarch64-gcc", "qemu-user", "elftools")
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
        elf = build_firmware([bundle], A53, tmp_path / str(index))
        job = Job((lane(bundle, [[1, 2, 3]] * 3),), Kind.STACK)
        depths.append(worst_stack(emulator("qemu-user", elf, A53)([job])))
        assert measure_flash(elf).text > 50
    assert 0 < depths[0] < 200
    assert 400 <= depths[1] - depths[0] < 440


def test_a_bad_access_ends_the_program_by_name(tmp_path: Path) -> None:
    require_tool("aarch64-gcc", "qemu-user", "elftools")
    write = "    *(volatile int *)0xd0000000u = 1;\n    s->steps = ("
    bad = changed_bundle(tmp_path, "counter", "counter.c", "    s->steps = (", write)
    elf = build_firmware([bad], A53, tmp_path / "out")
    with pytest.raises(HarnessError, match="SIGSEGV"):
        emulator("qemu-user", elf, A53)([Job((lane(bad, [[1, 2, 3]]),))])


def test_emulators_of_other_boards_are_refused() -> None:
    with pytest.raises(StepcellError, match="unicorn does not emulate qemu-cortex-a53") as caught:
        check_emulator("unicorn", A53)
    assert "qemu-user" in caught.value.hint
    with pytest.raises(StepcellError, match="qemu-user does not emulate mps2-an386"):
        check_emulator("qemu-user", load_board("mps2-an386"))
    with pytest.raises(StepcellError, match="allowed are qemu-user"):
        counting_emulator("qemu", A53)


def test_the_models_use_every_cell_and_every_portable_kernel(tmp_path: Path) -> None:
    cases = [draw(tmp_path, seed) for seed in range(40 * BATCHES)]
    used = {name for case in cases for name in case.functions}
    assert {kernel.name for kernel in portable.KERNELS} <= used
    assert {QLstm, QGru, QRnn} <= {type(op) for case in cases for op in case.qmodel.all_ops}
    assert {case.qmodel.main.inputs[0].bits for case in cases} == {8, 16}
