"""What whole models cost on every core: build/bench/models.json and a Markdown table beside it.

usage: python scripts/bench_models.py [--core cortex-m4 ...]

One inference of LSTM(H) or GRU(H) and a dense layer with 12 outputs over 49 steps, dense and pruned in the
block that the core runs fastest; compiled for speed, and for size: one byte a weight at most. Instructions
are counted exactly in an emulator: 49 times those of a step without the head, and the head once.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from random_bundles import sized_float_model
from random_models import random_sequences
from stepcell.compress import prune
from stepcell.emit import emit
from stepcell.lower import lower
from stepcell.lower.block import preferred_block
from stepcell.lower.formats import Optimize
from stepcell.lower.parts import Body
from stepcell.quantize import quantize
from stepcell.report.profile import profile_bundle
from stepcell.run.emulators import COUNTING, emulators_of
from stepcell.target import Core, board_for, list_targets, load_core

STEPS, OUTPUTS = 49, 12
SIZES = ((10, 64), (10, 128), (40, 64), (40, 128))
DENSITIES = (1.0, 0.25, 0.10)
OPTIMIZE: tuple[Optimize, ...] = ("speed", "size")
CELLS = {"lstm": "lstm", "gru": "gru_after"}
BUILD = Path(__file__).parent.parent / "build" / "bench"
Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One model on one core."""

    core: Core
    optimize: Optimize
    cell: str
    inputs: int
    hidden: int
    density: float
    steps: int = STEPS
    outputs: int = OUTPUTS


# The GRU of 20,896 parameters that EdgeMark (arXiv 2502.01700) runs in TFLM: 810 KB of flash, 295 KB of RAM.
EDGEMARK_GRU = Case(load_core("cortex-m4"), "size", "gru", 32, 64, 1.0, steps=99, outputs=32)


def main() -> None:
    """Measure, and write the two files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--core", action="append", help="measure this core; again for more")
    parser.add_argument("--output", type=Path, default=BUILD / "models.json")
    arguments = parser.parse_args()
    cores = [core for core in list_targets() if not core.is_host and _counts(core)]
    wanted = [core for core in cores if not arguments.core or core.name in arguments.core]
    cases = list(_cases(wanted))
    rows = [measure(case) for case in track(cases, "models")]
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    arguments.output.with_suffix(".md").write_text(table(rows))


def _counts(core: Core) -> bool:
    return any(name in COUNTING for name in emulators_of(board_for(core)))


def _cases(cores: list[Core]) -> Iterator[Case]:
    for core in cores:
        for optimize in OPTIMIZE:
            for cell in CELLS:
                for inputs, hidden in SIZES:
                    for density in DENSITIES:
                        yield Case(core, optimize, cell, inputs, hidden, density)
        if core.name == "cortex-m4":
            yield EDGEMARK_GRU


def measure(case: Case) -> Row:
    """Compile, run and count one model."""
    core = case.core
    rng = np.random.default_rng(0)
    model = sized_float_model(
        rng, "bench", (CELLS[case.cell],), case.inputs, case.hidden, case.outputs, "last_state"
    )
    data = random_sequences(rng, model)
    if case.density < 1.0:
        model = prune(model, 1.0 - case.density, pattern=preferred_block(core), scope="matrix")
    plan = lower(quantize(model, data), core, optimize=case.optimize)
    with tempfile.TemporaryDirectory() as folder:
        cost = profile_bundle(emit(plan, Path(folder) / "bench", {}, {}))
    step, read = plan.main.step, plan.main.read
    assert read is not None
    head = sum(layer.instructions for layer in cost.profile.layers if layer.layer in _layers(read))
    instructions = case.steps * (cost.profile.instructions - head) + head
    macs = case.steps * sum(call.macs for call in step.calls) + sum(call.macs for call in read.calls)
    kernels = sorted({kernel for call in plan.calls for kernel in call.kernels if "matvec" in kernel})
    return {
        "core": core.name,
        "cell": case.cell,
        "inputs": case.inputs,
        "hidden": case.hidden,
        "steps": case.steps,
        "outputs": case.outputs,
        "density": case.density,
        "optimize": case.optimize,
        "kernels": kernels,
        "instructions": instructions,
        "instructions_per_mac": round(instructions / macs, 4),
        "flash_bytes": cost.text_bytes + cost.rodata_bytes,
        "code_bytes": cost.text_bytes,
        "ram_bytes": cost.state_bytes + cost.stack_bytes,
        "stack_bytes": cost.stack_bytes,
    }


def _layers(body: Body) -> set[str]:
    return {call.layer for call in body.calls}


def table(rows: list[Row]) -> str:
    """Markdown: a line for each core and model."""
    lines = [
        "| core | model | density | for | instructions | a MAC | flash | code | RAM | stack |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        model = f"{row['cell'].upper()}({row['hidden']}), {row['inputs']} inputs"
        numbers = (row[key] for key in ("instructions", "instructions_per_mac", "flash_bytes", "code_bytes"))
        more = (row[key] for key in ("ram_bytes", "stack_bytes"))
        cells = [row["core"], model, row["density"], row["optimize"], *numbers, *more]
        lines.append(
            "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells) + " |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
