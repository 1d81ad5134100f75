"""Writes docs/kernels-measured.md from the benchmarks' rows and the cores' cost tables.

usage: python scripts/bench_tables.py [--from benchmarks]
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from stepcell.lower.block import break_even, preferred_block
from stepcell.target import Core, list_targets, load_core

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "kernels-measured.md"
Row = dict[str, Any]

# Instructions per dense MAC that we set out to reach: 512 x 128 dense (and at a byte a weight), at density
# 0.25 and 0.10, and a whole LSTM(128) with 10 inputs over 49 steps and a dense layer of 12.
GOALS = {
    "cortex-m4": ("0.95", "0.36", "0.19", "1.15"),
    "cortex-m55": ("0.145", "0.073", "0.046", "0.21"),
    "cortex-m3": ("1.35 (2.35)", "0.50", "0.22", "1.65 (2.70)"),
    "cortex-m0plus": ("2.35 (3.3)", "0.82", "0.38", "2.8 (3.8)"),
    "rv32imc": ("2.55 (3.3)", "1.0", "0.42", "2.95 (3.7)"),
}
HEAD = """# Kernels, measured

Exact instruction counts in an emulator, per multiply-accumulate of the dense matrix, so that padding, indices
and calls are in every number. Made by `make bench` and `python scripts/bench_tables.py`; `make bench-diff`
compares a new run with the committed one in `benchmarks/`. What the kernels are: [kernels.md](kernels.md).
"""


def main() -> None:
    """Write the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="folder", type=Path, default=ROOT / "benchmarks")
    folder = parser.parse_args().folder
    kernels = json.loads((folder / "kernels.json").read_text())
    models = json.loads((folder / "models.json").read_text())
    parts = [HEAD, _goals(kernels, models), _models(models), _break_even(), _matrices(kernels)]
    DOCUMENT.write_text("\n".join(parts))


def _goals(kernels: Sequence[Row], models: Sequence[Row]) -> str:
    rows = []
    for name, goals in GOALS.items():
        measured = (
            _both(_dense(kernels, name, optimize) for optimize in ("speed", "size")),
            f"{_fastest(kernels, name, 0.25):.3f}",
            f"{_fastest(kernels, name, 0.10):.3f}",
            _both(_whole(models, name, "lstm", 1.0, optimize) for optimize in ("speed", "size")),
        )
        rows += [[name, *(f"{m} (goal {g})" for m, g in zip(measured, goals, strict=True))]]
    title = "## What we set out to reach\n\n512 x 128 at 8 bits; in brackets with at most a byte a weight.\n"
    head = ["core", "dense", "density 0.25", "density 0.10", "LSTM(128), 10 inputs, T=49, Dense(12), dense"]
    return title + "\n" + _table(head, rows)


def _both(pair: Iterable[float]) -> str:
    speed, size = pair
    return f"{speed:.3f}" if speed == size else f"{speed:.3f} ({size:.3f})"


def _dense(rows: Sequence[Row], core: str, optimize: str) -> float:
    found = [row for row in _large(rows, core, 1.0) if row["format"] == "dense"]
    allowed = [row for row in found if optimize == "speed" or row["bytes_per_nonzero"] < 1.2]
    return float(min(row["instructions_per_mac"] for row in allowed))


def _fastest(rows: Sequence[Row], core: str, density: float) -> float:
    return float(min(row["instructions_per_mac"] for row in _large(rows, core, density)))


def _large(rows: Sequence[Row], core: str, density: float) -> list[Row]:
    return [
        row
        for row in rows
        if (row["core"], row["rows"], row["cols"], row["density"]) == (core, 512, 128, density)
        and row.get("input_bits", 8) == 8
    ]


def _whole(rows: Sequence[Row], core: str, cell: str, density: float, optimize: str) -> float:
    wanted = (core, cell, 10, 128, density, optimize)
    keys = ("core", "cell", "inputs", "hidden", "density", "optimize")
    (row,) = [row for row in rows if tuple(row[key] for key in keys) == wanted]
    return float(row["instructions_per_mac"])


def _models(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        if (row["inputs"], row["hidden"]) != (10, 128):
            continue
        sizes = [f"{row[key]:,}" for key in ("instructions", "flash_bytes", "code_bytes", "ram_bytes")]
        what = f"{row['cell'].upper()}(128)"
        lines.append(
            [row["core"], what, row["density"], row["optimize"], row["instructions_per_mac"], *sizes]
        )
    title = (
        "## Whole models\n\n10 inputs, 49 steps, Dense(12) at the end; pruned in the core's preferred block. "
        "Bytes; flash with tables, RAM with the stack.\n"
    )
    head = ["core", "model", "density", "for", "a MAC", "instructions", "flash", "code", "RAM"]
    return title + "\n" + _table(head, lines)


def _break_even() -> str:
    rows = []
    for core in _own_costs():
        preferred = preferred_block(core)
        for found in break_even(core):
            mark = " (preferred)" if found.format == f"{preferred.rows}x{preferred.cols}" else ""
            shares = (f"{share:.0%}" for share in (found.faster_below, found.smaller_below))
            rows.append([core.name, f"{found.format}{mark}", f"`{found.kernel}`", *shares])
    title = (
        "## Break-even\n\nThe kept fraction of a 512 x 128 matrix below which a format is faster, and "
        "smaller, than the core's fastest dense kernel at a byte a weight, by targets/cores. "
        "The preferred block is what `compile --density` prunes in by default: the smallest within 10 % of "
        "the fastest.\n"
    )
    return title + "\n" + _table(["core", "format", "kernel", "faster below", "smaller below"], rows)


def _own_costs() -> list[Core]:
    return [core for core in list_targets() if core.costs and not core.costs_of and not core.is_host]


def _matrices(rows: Sequence[Row]) -> str:
    parts = ["## Every kernel at 512 x 128\n"]
    for name in dict.fromkeys(row["core"] for row in rows):
        mine = [r for r in rows if (r["core"], r["rows"], r["cols"]) == (name, 512, 128)]
        densities = sorted({row["density"] for row in mine}, reverse=True)
        lines = []
        for kernel in dict.fromkeys(row["kernel"] for row in mine):
            by_density = {row["density"]: row for row in mine if row["kernel"] == kernel}
            form = next(iter(by_density.values()))["format"]
            numbers = [_cell(by_density.get(density)) for density in densities]
            lines.append([form, f"`{kernel}`", *numbers])
        head = ["format", "kernel", *(f"density {density:g}" for density in densities)]
        parts.append(f"### {name}: {load_core(name).description}\n\n{_table(head, lines)}")
    parts.append("Instructions per dense MAC, and flash bytes per nonzero weight.\n")
    return "\n".join(parts)


def _cell(row: Row | None) -> str:
    return "" if row is None else f"{row['instructions_per_mac']:.3f}, {row['bytes_per_nonzero']:.2f} B"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    main()
