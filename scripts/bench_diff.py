"""What changed between the committed measurements (benchmarks/*.json) and those of `make bench`.

usage: python scripts/bench_diff.py [--old benchmarks] [--new build/bench]

Prints every row that differs. Fails where an instruction count rose by more than 1 %, or where a row is gone
of a core that was measured: rows of other cores are not missed.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
KEYS = {
    "kernels": ("core", "kernel", "density", "rows", "cols"),
    "models": ("core", "optimize", "cell", "inputs", "hidden", "density"),
}
RISE = 1.01
Key = tuple[Any, ...]
Row = Mapping[str, Any]


def main() -> int:
    """Compare every file that was measured now; 1 if something got worse."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--old", type=Path, default=ROOT / "benchmarks", help="the folder of committed files")
    parser.add_argument("--new", type=Path, default=ROOT / "build" / "bench", help="the folder of new ones")
    arguments = parser.parse_args()
    measured = [name for name in KEYS if (arguments.new / f"{name}.json").is_file()]
    if not measured:
        print(f"{arguments.new} holds no measurements: run `make bench` first.", file=sys.stderr)
        return 1
    worse = 0
    for name in measured:
        old, new = (read(folder / f"{name}.json", KEYS[name]) for folder in (arguments.old, arguments.new))
        worse += compare(name, old, new)
    return 1 if worse else 0


def read(path: Path, keys: tuple[str, ...]) -> dict[Key, Row]:
    """The rows of a file by what they measure; none where there is no file."""
    rows = json.loads(path.read_text()) if path.is_file() else []
    return {tuple(row[key] for key in keys): row for row in rows}


def compare(name: str, old: Mapping[Key, Row], new: Mapping[Key, Row]) -> int:
    """Print what differs; how many rows got worse."""
    cores = {key[0] for key in new}
    gone = [key for key in old if key not in new and key[0] in cores]
    table = Table("row", "measure", "old", "new", "new / old", title=name, title_justify="left")
    worse = 0
    for key in (key for key in new if key in old):
        for measure, before, after in changes(old[key], new[key]):
            is_worse = measure == "instructions" and after > RISE * before
            worse += is_worse
            ratio = f"{after / before:.3f}" if before else ""
            style = "red" if is_worse else ""
            table.add_row(_label(key), measure, f"{before:,}", f"{after:,}", ratio, style=style)
    for key in gone:
        table.add_row(_label(key), "", "", "gone", "", style="red")
    console = Console(width=None if sys.stdout.isatty() else 160)
    if table.row_count:
        console.print(table)
    fresh = sum(key not in old for key in new)
    shared = len(new) - fresh
    console.print(f"{name}: {shared} rows compared, {fresh} new, {len(gone)} gone, {worse} worse by over 1 %")
    return worse + len(gone)


def changes(old: Row, new: Row) -> Iterator[tuple[str, float, float]]:
    """(measure, old, new) of every number that differs; of cycles the estimate."""
    for measure in new:
        before, after = _number(old.get(measure)), _number(new[measure])
        if measure != "instructions_per_mac" and None not in (before, after) and before != after:
            yield measure, before, after


def _number(value: Any) -> Any:
    """A number, or the middle one of [low, estimate, high]; None of anything else."""
    if isinstance(value, list) and len(value) == 3:
        return value[1]
    return value if isinstance(value, int | float) else None


def _label(key: Key) -> str:
    return " ".join(map(str, key))


if __name__ == "__main__":
    sys.exit(main())
