"""Firmware for real cores, by both compilers."""

from pathlib import Path

import pytest

from bundles import changed_bundle, fixture_bundle
from stepcell.build import build_firmware, measure_flash
from stepcell.build.elf import Firmware
from stepcell.build.objects import CompileError
from stepcell.target import load_board
from tools import require_tool

M4 = load_board("mps2-an386")
M0PLUS = load_board("emulated-cortex-m0plus")


@pytest.mark.parametrize("compiler", ["arm-gcc", "zig"])
def test_measure_flash_counts_the_tables_exactly_and_no_harness(tmp_path: Path, compiler: str) -> None:
    require_tool(compiler, "elftools")
    use = measure_flash(build_firmware([fixture_bundle("counter")], M4, tmp_path, compiler))
    assert use.rodata == 6
    assert 100 < use.text < 1500
    assert use.total == use.text + use.rodata
    assert use.library == 0


def test_measure_flash_tells_the_compilers_library_apart(tmp_path: Path) -> None:
    require_tool("arm-gcc", "elftools")
    divides = measure_flash(build_firmware([fixture_bundle("mixer")], M0PLUS, tmp_path, "arm-gcc"))
    assert divides.library > 0
    assert divides.rodata == 0


def test_build_firmware_drops_what_no_model_calls(tmp_path: Path) -> None:
    require_tool("arm-gcc", "elftools")
    more = "\nvoid unused_function(void);\nvoid unused_function(void) {}\n"
    bundle = changed_bundle(tmp_path, "counter", "stepcell/sc_clamp.c", '.h"\n', f'.h"\n{more}')
    names = {
        symbol.name for symbol in Firmware(build_firmware([bundle], M4, tmp_path / "out", "arm-gcc")).symbols
    }
    assert "sc_clamp" in names
    assert "unused_function" not in names


def test_build_firmware_refuses_a_mutable_global(tmp_path: Path) -> None:
    require_tool("arm-gcc", "elftools")
    bundle = changed_bundle(
        tmp_path, "counter", "counter.c", "    int16_t clamped", "    static int16_t clamped"
    )
    with pytest.raises(CompileError, match="mutable globals"):
        build_firmware([bundle], M4, tmp_path / "out", "arm-gcc")


def test_build_firmware_gives_the_same_bytes_twice(tmp_path: Path) -> None:
    require_tool("arm-gcc", "elftools")
    first, second = (
        build_firmware([fixture_bundle("counter")], M4, tmp_path / name, "arm-gcc").read_bytes()
        for name in ("a", "b")
    )
    assert first == second
