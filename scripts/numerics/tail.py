"""What a step costs beside its matrices: instructions of one unit, counted exactly in the emulator.

Bundles of one layer with 32 and 64 units are built and run. What the layer's function executes besides the
matrix kernels (start of the accumulators, requantization, gates, states, and the compiler's memset where it
makes one of that start) grows by so much a unit; so does the int8 view of the state.
"""

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from numerics.build import CELLS, network
from stepcell.build import Bundle, build_firmware, load_bundle
from stepcell.build.elf import Firmware
from stepcell.emit import emit
from stepcell.ir.sequences import Sequences
from stepcell.lower import lower
from stepcell.quantize import quantize
from stepcell.run import Job, lane
from stepcell.run.counts import Watch
from stepcell.run.jobs import Lane
from stepcell.run.unicorn_machine import count_unicorn
from stepcell.target import Board, board_for, load_core

CORES = ("cortex-m4", "cortex-m0plus")
COMPILERS = ("arm-gcc", "zig")
INPUTS = 12
SIZES = (32, 64)
STEPS = 8
Key = tuple[str, str, str]
"""core, compiler, cell"""
Tail = tuple[float, float, float]


def measure_tails() -> dict[Key, Tail]:
    """Instructions a unit: of the layer's function, of a memset in it, of the state's int8 view."""
    with tempfile.TemporaryDirectory() as folder:
        return {
            (core, compiler, cell): tail
            for core in CORES
            for compiler in COMPILERS
            for cell, tail in _tails(Path(folder) / core / compiler, core, compiler).items()
        }


def _tails(folder: Path, core: str, compiler: str) -> dict[str, Tail]:
    board = board_for(load_core(core))
    bundles = {(cell, units): _bundle(folder, cell, units, core) for cell in CELLS for units in SIZES}
    elf = build_firmware(list(bundles.values()), board, folder / "image", compiler)
    counts = {key: _count(elf, bundle, board) for key, bundle in bundles.items()}
    return {cell: _tail(counts[cell, SIZES[0]], counts[cell, SIZES[1]]) for cell in CELLS}


def _tail(small: Counter[str], large: Counter[str]) -> Tail:
    more = {name: (large[name] - small[name]) / (SIZES[1] - SIZES[0]) / STEPS for name in large}
    others = ("sc_matvec", "sc_view", *CELLS)  # the generated functions are named after the cell
    inner = sum(per_unit for name, per_unit in more.items() if not name.startswith(others))
    view = sum(per_unit for name, per_unit in more.items() if name.startswith("sc_view"))
    return inner, sum(per_unit for name, per_unit in more.items() if "memset" in name), view


def _bundle(folder: Path, cell: str, units: int, core: str) -> Bundle:
    name = f"{cell}{units}"
    model = network(cell, 1, units, 4, np.ones(INPUTS), seed=0)
    data = Sequences(np.random.default_rng(0).normal(size=(8, 20, INPUTS)), np.full(8, 20))
    qmodel = replace(quantize(model, data), name=name)
    plan = lower(qmodel, load_core(core))
    emit(plan, folder / name, {}, {})
    return load_bundle(folder / name)


def _count(elf: Path, bundle: Bundle, board: Board) -> Counter[str]:
    """Instructions by function of STEPS steps: of twice as many, less those of the first half."""
    frames = np.random.default_rng(1).integers(-127, 128, (2 * STEPS, INPUTS))
    long, short = (_count_job(elf, lane(bundle, frames[:n]), board) for n in (2 * STEPS, STEPS))
    return Counter({name: long[name] - short[name] for name in long})


def _count_job(elf: Path, frames: Lane, board: Board) -> Counter[str]:
    counts = count_unicorn(elf, load_core(board.core), [Job((frames,))], Watch(()))
    firmware = Firmware(elf)
    found: Counter[str] = Counter()
    for (_, address), times in counts.instructions.items():
        if firmware.in_section(address, ".model_text", ".library"):
            found[firmware.function_at(address)] += times
    return found
