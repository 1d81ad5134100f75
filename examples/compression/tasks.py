"""The tasks that compression is measured on: their data, and the dense models that are compressed.

Validation data is cut from the training data by the seed, which also draws a model's weights and its noise;
the test data is what each data set says it is (of digits: a fifth, the same for every seed).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import japanese_vowels.data
import japanese_vowels.train
import spoken_digits.data
import spoken_digits.train
from sequences.cache import REPOSITORY
from sequences.dataset import Dataset, split
from sequences.export import export_onnx
from sequences.model import CellName, classifier
from sequences.training import Recipe, feature_scale, train
from stepcell.compress import Task
from stepcell.importers import import_model
from stepcell.ir import Model
from stepcell.ir.sequences import Sequences

Load = Callable[[], tuple[Dataset, Dataset]]
SOURCES = REPOSITORY / "build" / "compression" / "sources"
DIGITS_TEST = 0.2
LEAST_SCALE = 0.1
"""Of the largest: features that hardly ever move (the margins of digits) are not blown up beyond this."""


@dataclass(frozen=True)
class Benchmark:
    """A task and its dense model: `hidden` units of `cell`, read at the last step by a dense head."""

    name: str
    load: Load
    held_out: float
    cell: CellName
    hidden: int
    epochs: int
    recipe: Recipe

    def splits(self, seed: int) -> tuple[Dataset, Dataset, Dataset]:
        """(training, validation, test)."""
        training, test = self.load()
        rest, validation = split(training, self.held_out, seed)
        return rest, validation, test

    def task(self, seed: int) -> Task:
        """The data as passes read it."""
        training, validation, test = self.splits(seed)
        return Task(self.name, as_sequences(training), as_sequences(validation), as_sequences(test))

    def source(self, seed: int) -> Path:
        """The trained dense model as ONNX; trained the first time, then read from build/compression."""
        path = SOURCES / f"{self.name}-{seed}.onnx"
        if not path.is_file():
            training, validation, _ = self.splits(seed)
            scale = feature_scale(training)
            scale = scale.clamp(min=LEAST_SCALE * float(scale.max()))
            model = classifier(self.cell, self.hidden, training.classes, scale, seed)
            train(model, training, validation, self.epochs, seed, recipe=self.recipe)
            partial = path.with_suffix(".partial")
            export_onnx(model, partial)
            partial.replace(path)
        return path

    def model(self, seed: int) -> Model:
        """The trained dense model."""
        return import_model(self.source(seed), name=self.name.replace("-", "_"))


def as_sequences(data: Dataset) -> Sequences:
    """A Dataset as stepcell reads it."""
    return Sequences(data.x, data.lengths, data.y)


def load_digits() -> tuple[Dataset, Dataset]:
    """scikit-learn's 1,797 images of 8 x 8 as sequences of 8 rows: (training, test); y is the digit.

    They are the test set of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak (UCI
    Machine Learning Repository, 1998, CC BY 4.0).
    """
    from sklearn import datasets

    images, labels = datasets.load_digits(return_X_y=True)
    x = np.asarray(images, np.float32).reshape(-1, 8, 8)
    whole = Dataset(x, np.full(len(x), 8, np.int64), np.asarray(labels, np.int64))
    return split(whole, DIGITS_TEST, 0)


BENCHMARKS: Mapping[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            "fsdd-gru128",
            spoken_digits.data.load,
            spoken_digits.train.HELD_OUT,
            "gru",
            128,
            spoken_digits.train.EPOCHS,
            Recipe(batch=64, learning_rate=1e-2, frame_noise=0.3, sequence_noise=0.2),
        ),
        Benchmark(
            "japanese-vowels-gru32",
            japanese_vowels.data.load,
            japanese_vowels.train.HELD_OUT,
            "gru",
            32,
            japanese_vowels.train.EPOCHS,
            japanese_vowels.train.RECIPE,
        ),
        Benchmark(
            "digits-lstm64",
            load_digits,
            0.1,
            "lstm",
            64,
            30,
            Recipe(batch=64, learning_rate=1e-2, frame_noise=0.2, sequence_noise=0.1),
        ),
    )
}
