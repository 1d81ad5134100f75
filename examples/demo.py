"""From spoken vowels to proven C on an emulated Cortex-M4: train, prune, quantize, compile, run, compare.

    python examples/demo.py [--cell lstm] [--seed 0]

writes build/demo/: model.onnx, train.npz, test.npz, the C of the dense and of the pruned model, and the
measurements validate.json, profile.json, summary.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from japanese_vowels.data import load, save_npz
from japanese_vowels.train import EPOCHS, HELD_OUT, train_classifier
from sequences.cache import REPOSITORY
from sequences.dataset import Dataset, split
from sequences.export import export_onnx
from sequences.model import CellName
from stepcell.compress import prune_and_retrain
from stepcell.importers import import_model
from stepcell.ir import Block, Model
from stepcell.ir.sequences import Sequences
from stepcell.pipeline import Options, Original, compile_model, original_of
from stepcell.report.profile import Cost, profile_bundle
from stepcell.validate import Validation, validate

DENSITY = 0.25
BLOCK = Block(4, 2)
RETRAINING_EPOCHS = 100
TARGET = "cortex-m4"
CHIP = "unicorn"
"""The emulator whose answers `accuracy_chip` judges, if it runs."""


@dataclass(frozen=True, eq=False)
class Networks:
    """What was trained, as ONNX; its Model, and the Model pruned and retrained."""

    original: Original
    dense: Model
    sparse: Model


@dataclass(frozen=True)
class Result:
    """What the demo measured."""

    folder: Path
    validation: Validation
    dense: Cost
    sparse: Cost
    seconds: float

    def summary(self) -> dict[str, Any]:
        """The contents of summary.json; accuracies are 0-1 of the test sequences."""
        cost = self.sparse.to_json()
        return {
            "accuracy_source": self.validation.accuracy_source,
            "accuracy_chip": self.validation.accuracy_c.get(CHIP),
            "label_agreement": self.validation.label_agreement,
            "mismatches": self.validation.mismatches,
            "flash_bytes": cost["flash_bytes"]["total"],
            "ram_bytes": cost["ram_bytes"]["total"],
            "instructions_per_step_dense": self.dense.profile.instructions,
            "instructions_per_step_sparse": self.sparse.profile.instructions,
            "seconds": round(self.seconds, 1),
        }


def sequences(dataset: Dataset) -> Sequences:
    """The examples' data as the product's."""
    return Sequences(dataset.x, dataset.lengths, dataset.y)


def train_source(cell: CellName, seed: int, folder: Path, on_epoch: Callable[[int], None]) -> Path:
    """Train the float model and write model.onnx, train.npz and test.npz into `folder`; the ONNX file."""
    training, test = load()
    model, _ = train_classifier(cell, training, seed, on_epoch)
    export_onnx(model, folder / "model.onnx")
    save_npz(folder / "train.npz", training)
    save_npz(folder / "test.npz", test)
    return folder / "model.onnx"


def networks(
    cell: CellName,
    seed: int,
    folder: Path,
    on_training: Callable[[], None],
    on_retraining: Callable[[], None],
) -> Networks:
    """Train in float, export, import, prune and retrain; the callbacks hear every epoch."""
    onnx_file = train_source(cell, seed, folder, lambda _: on_training())
    model = import_model(onnx_file, name="vowels")
    return Networks(original_of(model, str(onnx_file)), model, compress(model, seed, on_retraining))


def compress(model: Model, seed: int, on_epoch: Callable[[], None]) -> Model:
    """Keep a quarter of the recurrent layer's weights, in blocks, retraining all the while."""
    training, _ = load()
    rest, validation = split(training, HELD_OUT, seed)
    return prune_and_retrain(
        model,
        sequences(rest),
        sequences(validation),
        1.0 - DENSITY,
        BLOCK,
        epochs=RETRAINING_EPOCHS,
        seed=seed,
        on_epoch=lambda _: on_epoch(),
    )


