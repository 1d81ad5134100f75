"""Damages model files in many ways and imports each: no crash, no hang, no memory, no file outside.

    python scripts/fuzz_importers.py --cases 20000

prints how the imports ended and stores it in build/bench/fuzz.json; exit code 1 if anything but a Model
or a StepcellError came of one. `--case N` repeats one and shows where it happens.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import track

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from fuzz_corpus import corpus
from fuzz_imports import CASES_OF_A_WORKER, Finding, chosen, damaged, run_cases
from stepcell.importers import import_model

ROOT = Path(__file__).resolve().parent.parent
PROCESSES = 2


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--case", type=int, help="repeat one case in this process")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = corpus(Path(folder) / "corpus")
        if options.case is not None:
            return _repeat(files, options.case, Path(folder))
        return _all(files, options.first, options.cases, Path(folder))


def _repeat(files: list[Path], case: int, folder: Path) -> int:
    source = chosen(files, case)
    path = folder / f"damaged{source.suffix}"
    path.write_bytes(damaged(source, case))
    Console().print(f"case {case}: {source.name}")
    import_model(path)
    return 0


def _all(files: list[Path], first: int, cases: int, folder: Path) -> int:
    console = Console()
    parts = [
        (files, range(start, min(start + CASES_OF_A_WORKER, first + cases)), folder / f"part{start}")
        for start in range(first, first + cases, CASES_OF_A_WORKER)
    ]
    endings: Counter[str] = Counter()
    findings: list[Finding] = []
    with ProcessPoolExecutor(PROCESSES) as pool:
        running = [pool.submit(run_cases, *part) for part in parts]
        for future in track(as_completed(running), "damaged files", len(parts), console=console):
            counted, found = future.result()
            endings += counted
            findings += found
            for finding in found:
                console.print(f"case {finding.case} ({finding.file}): {finding.what}", style="red")
    console.print(f"{sum(endings.values())} files from {len(files)}: {dict(endings)}")
    store = ROOT / "build" / "bench" / "fuzz.json"
    store.parent.mkdir(parents=True, exist_ok=True)
    facts = {"cases": cases, "endings": dict(endings), "findings": [asdict(f) for f in findings]}
    store.write_text(json.dumps(facts, indent=2) + "\n")
    return 1 if findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
