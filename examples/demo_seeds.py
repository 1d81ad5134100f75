"""How much the demo's accuracy owes to its seed: the same training, pruning and chip, for several seeds.

    python examples/demo_seeds.py [--cell lstm] [--seeds 5]

writes build/demo/seeds.json (seeds_lstm.json with --cell lstm).
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from demo import BLOCK, CHIP, DENSITY, RETRAINING_EPOCHS, TARGET, networks, sequences
from japanese_vowels.data import load
from japanese_vowels.train import EPOCHS
from sequences.cache import REPOSITORY
from sequences.model import CellName
from stepcell.pipeline import Options, compile_model
from stepcell.validate import validate


@dataclass(frozen=True)
class SeedResult:
    """Accuracies are 0-1 of the 370 test sequences; the chip runs the pruned int8 C."""

    seed: int
    accuracy_source: float
    accuracy_float: float
    accuracy_chip: float
    label_agreement: float
    mismatches: int

    @property
    def points(self) -> float:
        """Percentage points that the chip is better than the float source (usually negative)."""
        return 100 * (self.accuracy_chip - self.accuracy_source)


def run_seed(cell: CellName, seed: int, folder: Path, bar: Progress) -> SeedResult:
    """Train, prune, compile, and run every test sequence on the emulated chip."""
    torch.set_num_threads(1)
    task = bar.add_task(f"{cell.upper()}-32, seed {seed}", total=EPOCHS + RETRAINING_EPOCHS)
    trained = networks(cell, seed, folder, lambda: bar.advance(task), lambda: bar.advance(task))
    data, test = (sequences(part) for part in load())
    compile_model(trained.sparse, trained.original, data, folder / "sparse", Options(target=TARGET))
    found = validate(folder / "sparse", test, (CHIP,))
    return SeedResult(
        seed,
        found.accuracy_source or 0.0,
        found.accuracy_float or 0.0,
        found.accuracy_c[CHIP] or 0.0,
        found.label_agreement,
        found.mismatches,
    )


def median_points(results: list[SeedResult]) -> float:
    """The median over the seeds of what the chip loses or gains."""
    return statistics.median(result.points for result in results)


def seeds_table(cell: CellName, results: list[SeedResult]) -> Table:
    """One line a seed."""
    table = Table(
        title=f"JapaneseVowels {cell.upper()}-32, {DENSITY:.0%} in {BLOCK} blocks", title_justify="left"
    )
    columns = (
        "seed",
        "float source",
        "pruned float",
        "int8 on the chip",
        "points",
        "labels kept",
        "mismatches",
    )
    for name in columns:
        table.add_column(name, justify="right")
    for r in results:
        shares = (f"{share:.2%}" for share in (r.accuracy_source, r.accuracy_float, r.accuracy_chip))
        table.add_row(f"{r.seed}", *shares, f"{r.points:+.2f}", f"{r.label_agreement:.2%}", f"{r.mismatches}")
    table.caption = f"median {median_points(results):+.2f} points"
    return table


def to_json(results: list[SeedResult]) -> dict[str, Any]:
    """The contents of seeds.json."""
    rows = [{**asdict(result), "points": round(result.points, 3)} for result in results]
    return {"median_points": round(median_points(results), 3), "seeds": rows}


def main() -> None:
    """Run the seeds, print the table, write the file."""
    parser = argparse.ArgumentParser(description="The demo's accuracy over several seeds.")
    parser.add_argument("--cell", choices=["gru", "lstm"], default="gru")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    console, folder = Console(), REPOSITORY / "build" / "demo"
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console) as bar:
        results = [
            run_seed(arguments.cell, seed, folder / f"{arguments.cell}_seed_{seed}", bar)
            for seed in range(arguments.seeds)
        ]
    console.print(seeds_table(arguments.cell, results))
    name = "seeds.json" if arguments.cell == "gru" else f"seeds_{arguments.cell}.json"
    (folder / name).write_text(json.dumps(to_json(results), indent=2) + "\n")


if __name__ == "__main__":
    main()
