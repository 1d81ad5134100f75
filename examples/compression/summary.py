"""The compression benchmark as tables, for a terminal and in Markdown: means and spread over the seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from rich.table import Table

from compression.rows import TRAININGS, Row


class Grid(NamedTuple):
    """A title, the columns' names, and the texts of every line."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def tables(rows: Sequence[Row]) -> list[Table]:
    """For a terminal."""
    return [_table(grid) for grid in grids(rows)]


def markdown(rows: Sequence[Row]) -> str:
    """For a file."""
    parts = ["# Compression, measured by `make bench-compression`\n"]
    for grid in grids(rows):
        lines = [grid.columns, ("---",) * len(grid.columns), *grid.lines]
        parts.append(f"## {grid.title}\n")
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")
    return "\n".join(parts)


def grids(rows: Sequence[Row]) -> list[Grid]:
    """Of every task: accuracies without training by density, what patterns cost, and the other rows."""
    found: list[Grid] = []
    for task in dict.fromkeys(row.task for row in rows):
        own = [row for row in rows if row.task == task]
        swept = [row for row in own if row.training == "none" and row.criterion != "none"]
        rest = sorted((row for row in own if row not in swept), key=lambda row: TRAININGS.index(row.training))
        found += [_accuracies(task, swept), _costs(task, swept)] if swept else []
        found += [_others(task, rest)] if rest else []
    return found


def _accuracies(task: str, rows: Sequence[Row]) -> Grid:
    densities = sorted({row.density for row in rows}, reverse=True)
    by_place = {(row.pattern, row.criterion, row.density): row for row in rows}
    lines = [
        (pattern, criterion, *(_percent(by_place.get((pattern, criterion, d))) for d in densities))
        for pattern, criterion in dict.fromkeys((row.pattern, row.criterion) for row in _sorted(rows))
    ]
    source = next(row for row in rows)
    title = f"{task}, without training: % of test sequences (dense float {_spread(source.accuracy_float)})"
    return Grid(title, ("pattern", "criterion", *(f"kept {d:g}" for d in densities)), tuple(lines))


def _costs(task: str, rows: Sequence[Row]) -> Grid:
    """The largest of all criteria, which differ little."""
    densities = sorted({row.density for row in rows}, reverse=True)
    lines = []
    for pattern in dict.fromkeys(row.pattern for row in rows):
        cells = [[r for r in rows if (r.pattern, r.density) == (pattern, density)] for density in densities]
        lines.append((pattern, *(_cost(cell) for cell in cells)))
    title = f"{task}: bytes of weights, and instructions of a step on a Cortex-M4"
    return Grid(title, ("pattern", *(f"kept {d:g}" for d in densities)), tuple(lines))


def _others(task: str, rows: Sequence[Row]) -> Grid:
    columns = ("training", "criterion", "pattern", "kept", "bits", "float %", "integers %", "lost", "agree %")
    lines = [
        (
            row.training,
            row.criterion,
            row.pattern,
            f"{row.density:g}",
            str(row.bits),
            _spread(row.accuracy_float),
            _spread(row.accuracy),
            f"{100 * (statistics.mean(row.accuracy_float) - statistics.mean(row.accuracy)):.2f}",
            _spread(row.label_agreement),
            f"{row.weight_bytes:,}",
            f"{row.instructions_per_step_m4:,}",
        )
        for row in rows
    ]
    return Grid(f"{task}, dense and trained", (*columns, "bytes", "instructions"), tuple(lines))


def _sorted(rows: Sequence[Row]) -> list[Row]:
    patterns = list(dict.fromkeys(row.pattern for row in rows))
    return sorted(rows, key=lambda row: patterns.index(row.pattern))


def _percent(row: Row | None) -> str:
    return "" if row is None else _spread(row.accuracy)


def _spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over the seeds, in percent."""
    mean = f"{100 * statistics.mean(values):.1f}"
    return f"{mean} ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else mean


def _cost(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    return f"{max(r.weight_bytes for r in rows):,}; {max(r.instructions_per_step_m4 for r in rows):,}"


def _table(grid: Grid) -> Table:
    table = Table(title=grid.title)
    for name in grid.columns:
        table.add_column(name, justify="left" if name in ("training", "criterion", "pattern") else "right")
    for line in grid.lines:
        table.add_row(*line)
    return table
