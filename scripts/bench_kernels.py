"""What every matrix kernel of every core costs: build/bench/kernels.json and Markdown tables beside it.

usage: python scripts/bench_kernels.py [--core cortex-m4 ...] [--compiler zig]

Instructions are counted exactly, from a kernel's first to its return, and its answers compared with numpy's.
Weights are Gaussian, pruned over the whole matrix by the magnitude of the kernel's blocks, and quantized by
rows. A MAC is a weight of the matrix as it was before pruning and padding. Bytes are those of all tables,
starts of accumulators and positions of blocks included, for each weight that pruning kept.
"""

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from kernel_images import KernelCase, KernelResult, fits_board, fits_kernel, run_kernels
from stepcell.lower.kernels import Kernel, kernels_of
from stepcell.run.emulators import COUNTING, emulators_of
from stepcell.target import Core, board_for, list_targets

SHAPES = ((512, 128), (384, 128), (128, 32), (130, 77))
DENSITIES = (1.0, 0.5, 0.25, 0.10, 0.05)
BUILD = Path(__file__).parent.parent / "build" / "bench"
Row = dict[str, Any]


def main() -> None:
    """Measure, and write the two files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--core", action="append", help="measure this core; again for more")
    parser.add_argument("--compiler", help="zig, or the core's GCC; by default the first that is installed")
    parser.add_argument("--output", type=Path, default=BUILD / "kernels.json")
    arguments = parser.parse_args()
    cores = [core for core in list_targets() if not core.is_host and _counts(core)]
    wanted = [core for core in cores if not arguments.core or core.name in arguments.core]
    rows: list[Row] = []
    with _progress() as progress:
        task = progress.add_task("", total=sum(len(kernels_of(core)) for core in wanted))
        for core in wanted:
            for kernel in kernels_of(core):
                progress.update(task, description=f"{core.name} {kernel.name}")
                rows += measure(core, kernel, arguments.compiler)
                progress.advance(task)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(map(json.dumps, rows))  # a line a row: changes show as the lines they change
    arguments.output.write_text(f"[\n{lines}\n]\n")
    arguments.output.with_suffix(".md").write_text(tables(rows))


def _progress() -> Progress:
    bar = (TextColumn("{task.description:44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*bar)


def _counts(core: Core) -> bool:
    return any(name in COUNTING for name in emulators_of(board_for(core)))


def measure(core: Core, kernel: Kernel, compiler: str | None) -> list[Row]:
    """A row for each shape and density that the kernel is exact for and the board has room for."""
    board = board_for(core)
    densities = DENSITIES if _block(kernel) else (1.0,)
    cases = [(density, make_case(kernel, shape, density)) for shape in SHAPES for density in densities]
    kept = [(d, c) for d, c in cases if fits_kernel(c) and fits_board(c, board)]
    with tempfile.TemporaryDirectory() as folder:
        results = run_kernels(board.name, [case for _, case in kept], Path(folder), compiler, cycles=True)
    return [_row(core, density, case, result) for (density, case), result in zip(kept, results, strict=True)]


def make_case(kernel: Kernel, shape: tuple[int, int], density: float) -> KernelCase:
    """The same float weights for every kernel of a shape; starts and x as ordinary networks have them."""
    rng = np.random.default_rng(shape)
    floats, limit = rng.standard_normal(shape), 1 << (kernel.input_bits - 1)
    starts, x = rng.integers(-5000, 5001, shape[0]), rng.integers(-limit, limit, shape[1])
    if density < 1.0:
        floats = pruned(floats, _block(kernel), density)
    peaks = np.maximum(np.abs(floats).max(axis=1, keepdims=True), 1e-9)
    weights = np.round(floats / peaks * kernel.weight_limit)
    weights += (weights == 0) * np.sign(floats)  # a weight that is kept stays one
    return KernelCase(kernel, weights.astype(np.int64), starts, x)


def pruned(weights: np.ndarray[Any, Any], block: tuple[int, int], density: float) -> np.ndarray[Any, Any]:
    """Zeros but for the blocks with the highest mean magnitude; blocks at the edges may be smaller."""
    rows, cols = weights.shape
    high, wide = -(-rows // block[0]), -(-cols // block[1])
    number = (np.arange(rows) // block[0])[:, None] * wide + np.arange(cols) // block[1]
    means = np.bincount(number.ravel(), np.abs(weights).ravel()) / np.bincount(number.ravel())
    best = np.argsort(-means, kind="stable")[: max(1, round(density * high * wide))]
    return np.where(np.isin(number, best), weights, 0.0)


def _block(kernel: Kernel) -> tuple[int, int] | None:
    """(rows, columns) of a block, None of a dense kernel."""
    match = re.search(r"(\d+)x(\d+)", kernel.format)
    return (int(match[1]), int(match[2])) if match else None


def _row(core: Core, density: float, case: KernelCase, result: KernelResult) -> Row:
    rows, cols = case.weights.shape
    name = case.kernel.name
    assert np.array_equal(result.acc, case.expected), f"{name} {rows}x{cols} on {core.name} is wrong"
    cycles = result.cycles
    return {
        "core": core.name,
        "kernel": name,
        "format": case.kernel.format,
        "density": density,
        "rows": rows,
        "cols": cols,
        "instructions": result.instructions,
        "instructions_per_mac": round(result.instructions / case.weights.size, 4),
        "bytes_per_nonzero": round(result.table_bytes / np.count_nonzero(case.weights), 3),
        "cycles": None if cycles is None else [cycles.low, cycles.estimate, cycles.high],
        "exact": True,
    }


def tables(rows: Iterable[Row]) -> str:
    """Markdown: a table for each core and shape, a line for each kernel, a column for each density."""
    found = list(rows)
    cores = dict.fromkeys(row["core"] for row in found)
    return "\n".join(text for core in cores for text in _core_tables([r for r in found if r["core"] == core]))


def _core_tables(rows: list[Row]) -> Iterator[str]:
    yield f"## {rows[0]['core']}\n"
    for shape in dict.fromkeys((row["rows"], row["cols"]) for row in rows):
        part = [row for row in rows if (row["rows"], row["cols"]) == shape]
        yield f"Instructions per MAC at {shape[0]}x{shape[1]}, by the weights kept (bytes per kept weight)\n"
        yield "| kernel | format | " + " | ".join(f"{density:.0%}" for density in DENSITIES) + " |"
        yield "|---|---|" + "---:|" * len(DENSITIES)
        for kernel in dict.fromkeys(row["kernel"] for row in part):
            of_kernel = {row["density"]: row for row in part if row["kernel"] == kernel}
            cells = [_cell(of_kernel.get(density)) for density in DENSITIES]
            form = next(iter(of_kernel.values()))["format"]
            yield f"| {kernel} | {form} | {' | '.join(cells)} |"
        yield ""


def _cell(row: Row | None) -> str:
    return "" if row is None else f"{row['instructions_per_mac']:.3f} ({row['bytes_per_nonzero']:.2f})"


if __name__ == "__main__":
    main()
