"""Exact instruction counts: both emulators, by layer, and the cycles made of them."""

from pathlib import Path

import pytest

from bundles import changed_bundle, fixture_bundle
from stepcell.build import Bundle, build_firmware
from stepcell.errors import StepcellError
from stepcell.run import CycleEstimate, profile_step
from stepcell.target import Board, load_board
from tools import require_tool

COUNTER = fixture_bundle("counter")
MIXER = fixture_bundle("mixer")
M4 = load_board("mps2-an386")
M0PLUS = load_board("emulated-cortex-m0plus")

# sc_clamp as a loop whose instructions and cycles are counted by hand: 1 + 10 * 2 + 1 instructions.
LOOP = r"""
#include "stepcell.h"

__asm__(".syntax unified\n.thumb\n.section .text.sc_clamp, \"ax\", %progbits\n.balign 4\n"
        ".global sc_clamp\n.type sc_clamp, %function\n.thumb_func\nsc_clamp:\n"
        "    movs r0, #10\n"
        "1:  subs r0, #1\n"
        "    bne 1b\n"
        "    bx lr\n"
        ".size sc_clamp, . - sc_clamp\n");
"""


def loop_bundle(folder: Path) -> Bundle:
    bundle = changed_bundle(
        folder, "counter", "counter.c", "clamped[COUNTER_Y];", "clamped[COUNTER_Y] = {0, 0};"
    )
    (bundle.folder / "stepcell" / "sc_clamp.c").write_text(LOOP)
    return bundle


@pytest.mark.parametrize("compiler", ["arm-gcc", "zig"])
@pytest.mark.parametrize("board", [M0PLUS, M4, load_board("mps2-an505")], ids=lambda board: board.core)
def test_unicorn_and_qemu_count_the_same_in_every_layer(tmp_path: Path, board: Board, compiler: str) -> None:
    require_tool(compiler, "qemu", "unicorn", "elftools", "capstone")
    elf = build_firmware([COUNTER], board, tmp_path, compiler)
    by_unicorn, by_qemu = (profile_step(elf, COUNTER, board, backend) for backend in ("unicorn", "qemu"))
    assert by_unicorn == by_qemu
    assert [layer.layer for layer in by_unicorn.layers] == ["accumulate", "clamp", "glue"]
    assert by_unicorn.macs == 6
    assert not by_unicorn.layers[0].varies
    assert by_unicorn.instructions == sum(layer.instructions for layer in by_unicorn.layers) > 60


def test_profile_does_not_depend_on_the_number_of_steps(tmp_path: Path) -> None:
    require_tool("arm-gcc", "unicorn", "elftools", "capstone")
    elf = build_firmware([COUNTER], M4, tmp_path, "arm-gcc")
    assert (
        profile_step(elf, COUNTER, M4, steps=2).instructions
        == profile_step(elf, COUNTER, M4, steps=7).instructions
    )


@pytest.mark.parametrize(
    ("board", "cycles"),
    [
        (M0PLUS, (1 + 10 + 10 + 9 + 2,) * 3),  # a taken branch costs 2, bx 2
        (load_board("emulated-cortex-m0"), (1 + 10 + 10 + 9 * 2 + 3,) * 3),  # 3 and 3
        (M4, (1 + 10 + 10 + 9 + 2, 1 + 10 + 10 + 9 + 3, 1 + 10 + 10 + 9 * 3 + 4)),  # refills of 1 to 3
    ],
    ids=["cortex-m0plus", "cortex-m0", "cortex-m4"],
)
def test_cycles_of_a_loop_are_those_counted_by_hand(
    tmp_path: Path, board: Board, cycles: tuple[int, int, int]
) -> None:
    require_tool("arm-gcc", "unicorn", "elftools", "capstone")
    bundle = loop_bundle(tmp_path)
    elf = build_firmware([bundle], board, tmp_path / "out", "arm-gcc")
    layer = profile_step(elf, bundle, board).layers[1]
    assert layer.instructions == 22
    assert layer.cycles == CycleEstimate(*cycles)


def test_cores_without_a_timing_table_have_no_cycles(tmp_path: Path) -> None:
    require_tool("arm-gcc", "unicorn", "elftools", "capstone")
    board = load_board("mps2-an500")
    elf = build_firmware([COUNTER], board, tmp_path, "arm-gcc")
    assert profile_step(elf, COUNTER, board).cycles is None


def test_profile_refuses_calls_that_are_not_in_the_manifest(tmp_path: Path) -> None:
    require_tool("arm-gcc", "unicorn", "elftools", "capstone")
    bundle = changed_bundle(
        tmp_path, "counter", "manifest.json", '"function": "sc_clamp"', '"function": "sc_other"'
    )
    elf = build_firmware([bundle], M4, tmp_path / "out", "arm-gcc")
    with pytest.raises(RuntimeError, match="its manifest lists"):
        profile_step(elf, bundle, M4)


def test_profile_says_that_a_software_division_depends_on_the_data(tmp_path: Path) -> None:
    require_tool("arm-gcc", "unicorn", "elftools", "capstone")
    elf = build_firmware([MIXER], M0PLUS, tmp_path, "arm-gcc")
    assert profile_step(elf, MIXER, M0PLUS, steps=7).varies


def test_profile_names_the_backends_that_count(tmp_path: Path) -> None:
    require_tool("arm-gcc", "elftools")
    elf = build_firmware([COUNTER], M4, tmp_path, "arm-gcc")
    with pytest.raises(StepcellError, match="allowed are unicorn, qemu"):
        profile_step(elf, COUNTER, M4, "host")
