"""Train a GRU-32 (or LSTM-32) to tell nine speakers apart, and write it as ONNX beside its data.

    python examples/japanese_vowels/train.py [--cell lstm] [--seed 0]

writes model.onnx, train.npz and test.npz under build/japanese_vowels/. The epoch is chosen on a fifth of
the training utterances, held out; the test utterances are only measured.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch

from japanese_vowels.data import load, save_npz
from sequences.cache import REPOSITORY
from sequences.dataset import Dataset, split
from sequences.export import export_onnx
from sequences.model import CellName, RecurrentClassifier, classifier
from sequences.training import Best, Recipe, evaluate, feature_scale, train

HIDDEN = 32
EPOCHS = 100
HELD_OUT = 0.2
RECIPE = Recipe(batch=32, learning_rate=2e-2, frame_noise=0.5, sequence_noise=0.3)


def train_classifier(
    cell: CellName, training: Dataset, seed: int = 0, on_epoch: Callable[[int], None] | None = None
) -> tuple[RecurrentClassifier, Best]:
    """A trained model, and how it did on the held-out fifth; `seed` draws split, weights and noise."""
    rest, validation = split(training, HELD_OUT, seed)
    model = classifier(cell, HIDDEN, training.classes, feature_scale(rest), seed)
    best = train(model, rest, validation, EPOCHS, seed, recipe=RECIPE, on_epoch=on_epoch)
    return model, best


def main() -> None:
    """Train, measure, export."""
    arguments = _arguments()
    torch.set_num_threads(1)
    training, test = load()
    start = time.perf_counter()
    model, best = train_classifier(arguments.cell, training, arguments.seed)
    seconds = time.perf_counter() - start
    export_onnx(model, arguments.output / "model.onnx")
    save_npz(arguments.output / "train.npz", training)
    save_npz(arguments.output / "test.npz", test)
    _, accuracy = evaluate(model, test)
    print(
        f"{arguments.cell.upper()}-{HIDDEN}, seed {arguments.seed}: epoch {best.epoch + 1} of {EPOCHS}, "
        f"validation {best.accuracy:.1%}, test {accuracy:.2%} ({seconds:.1f} s) -> {arguments.output}"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a JapaneseVowels classifier and export it as ONNX.")
    parser.add_argument("--cell", choices=["gru", "lstm"], default="gru")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=REPOSITORY / "build" / "japanese_vowels")
    return parser.parse_args()


if __name__ == "__main__":
    main()
