"""Eight-row kernels and RV32's own functions: packing, answers, offsets, and counts of instructions."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from kernel_images import KernelCase, run_kernels
from runtime_library import Runtime
from stepcell.build import Bundle, build_firmware, load_bundle
from stepcell.build.elf import Firmware
from stepcell.build.firmware import firmware_compilers
from stepcell.build.objects import run_compiler
from stepcell.build.toolchains import find_tool
from stepcell.lower.kernels import Kernel, rows8, swar8
from stepcell.paths import runtime_dir
from stepcell.run import Job, lane
from stepcell.run.counts import Watch
from stepcell.run.emulators import count, emulator, emulators_of
from stepcell.target import load_board, load_core
from tools import require_tool

BOARD = load_board("qemu-rv32")
CORE = load_core(BOARD.core)
COMPILERS = firmware_compilers(CORE)
KERNELS = {kernel.name: kernel for kernel in (*rows8.KERNELS, *swar8.KERNELS)}
BLOCKS = {name: kernel for name, kernel in KERNELS.items() if kernel.format != "dense"}
OWN = runtime_dir() / "src" / "rv32"
TAILS = ("lstm_tail", "gru_tail", "dense_tail", "view_s8")
FUNCTIONS = (*TAILS, *(name.removeprefix("sc_") for name in KERNELS))
STRUCTS = {
    "CURSOR": "sc_cursor",
    "LSTM": "sc_lstm_layer",
    "GRU": "sc_gru_layer",
    "DENSE": "sc_dense_layer",
    "PASS": "sc_pass",
}


def matrix(kernel: Kernel, rows: int, cols: int, density: float = 1) -> KernelCase:
    """A matrix whose blocks are kept at random, exactly so many."""
    rng = np.random.default_rng(rows + cols)
    width = 1 if kernel.format == "dense" else int(kernel.format[-1])
    groups, positions = -(-rows // kernel.rows), -(-cols // width)
    kept = rng.permutation(groups * positions) < round(density * groups * positions)
    mask = kept.reshape(groups, positions).repeat(kernel.rows, 0)[:rows].repeat(width, 1)[:, :cols]
    weights = rng.choice([-127, 127], (rows, cols)) * mask
    return KernelCase(kernel, weights, rng.integers(-(2**20), 2**20, rows), rng.integers(-128, 128, cols))


def test_a_word_of_rows8_is_four_rows_of_one_column() -> None:
    weights = np.arange(16).reshape(8, 2) - 5
    packed = rows8.pack_dense(weights, np.arange(8))
    assert packed.words.view(np.int8).reshape(2, 8).T.tolist() == weights.tolist()
    assert (packed.start.tolist(), packed.stride, packed.items) == (list(range(8)), 8, 2)


def test_a_word_of_swar8_is_two_rows_of_one_column() -> None:
    weights = np.random.default_rng(0).integers(-127, 128, (16, 4))
    starts = np.random.default_rng(1).integers(-(2**31) + 2**16, 2**31 - 2**16, 16)
    packed = swar8.pack_dense(weights, starts)
    pairs = packed.words.astype(np.uint32).view(np.int32).astype(np.int64).reshape(2, 2, 4, 2)
    low = (pairs + 2**15) % 2**16 - 2**15
    assert np.array_equal(low.transpose(0, 2, 1, 3).reshape(8, 4), weights[0::2])
    assert np.array_equal(((pairs - low) >> 16).transpose(0, 2, 1, 3).reshape(8, 4), weights[1::2])
    sums = packed.start.astype(np.int64).reshape(8, 2)
    assert np.array_equal(sums[:, 1], starts[1::2])
    assert not ((sums[:, 0] - (sums[:, 1] << 16) - starts[0::2]) % 2**32).any()


@pytest.mark.parametrize("name", BLOCKS)
def test_only_blocks_with_weights_are_stored(name: str) -> None:
    weights = np.zeros((16, 8), np.int64)
    weights[3, 5] = weights[12, 0] = 1
    packed = BLOCKS[name].pack(weights, np.zeros(16, np.int64))
    width = int(BLOCKS[name].format[-1])
    assert packed.columns is not None
    assert packed.columns.tolist() == [1, 5 // width, 1, 0]
    assert (packed.stride, len(packed.start), packed.items) == (0, 8, 2)
    assert packed.words.nbytes == 2 * 8 * width * (2 if name.startswith("sc_matvec_swar8") else 1)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    require_tool("gcc", "cffi")
    return Runtime(tmp_path_factory.mktemp("runtime"), "gcc")


@pytest.mark.parametrize("name", KERNELS)
def test_portable_kernels_compute_what_numpy_does(runtime: Runtime, name: str) -> None:
    rng = np.random.default_rng(2)
    for _ in range(40):
        rows, cols = int(rng.integers(1, 40)), int(rng.choice([rng.integers(1, 20), rng.integers(1, 1200)]))
        one = matrix(KERNELS[name], rows, cols, 0.3 if name in BLOCKS else 1)
        assert np.array_equal(runtime.multiply(one.kernel, one.weights, one.starts, one.x), one.expected)
    for sign in (-1, 1):
        weights, x = np.full((16, 300), 127 * sign), np.full(300, -128)
        assert np.array_equal(
            runtime.multiply(KERNELS[name], weights, np.zeros(16, np.int64), x), weights @ x
        )


@pytest.mark.parametrize(
    ("name", "shape", "density", "instructions"),
    [
        ("rows8_dense", (512, 128), 1, 209_506),
        ("rows8_dense", (32, 128), 1, 13_126),
        ("rows8_dense", (32, 10), 1, 1_158),
        ("rows8_dense_s16", (512, 128), 1, 209_508),
        ("swar8_dense", (512, 128), 1, 160_872),
        ("swar8_dense", (32, 128), 1, 10_092),
        ("swar8_dense", (32, 10), 1, 956),
        ("8x1", (512, 128), 0.25, 60_450),
        ("8x1", (512, 128), 0.1, 25_450),
        ("swar8_8x2", (512, 128), 0.25, 46_100),
        ("swar8_8x2", (512, 128), 0.1, 20_050),
    ],
)
def test_kernels_take_no_more_instructions(
    tmp_path: Path, name: str, shape: tuple[int, int], density: float, instructions: int
) -> None:
    require_tool("riscv-gcc", "elftools")
    one = matrix(KERNELS[f"sc_matvec_{name}"], *shape, density)
    (result,) = run_kernels(BOARD.name, [one], tmp_path, "riscv-gcc")
    assert np.array_equal(result.acc, one.expected)
    assert 0.99 * instructions < result.instructions <= instructions


def tails_bundle(folder: Path) -> Bundle:
    """A model whose steps compare the core's own functions with the portable ones."""
    runtime = folder / "stepcell"
    runtime.mkdir(parents=True)
    portable = runtime_dir() / "src"
    for path in (runtime_dir() / "include" / "stepcell.h", *portable.glob("*.h"), *OWN.glob("*.h")):
        shutil.copy(path, runtime)
    sources = ["tails.c", "stepcell/sc_sigmoid_table.c"]
    shutil.copy(portable / "sc_sigmoid_table.c", runtime)
    for name in FUNCTIONS:
        shutil.copy(portable / f"sc_{name}.c", runtime)
        shutil.copy(OWN / f"sc_{name}.S", runtime)
        renamed = f'#define sc_{name} portable_{name}\n#include "stepcell/sc_{name}.c"\n'
        renamed = f"#define SC_ISA_H\n#define SC_PASS 8\n{renamed}"
        (folder / f"portable_{name}.c").write_text(renamed)
        sources += [f"stepcell/sc_{name}.S", f"portable_{name}.c"]
    shutil.copy(Path(__file__).with_name("tails.c"), folder)
    (folder / "tails.h").write_text(
        "#include <stdint.h>\ntypedef struct tails_state {\n    uint32_t seed;\n} tails_state;\n"
        "void tails_init(tails_state *state);\nint tails_selftest(void);\n"
        "void tails_step(tails_state *state, const int8_t *x, int32_t *wrong);\n"
    )
    manifest = {
        "name": "tails",
        "target": CORE.name,
        "sources": sources,
        "include_dirs": [".", "stepcell"],
        "inputs": [{"name": "x", "dtype": "int8", "count": 3}],
        "outputs": [{"name": "wrong", "dtype": "int32", "count": 1}],
        "state": {"bytes": 4, "fields": [{"name": "seed", "dtype": "int32", "count": 1, "offset": 0}]},
        "calls": [],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return load_bundle(folder)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_own_functions_compute_what_the_portable_ones_do(tmp_path: Path, compiler: str) -> None:
    require_tool(compiler, "elftools")
    bundle = tails_bundle(tmp_path / "bundle")
    elf = build_firmware([bundle], BOARD, tmp_path, compiler)
    frames = [(which, 0, seed) for which in range(len(TAILS) + 1) for seed in range(20)]
    ((answers,),) = emulator(emulators_of(BOARD)[-1], elf, BOARD)([_job(bundle, frames)])
    assert not np.array(answers.outputs["wrong"]).any()


@pytest.mark.parametrize(
    ("which", "a_unit", "a_call"), [(0, 143, 41), (1, 101, 42), (2, 20, 9), (3, 6.75, 10)]
)
def test_tails_take_no_more_instructions(tmp_path: Path, which: int, a_unit: float, a_call: int) -> None:
    require_tool("riscv-gcc", "elftools")
    bundle = tails_bundle(tmp_path / "bundle")
    elf = build_firmware([bundle], BOARD, tmp_path, "riscv-gcc")
    firmware = Firmware(elf)
    (body,) = [symbol for symbol in firmware.symbols if symbol.name == f"sc_{TAILS[which]}"]
    counted = {}
    for units in (4, 8):
        job = _job(bundle, [(which, units, seed) for seed in range(10)])
        counts = count(emulators_of(BOARD)[-1], elf, BOARD, [job], Watch(()))
        inside = range(body.address, body.address + body.size)
        counted[units] = sum(times for (_, pc), times in counts.instructions.items() if pc in inside) / 10
    assert (counted[8] - counted[4]) / 4 == a_unit
    assert counted[8] - 8 * a_unit <= a_call


def _job(bundle: Bundle, frames: list[tuple[int, int, int]]) -> Job:
    return Job((lane(bundle, np.array(frames, np.int8)),))


def test_assembly_knows_where_fields_lie(tmp_path: Path) -> None:
    require_tool("riscv-gcc")
    lines = ['#include "sc_isa.h"', '#include "sc_rows.h"']
    for path in sorted(OWN.glob("sc_*")):
        for struct, field, offset in re.findall(
            r"^#define ([A-Z]+)_([A-Z_]+) (\d+)\b", path.read_text(), re.MULTILINE
        ):
            if struct in STRUCTS:
                name = f"offsetof({STRUCTS[struct]}, {_member(struct, field)})"
                lines.append(f'_Static_assert({name} == {offset}, "{struct}_{field}");')
    assert len(lines) > 20
    (tmp_path / "offsets.c").write_text("\n".join(lines) + "\n")
    include = [f"-I{folder}" for folder in (OWN, OWN.parent, runtime_dir() / "include")]
    flags = [*CORE.gcc_flags, "-ffreestanding", "-fsyntax-only", *include]
    run_compiler([find_tool("riscv-gcc").path, *flags, "offsets.c"], tmp_path)


def _member(struct: str, field: str) -> str:
    """LSTM_POST_HALF is post.half, but LSTM_INPUT_SHIFT is input_shift."""
    name = field.lower()
    shifts = ("post", "candidate_input", "candidate_recurrent")
    for shift in shifts:
        if name.startswith(f"{shift}_") and struct != "CURSOR":
            return f"{shift}.{name.removeprefix(f'{shift}_')}"
    return name