def run(cell: CellName, seed: int, folder: Path, backends: tuple[str, ...], bar: Progress) -> Result:
    """The whole demo; progress goes to `bar`."""
    start = time.perf_counter()
    torch.set_num_threads(1)
    training = bar.add_task(f"train {cell.upper()}-32", total=EPOCHS)
    retraining = bar.add_task(f"prune to {DENSITY:.0%} in {BLOCK} blocks, retrain", total=RETRAINING_EPOCHS)
    trained = networks(cell, seed, folder, lambda: bar.advance(training), lambda: bar.advance(retraining))

    data, test = (sequences(part) for part in load())
    rest = bar.add_task("compile, run on the emulated chip, compare", total=5)
    for name, model in (("dense", trained.dense), ("sparse", trained.sparse)):
        compile_model(model, trained.original, data, folder / name, Options(target=TARGET))
        bar.advance(rest)
    validation = validate(folder / "sparse", test, backends)
    bar.advance(rest)
    dense = profile_bundle(folder / "dense")
    bar.advance(rest)
    sparse = profile_bundle(folder / "sparse")
    bar.advance(rest)
    return Result(folder, validation, dense, sparse, time.perf_counter() - start)


def write(result: Result) -> None:
    """validate.json, profile.json and summary.json."""
    for name, data in (
        ("validate", result.validation.to_json()),
        ("profile", result.sparse.to_json()),
        ("summary", result.summary()),
    ):
        (result.folder / f"{name}.json").write_text(json.dumps(data, indent=2) + "\n")


def accuracy_table(result: Result) -> Table:
    """What each link of the chain answers over the test sequences."""
    v = result.validation
    table = Table(title="JapaneseVowels, 370 test sequences", title_justify="left")
    table.add_column("model")
    table.add_column("accuracy", justify="right")
    table.add_column("mismatching states and outputs", justify="right")
    table.add_row("source in ONNX Runtime, float", f"{v.accuracy_source:.2%}", "")
    table.add_row(f"pruned to {DENSITY:.0%} and retrained, float", f"{v.accuracy_float:.2%}", "")
    table.add_row(
        "pruned, integers in ONNX Runtime", f"{v.accuracy_integer:.2%}", f"{v.integer_vs_ort_mismatches}"
    )
    for backend, wrong in v.c_vs_integer_mismatches.items():
        where = "C on the host" if backend == "host" else f"C on the emulated Cortex-M4 ({backend})"
        table.add_row(f"pruned, {where}", f"{v.accuracy_c[backend]:.2%}", f"{wrong}")
    table.caption = (
        f"{v.values_compared:,} values compared; {v.label_agreement:.1%} of the labels are the source's"
    )
    return table


def cost_table(result: Result) -> Table:
    """Dense against sparse on the Cortex-M4."""
    table = Table(title="One step on a Cortex-M4", title_justify="left")
    for name in ("", "instructions", "per MAC", "code", "tables", "flash", "state", "stack", "RAM"):
        table.add_column(name, justify="right" if name else "left")
    for name, cost in (("dense", result.dense), ("sparse", result.sparse)):
        flash, ram = cost.to_json()["flash_bytes"], cost.to_json()["ram_bytes"]
        numbers = (flash["text"], flash["rodata"], flash["total"], ram["state"], ram["stack"], ram["total"])
        ratio = f"{cost.profile.instructions / cost.profile.macs:.2f}"
        table.add_row(name, f"{cost.profile.instructions:,}", ratio, *(f"{number:,}" for number in numbers))
    return table


def main() -> None:
    """Run the demo, print its tables, write its measurements."""
    parser = argparse.ArgumentParser(
        description="Train, prune, quantize, compile, and run on an emulated chip."
    )
    parser.add_argument("--cell", choices=["gru", "lstm"], default="gru")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--on", default="host,unicorn", help="host, unicorn, qemu")
    arguments = parser.parse_args()
    console = Console()
    folder = REPOSITORY / "build" / "demo"
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console) as bar:
        result = run(arguments.cell, arguments.seed, folder, tuple(arguments.on.split(",")), bar)
    write(result)
    console.print(accuracy_table(result))
    console.print(cost_table(result))
    sparse = folder.relative_to(REPOSITORY) / "sparse"
    console.print(f"\nThe C is in {sparse}; {result.seconds:.0f} s in all. To call it:\n", highlight=False)
    print((REPOSITORY / "examples" / "host" / "usage.txt").read_text())


if __name__ == "__main__":
    main()
