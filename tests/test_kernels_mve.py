"""Helium's kernels: packing, layers and gate tails, offsets, and how many instructions they take."""

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
from stepcell.lower.kernels import Kernel, mve
from stepcell.paths import runtime_dir
from stepcell.run import Job, lane
from stepcell.run.counts import Watch
from stepcell.run.emulators import count, emulator, emulators_of
from stepcell.target import load_board, load_core
from tools import require_tool

BOARD = load_board("mps3-an547")
CORE = load_core(BOARD.core)
COMPILERS = firmware_compilers(CORE)
DENSE, BLOCKS, WIDE = mve.KERNELS
KERNELS = {kernel.name: kernel for kernel in mve.KERNELS}
SOURCES = runtime_dir() / "src"
OWN = SOURCES / "mve"
FUNCTIONS = ("lstm", "lstm_tail", "gru", "gru_tail", "dense", "dense_tail", "view_s8")
ANY_LSTM, EVERY_LSTM, ANY_GRU, EVERY_GRU, ANY_DENSE, ANY_VIEW = range(6)  # in mve_layers.c
STRUCTS = {
    "LAYER": "sc_lstm_layer",
    "GRU": "sc_gru_layer",
    "DENSE": "sc_dense_layer",
    "PASS": "sc_pass",
    "AT": "sc_cursor",
}


