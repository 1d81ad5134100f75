"""Measures what every runtime function costs on a core, and writes it into targets/cores/<core>.toml.

usage: python scripts/measure_costs.py cortex-m4 [cortex-m0plus ...] [--check]

Random models, every matrix kernel forced on a third of them, are compiled with arm-none-eabi-gcc -O2 and
every call of a step is counted exactly in Unicorn; an affine model of each function is fitted to the counts.
Frames come from -fstack-usage: the larger of arm-none-eabi-gcc's and zig's.
--check fails if the tables in the repository are not what is measured now.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from random_bundles import preferring
from random_models import random_qmodel
from stepcell.build import Bundle, build_firmware, find_tool, load_bundle
from stepcell.build.firmware import FIRMWARE_COMPILERS
from stepcell.build.flags import command, firmware_flags
from stepcell.emit import emit
from stepcell.lower import lower
from stepcell.lower.estimate import GLUE
from stepcell.lower.plan import Plan, Work
from stepcell.paths import runtime_dir, targets_dir
from stepcell.run import profile_step
from stepcell.target import Board, Core, board_for, load_core

MODELS = 160
GLUE_STACK = 112  # what step, push and read save, pass and spill; tests/test_lower_estimate.py checks the sum
MARKER = "# Measured by scripts/measure_costs.py"
Row = tuple[Work, int]


def main(arguments: Sequence[str]) -> int:
    """Measure the named cores; 1 if --check finds another table than the stored one."""
    stale = 0
    for name in (a for a in arguments if not a.startswith("-")):
        path = targets_dir() / "cores" / f"{name}.toml"
        stored = path.read_text()
        fresh = stored[: stored.index(MARKER)] + measure(load_core(name))
        if "--check" in arguments:
            stale |= fresh != stored
            print(f"{name}: {'other costs than stored' if fresh != stored else 'as stored'}")
        else:
            path.write_text(fresh)
    return stale


def measure(core: Core) -> str:
    """The [costs] tables of a core as TOML text."""
    with tempfile.TemporaryDirectory() as folder:
        rows = _count(core, Path(folder))
        frames = _frames(core, Path(folder))
    keys = sorted({(function, what) for work, _ in rows for function, what, _ in work})
    costs = dict(zip(keys, _fit(rows, keys), strict=True))
    lines = [
        f"{MARKER}: instructions per call, row group and item; bytes of stack frame. arm-none-eabi-gcc -O2."
    ]
    for function in sorted({function for function, _ in keys} | set(frames)):
        values = {what: cost for (f, what), cost in costs.items() if f == function}
        if function in frames:
            values["stack"] = frames[function]
        if len(values) > ("stack" in values):
            lines += [f"[costs.{function}]", *(f"{what} = {cost:g}" for what, cost in values.items())]
    return "\n".join(lines) + "\n"


def _count(core: Core, folder: Path) -> list[Row]:
    board = board_for(core)
    plans = _plans(core)
    for plan in plans:
        emit(plan, folder / plan.name, {}, {})
    rows: list[Row] = []
    for start in range(0, len(plans), 40):
        part = plans[start : start + 40]
        bundles = [load_bundle(folder / plan.name) for plan in part]
        elf = build_firmware(bundles, board, folder / f"image{start}", "arm-gcc")
        for plan, bundle in zip(part, bundles, strict=True):
            rows += _rows(plan, elf, board, bundle)
    return rows


def _rows(plan: Plan, elf: Path, board: Board, bundle: Bundle) -> list[Row]:
    profile = profile_step(elf, bundle, board, "unicorn", 1)
    *layers, glue = profile.layers
    rows = [(call.work, layer.instructions) for call, layer in zip(plan.calls, layers, strict=True)]
    functions = 1 if plan.read is None else 2
    return [*rows, (((GLUE, "function", functions), (GLUE, "call", len(plan.calls))), glue.instructions)]


def _plans(core: Core) -> list[Plan]:
    plans = []
    for seed in range(MODELS):
        rng = np.random.default_rng(seed)
        qmodel, _ = random_qmodel(rng, activations=("int8", "int16")[seed % 2], max_units=48)
        kernel = ("dense", "4x1", "4x2")[seed % 3]
        plans.append(lower(replace(qmodel, name=f"m{seed}"), preferring(core, kernel)))
    return plans


def _fit(rows: list[Row], keys: list[tuple[str, str]]) -> list[float]:
    """Least squares of relative errors, to three digits."""
    matrix = np.zeros((len(rows), len(keys)))
    for i, (work, _) in enumerate(rows):
        for function, what, count in work:
            matrix[i, keys.index((function, what))] += count
    counts = np.array([count for _, count in rows], np.float64)
    solution, *_ = np.linalg.lstsq(matrix / counts[:, None], np.ones(len(rows)), rcond=None)
    error = np.abs(matrix @ solution / counts - 1)
    print(
        f"{len(rows)} calls, relative error {error.mean():.2%} on average, {error.max():.1%} at most",
        file=sys.stderr,
    )
    return [float(f"{value:.3g}") for value in solution]


def _frames(core: Core, folder: Path) -> dict[str, int]:
    """Stack frame of every runtime function, by the compilers' own account."""
    frames = {GLUE: GLUE_STACK}
    for compiler in FIRMWARE_COMPILERS:
        tool = find_tool(compiler)
        build = [*command(tool), *firmware_flags(tool, core, "-O2"), "-std=c99", "-fstack-usage"]
        for source in sorted((runtime_dir() / "src").glob("*.c")):
            include = f"-I{runtime_dir() / 'include'}"
            subprocess.run([*build, include, "-c", str(source), "-o", "unit.o"], cwd=folder, check=True)
            for line in (folder / "unit.su").read_text().splitlines():
                where, size, _ = line.split("\t")
                name = where.rsplit(":", 1)[-1]
                frames[name] = max(frames.get(name, 0), int(size))
    return {name: size for name, size in frames.items() if name.startswith("sc_") or name == GLUE}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
