"""Cores that only QEMU emulates: on the Cortex-M55 and RV32IMC, C by two compilers equals the reference."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bundles import changed_bundle, fixture_bundle
from command_line import assert_mistake, call, call_json, small_files
from random_bundles import Case, make_case, preferring, run_cases, run_selftests
from stepcell.build import Bundle, build_firmware, measure_flash
from stepcell.run import FirmwareFault, Job, Kind, emulator, lane, profile_step, split_state, worst_stack
from stepcell.run.counts import Watch
from stepcell.run.jobs import Array
from stepcell.run.qemu import count_qemu
from stepcell.target import Board, load_board, load_core
from tools import require_tool

KERNELS = ("measured", "4x1", "4x2", "dense")
COUNTER = fixture_bundle("counter")
M55 = load_board("mps3-an547")
RV32 = load_board("qemu-rv32")

# sc_clamp as loops whose instructions are counted by hand: 4 + 10 * 2 + 1, and 1 + 10 * 3 + 1.
M55_LOOP = r"""
#include "stepcell.h"

__asm__(".syntax unified\n.thumb\n.section .text.sc_clamp, \"ax\", %progbits\n"
        ".global sc_clamp\n.type sc_clamp, %function\n.thumb_func\nsc_clamp:\n"
        "    mov r12, lr\n"
        "    movs r0, #0\n"
        "    movs r1, #10\n"
        "    dls lr, r1\n"
        "1:  vmladava.s8 r0, q0, q1\n"
        "    le lr, 1b\n"
        "    bx r12\n"
        ".size sc_clamp, . - sc_clamp\n");
"""
RV32_LOOP = r"""
#include "stepcell.h"

__asm__(".section .text.sc_clamp, \"ax\", @progbits\n"
        ".global sc_clamp\n.type sc_clamp, @function\nsc_clamp:\n"
        "    li a0, 10\n"
        "1:  addi a0, a0, -1\n"
        "    mul a1, a0, a0\n"
        "    bnez a0, 1b\n"
        "    ret\n"
        ".size sc_clamp, . - sc_clamp\n");
"""


@dataclass(frozen=True)
class Platform:
    """A board, what builds and runs its firmware, and a loop in its assembly."""

    board: Board
    compiler: str
    loop: str
    loop_instructions: int

    def build(self, folder: Path, *bundles: Bundle) -> Path:
        """Firmware of the bundles; skips the test where a tool is missing."""
        require_tool(self.compiler, self.board.qemu, "elftools")
        return build_firmware(bundles, self.board, folder / "out", self.compiler)


PLATFORMS = {
    "m55-gcc": Platform(M55, "arm-gcc", M55_LOOP, 25),
    "m55-zig": Platform(M55, "zig", M55_LOOP, 25),
    "rv32-gcc": Platform(RV32, "riscv-gcc", RV32_LOOP, 32),
    "rv32-zig": Platform(RV32, "zig", RV32_LOOP, 32),
}


@pytest.fixture(params=PLATFORMS)
def platform(request: pytest.FixtureRequest) -> Platform:
    """One of them."""
    return PLATFORMS[request.param]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of objects that nobody needs again would push the user's out of the cache."""
    monkeypatch.setenv("STEPCELL_CACHE_DIR", str(tmp_path / "cache"))


