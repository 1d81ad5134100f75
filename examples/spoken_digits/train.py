"""Train a log-mel GRU-32 (or LSTM-32) on spoken digits, and write it as ONNX beside its data.

    python examples/spoken_digits/train.py [--cell lstm] [--seed 0]

writes model.onnx, train.npz, test.npz and all.npz under build/spoken_digits/. The epoch is chosen on
a tenth of the training clips, held out; the official test clips are only measured.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from sequences.cache import REPOSITORY
from sequences.dataset import Dataset, split
from sequences.export import export_onnx
from sequences.model import CellName, RecurrentClassifier, classifier
from sequences.training import Best, Recipe, evaluate, feature_scale, train
from spoken_digits.data import load, load_all, save_npz

HIDDEN = 32
EPOCHS = 20
HELD_OUT = 0.1
RECIPE = Recipe(batch=64, learning_rate=2e-2, frame_noise=0.3, sequence_noise=0.2)


def train_classifier(
    cell: CellName, training: Dataset, seed: int = 0, on_epoch: Callable[[int], None] | None = None
) -> tuple[RecurrentClassifier, Best]:
    """A trained model, and how it did on the held-out tenth; `seed` draws split, weights and noise."""
    rest, validation = split(training, HELD_OUT, seed)
    model = classifier(cell, HIDDEN, training.classes, feature_scale(rest), seed)
    best = train(model, rest, validation, EPOCHS, seed, recipe=RECIPE, on_epoch=on_epoch)
    return model, best


def main() -> int:
    """Train, measure, export."""
    arguments = _arguments()
    torch.set_num_threads(1)
    try:
        training, test = load()
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    start = time.perf_counter()
    model, best = train_classifier(arguments.cell, training, arguments.seed)
    seconds = time.perf_counter() - start
    export_onnx(model, arguments.output / "model.onnx")
    for name, dataset in {"train": training, "test": test, "all": load_all()}.items():
        save_npz(arguments.output / f"{name}.npz", dataset)
    _, accuracy = evaluate(model, test)
    print(
        f"{arguments.cell.upper()}-{HIDDEN}, seed {arguments.seed}: epoch {best.epoch + 1} of {EPOCHS}, "
        f"validation {best.accuracy:.1%}, test {accuracy:.2%} ({seconds:.1f} s) -> {arguments.output}"
    )
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a spoken-digit classifier and export it as ONNX.")
    parser.add_argument("--cell", choices=["gru", "lstm"], default="gru")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=REPOSITORY / "build" / "spoken_digits")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