def matrix(kernel: Kernel, rows: int, cols: int, density: float = 1, pass_rows: int = 0) -> KernelCase:
    """A matrix whose blocks are kept at random, exactly so many."""
    rng = np.random.default_rng(rows + cols)
    width = 16 if kernel is BLOCKS else 1
    groups, positions = -(-rows // kernel.rows), -(-cols // width)
    kept = rng.permutation(groups * positions) < round(density * groups * positions)
    mask = kept.reshape(groups, positions).repeat(kernel.rows, 0)[:rows].repeat(width, 1)[:, :cols]
    weights = rng.choice([-127, 127], (rows, cols)) * mask
    limit = 1 << (kernel.input_bits - 1)
    starts, x = rng.integers(-(2**20), 2**20, rows), rng.integers(-limit, limit, cols)
    return KernelCase(kernel, weights, starts, x, pass_rows)


@pytest.mark.parametrize(("kernel", "tile_cols"), [(DENSE, 16), (WIDE, 8)])
def test_a_tile_is_a_vector_of_each_row(kernel: Kernel, tile_cols: int) -> None:
    weights = np.random.default_rng(0).integers(-127, 128, (16, 40))
    packed = kernel.pack(weights, np.arange(16))
    tiles = packed.words.view(np.int8).reshape(2, 48 // tile_cols, 8, tile_cols)
    rows = tiles.transpose(0, 2, 1, 3).reshape(16, 48)
    assert np.array_equal(rows[:, :40], weights)
    assert not rows[:, 40:].any()
    assert (packed.start.tolist(), packed.stride, packed.items) == (list(range(16)), 8, 96 // tile_cols)


def test_only_blocks_with_weights_are_stored() -> None:
    weights = np.zeros((8, 40), np.int64)
    weights[1, 17] = weights[6, 39] = weights[7, 0] = 3
    packed = BLOCKS.pack(weights, np.zeros(8, np.int64))
    assert packed.columns is not None
    assert packed.columns.tolist() == [1, 1, 2, 0, 2]
    stored = packed.words.view(np.int8).reshape(3, 4, 16)
    assert np.argwhere(stored).tolist() == [[0, 1, 1], [1, 3, 0], [2, 2, 7]]
    assert (packed.stride, len(packed.start), packed.items) == (0, 4, 3)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    require_tool("gcc", "cffi")
    return Runtime(tmp_path_factory.mktemp("runtime"), "gcc")


@pytest.mark.parametrize("name", KERNELS)
def test_portable_kernels_compute_what_numpy_does(runtime: Runtime, name: str) -> None:
    rng = np.random.default_rng(2)
    kernel = KERNELS[name]
    for _ in range(40):
        rows, cols = int(rng.integers(1, 40)), int(rng.choice([rng.integers(1, 40), rng.integers(1, 5000)]))
        if kernel is WIDE:
            cols %= 500
        one = matrix(kernel, rows, cols, 0.3 if kernel is BLOCKS else 1)
        assert np.array_equal(runtime.multiply(one.kernel, one.weights, one.starts, one.x), one.expected)
    for sign in (-1, 1):
        weights, x = np.full((16, 300), 127 * sign), np.full(300, -(1 << (kernel.input_bits - 1)))
        assert np.array_equal(runtime.multiply(kernel, weights, np.zeros(16, np.int64), x), weights @ x)


@pytest.mark.parametrize(
    ("name", "shape", "density", "pass_rows", "instructions"),
    [
        ("dense", (512, 128), 1, 0, 9_108),
        ("dense", (512, 128), 1, 32, 9_408),
        ("dense", (32, 128), 1, 0, 588),
        ("dense", (32, 10), 1, 0, 112),
        ("dense", (8, 10), 1, 0, 43),
        ("dense", (32, 256), 1, 0, 1_132),
        ("dense", (32, 272), 1, 0, 1_337),
        ("dense", (16, 1000), 1, 0, 2_317),
        ("4x16", (512, 128), 0.25, 0, 3_981),
        ("4x16", (512, 128), 0.25, 32, 4_176),
        ("4x16", (512, 128), 0.1, 0, 2_133),
        ("4x16", (512, 128), 0.05, 0, 1_521),
        ("4x16", (16, 8163), 0.05, 4, 1_380),
        ("dense_s16", (512, 128), 1, 0, 18_895),
        ("dense_s16", (8, 128), 1, 0, 310),
        ("dense_s16", (32, 10), 1, 0, 187),
    ],
)
def test_kernels_take_no_more_instructions(
    tmp_path: Path, name: str, shape: tuple[int, int], density: float, pass_rows: int, instructions: int
) -> None:
    require_tool("arm-gcc", "elftools", BOARD.qemu)
    one = matrix(KERNELS[f"sc_matvec_mve_{name}"], *shape, density, pass_rows)
    (result,) = run_kernels(BOARD.name, [one], tmp_path, "arm-gcc")
    assert np.array_equal(result.acc, one.expected)
    assert 0.99 * instructions < result.instructions <= instructions


def layers_bundle(folder: Path) -> Bundle:
    """A model whose steps compare the core's functions with the portable ones."""
    (folder / "stepcell" / "mve").mkdir(parents=True)
    for path in (runtime_dir() / "include" / "stepcell.h", *SOURCES.glob("*.[ch]"), OWN / "sc_isa.h"):
        shutil.copy(path, folder / "stepcell")
    for path in OWN.glob("sc_*"):
        shutil.copy(path, folder / "stepcell" / "mve")
    (folder / "portable.h").write_text(
        "#define SC_ISA_H\n#define SC_PASS 8\n"
        + "".join(f"#define sc_{name} portable_{name}\n" for name in FUNCTIONS)
    )
    sources = ["mve_layers.c", "stepcell/sc_sigmoid_table.c"]
    for name in FUNCTIONS:
        (folder / f"portable_{name}.c").write_text(
            f'#include "portable.h"\n#include "stepcell/sc_{name}.c"\n'
        )
        sources += [f"portable_{name}.c", f"stepcell/sc_{name}.c"]
    sources += [f"stepcell/mve/{path.name}" for path in OWN.glob("*.S") if "matvec" not in path.name]
    shutil.copy(Path(__file__).with_name("mve_layers.c"), folder)
    (folder / "layers.h").write_text(
        "#include <stdint.h>\ntypedef struct layers_state {\n    uint32_t seed;\n} layers_state;\n"
        "void layers_init(layers_state *state);\nint layers_selftest(void);\n"
        "void layers_step(layers_state *state, const int8_t *x, int32_t *wrong);\n"
    )
    manifest = {
        "name": "layers",
        "target": CORE.name,
        "sources": sources,
        "include_dirs": [".", "stepcell"],
        "inputs": [{"name": "x", "dtype": "int8", "count": 5}],
        "outputs": [{"name": "wrong", "dtype": "int32", "count": 1}],
        "state": {"bytes": 4, "fields": [{"name": "seed", "dtype": "int32", "count": 1, "offset": 0}]},
        "calls": [],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return load_bundle(folder)


def layers_job(bundle: Bundle, frames: list[tuple[int, int, int, int, int]]) -> Job:
    """Steps of {which, units, cell_bits, seed, cases}."""
    return Job((lane(bundle, np.array(frames, np.int8)),))


@pytest.mark.parametrize("compiler", COMPILERS)
def test_layers_compute_what_the_portable_ones_do(tmp_path: Path, compiler: str) -> None:
    require_tool(compiler, "elftools", BOARD.qemu)
    bundle = layers_bundle(tmp_path / "bundle")
    elf = build_firmware([bundle], BOARD, tmp_path, compiler)
    sizes = (*range(1, 21), 36)
    frames = [(ANY_LSTM, units, bits, units + bits, 40) for units in sizes for bits in range(16)]
    frames += [(which, units, 0, units, 100) for which in (ANY_GRU, ANY_DENSE, ANY_VIEW) for units in sizes]
    frames += [(EVERY_LSTM, units, bits, bits, 1) for units, bits in ((32, 11), (32, 15), (31, 5), (3, 0))]
    frames += [(EVERY_GRU, units, 0, units, 1) for units in (32, 13, 3)]
    ((answers,),) = emulator(emulators_of(BOARD)[-1], elf, BOARD)([layers_job(bundle, frames)])
    assert not answers.outputs["wrong"].any()


@pytest.mark.parametrize(
    ("function", "which", "units", "instructions"),
    [
        ("lstm", ANY_LSTM, 8, 190),
        ("lstm", ANY_LSTM, 32, 622),
        ("lstm", ANY_LSTM, 12, 349),
        ("gru", ANY_GRU, 8, 168),
        ("gru", ANY_GRU, 32, 540),
        ("dense_tail", ANY_DENSE, 8, 29),
        ("view_s8", ANY_VIEW, 32, 23),
    ],
)
def test_functions_take_no_more_instructions(
    tmp_path: Path, function: str, which: int, units: int, instructions: int
) -> None:
    require_tool("arm-gcc", "elftools", BOARD.qemu)
    bundle = layers_bundle(tmp_path / "bundle")
    elf = build_firmware([bundle], BOARD, tmp_path, "arm-gcc")
    (body,) = [symbol for symbol in Firmware(elf).symbols if symbol.name == f"sc_{function}"]
    counts = count(
        emulators_of(BOARD)[-1], elf, BOARD, [layers_job(bundle, [(which, units, 12, 1, 1)])], Watch(())
    )
    inside = range(body.address, body.address + body.size)
    assert sum(times for (_, pc), times in counts.instructions.items() if pc in inside) == instructions


def test_assembly_knows_where_fields_lie(tmp_path: Path) -> None:
    require_tool("arm-gcc")
    lines = ['#include "sc_isa.h"', '#include "sc_rows.h"']
    for path in sorted(OWN.glob("sc_*")):
        for struct, field, offset in re.findall(
            r"^ +\.equ ([A-Z]+)_([A-Z_]+), (\d+)\b", path.read_text(), re.MULTILINE
        ):
            if struct in STRUCTS and (struct, field) != ("PASS", "MULTIPLIERS"):
                name = f"offsetof({STRUCTS[struct]}, {_member(field)})"
                lines.append(f'_Static_assert({name} == {offset}, "{struct}_{field}");')
    assert len(lines) > 20
    (tmp_path / "offsets.c").write_text("\n".join(lines) + "\n")
    include = [f"-I{folder}" for folder in (OWN, SOURCES, runtime_dir() / "include")]
    flags = [*CORE.gcc_flags, "-ffreestanding", "-fsyntax-only", *include]
    run_compiler([find_tool("arm-gcc").path, *flags, "offsets.c"], tmp_path)


def _member(field: str) -> str:
    """GRU_POST_SHIFT is post.shift, but GRU_INPUT_SHIFT is input_shift."""
    name = field.lower()
    for shift in ("post", "candidate_input", "candidate_recurrent"):
        if name == f"{shift}_shift":
            return f"{shift}.shift"
    return name