def draw(folder: Path, platform: Platform, seed: int, max_units: int = 130) -> Case:
    core = preferring(load_core(platform.board.core), KERNELS[seed // 2 % len(KERNELS)])
    return make_case(folder, seed, core, max_units=max_units)


def test_firmware_equals_the_reference(tmp_path: Path, platform: Platform) -> None:
    cases = [draw(tmp_path, platform, seed) for seed in range(40)]
    bundles = [case.bundle for case in cases]
    run = emulator("qemu", platform.build(tmp_path, *bundles), platform.board)
    assert run_cases(cases, run) == {}
    assert run_selftests(bundles, run) == {}


def test_states_and_models_side_by_side_do_not_disturb_each_other(tmp_path: Path, platform: Platform) -> None:
    one, two = (draw(tmp_path, platform, seed, 24) for seed in (50, 51))
    lanes = ((one, 0), (two, 1), (one, 2))
    run = emulator("qemu", platform.build(tmp_path, one.bundle, two.bundle), platform.board)
    (results,) = run([Job(tuple(lane(case.bundle, case.x[i, :5]) for case, i in lanes))])
    for (case, i), result in zip(lanes, results, strict=True):
        for name, states in split_state(case.bundle, result.states).items():
            wanted = case.reference.states[name][i, : len(states)]
            assert np.array_equal(states, wanted.reshape(states.shape))


def test_a_step_takes_the_same_instructions_whatever_the_data(tmp_path: Path, platform: Platform) -> None:
    cases = [draw(tmp_path, platform, seed, 24) for seed in range(60, 64)]
    elf = platform.build(tmp_path, *(case.bundle for case in cases))
    for bundle in (case.bundle for case in cases):
        first, again = (profile_step(elf, bundle, platform.board, "qemu", 2) for _ in range(2))
        assert first == again == profile_step(elf, bundle, platform.board, steps=5)
        assert not first.varies
        assert first.cycles is None
        assert [layer.function for layer in first.layers[:-1]] == [call.function for call in bundle.calls]
        totals = {
            count_qemu(elf, platform.board, [constant_job(bundle, value)], Watch(())).instructions.total()
            for value in (-1.0, 0.01, 1.0)
        }
        assert len(totals) == 1


def constant_job(bundle: Bundle, part: float) -> Job:
    """Three equal frames of this part of the input's range."""
    values = (np.full((3, p.count), int(part * np.iinfo(p.dtype).max)) for p in bundle.inputs)
    return Job((lane(bundle, *values),))


def test_a_loop_counts_as_many_instructions_as_by_hand(tmp_path: Path, platform: Platform) -> None:
    bundle = changed_bundle(
        tmp_path, "counter", "counter.c", "clamped[COUNTER_Y];", "clamped[COUNTER_Y] = {0, 0};"
    )
    (bundle.folder / "stepcell" / "sc_clamp.c").write_text(platform.loop)
    layers = profile_step(platform.build(tmp_path, bundle), bundle, platform.board, "qemu").layers
    assert layers[1].instructions == platform.loop_instructions


def test_worst_stack_grows_by_what_a_step_declares(tmp_path: Path, platform: Platform) -> None:
    more = """
    volatile uint8_t block[400];
    for (uint32_t i = 0; i < 400; i++) {
        block[i] = (uint8_t)x[i % 3u];
    }
    (void)block[0];
    int16_t clamped"""
    deeper = changed_bundle(tmp_path, "counter", "counter.c", "    int16_t clamped", more)
    depths: list[int] = []
    for bundle in (COUNTER, deeper):
        elf = platform.build(tmp_path / str(len(depths)), bundle)
        job = Job((lane(bundle, [[1, 2, 3]] * 3),), Kind.STACK)
        depths.append(worst_stack(emulator("qemu", elf, platform.board)([job])))
    assert 0 < depths[0] < 200
    assert 400 <= depths[1] - depths[0] < 440  # and a few registers more


def test_flash_is_the_models_own(tmp_path: Path, platform: Platform) -> None:
    use = measure_flash(platform.build(tmp_path, COUNTER))
    assert use.rodata == 6
    assert 100 < use.text < 1500
    assert use.library == 0


def test_a_fault_names_the_function_and_the_cause(tmp_path: Path, platform: Platform) -> None:
    write = "    *(volatile int *)0x00f00000u = 1;\n    s->steps = ("
    bad = changed_bundle(tmp_path, "counter", "counter.c", "    s->steps = (", write)
    run = emulator("qemu", platform.build(tmp_path, bad), platform.board)
    with pytest.raises(FirmwareFault, match="no memory") as caught:
        run([Job((lane(bad, [[1, 2, 3]]),))])
    assert caught.value.function == "counter_step"


MVE_CLAMP = r"""
#include <arm_mve.h>

#include "stepcell.h"

void sc_clamp(int16_t *y, const int32_t *total, uint32_t count)
{
    for (uint32_t i = 0; i < count; i += 4u) {
        mve_pred16_t left = vctp32q(count - i);
        int32x4_t v = vldrwq_z_s32(&total[i], left);
        vstrhq_p_s32(&y[i], vmaxq_s32(vminq_s32(v, vdupq_n_s32(32767)), vdupq_n_s32(-32768)), left);
    }
}
"""


@pytest.mark.parametrize("compiler", ["arm-gcc", "zig"])
def test_vector_instructions_execute_on_a_cortex_m55(tmp_path: Path, compiler: str) -> None:
    require_tool(compiler, "qemu", "elftools")
    vector = changed_bundle(tmp_path, "counter", "counter.c", "s->total[1] = 100", "s->total[1] = 100")
    (vector.folder / "stepcell" / "sc_clamp.c").write_text(MVE_CLAMP)
    job = Job((lane(COUNTER, np.full((300, 3), 127)),))  # until the totals leave int16
    outputs: list[Mapping[str, Array]] = []
    instructions = []
    for bundle in (COUNTER, vector):
        elf = build_firmware([bundle], M55, tmp_path / str(len(outputs)), compiler, "-Os")
        ((result,),) = emulator("qemu", elf, M55)([job])
        outputs.append(result.outputs)
        instructions.append(profile_step(elf, bundle, M55).layers[1].instructions)
    for name, values in outputs[0].items():
        np.testing.assert_array_equal(outputs[1][name], values)
        assert values.max() == 32767 or values.min() == -32768
    assert instructions[0] != instructions[1]


@pytest.mark.parametrize("target", ["cortex-m55", "rv32imc"])
def test_the_command_line_compiles_validates_and_profiles(tmp_path: Path, target: str) -> None:
    core = load_core(target)
    require_tool(core.gcc, M55.qemu, RV32.qemu, "elftools", "cffi")
    model, data = small_files(tmp_path)
    folder = tmp_path / "c"
    compiled = call("compile", model, "--calibration", data, "-o", folder, "--target", target)
    assert compiled.exit_code == 0, compiled.stderr
    assert "--on host,qemu" in compiled.stdout
    found = call_json("validate", folder, "--data", data, "--on", "host,qemu")
    assert found["c_vs_integer_mismatches"] == {"host": 0, "qemu": 0}
    cost = call_json("profile", folder)
    assert cost == call_json("profile", folder, "--on", "qemu", "--compiler", core.gcc)
    assert cost["ram_bytes"]["stack"] > 0
    assert cost["instructions_per_step"] > cost["macs_per_step"] / 16
    assert_mistake(call("profile", folder, "--on", "unicorn"), "'unicorn' cannot count", "allowed are qemu")
    assert_mistake(call("validate", folder, "--data", data, "--on", "unicorn"), target, "qemu")
