"""The networks that are measured: trained here, with seeds, and kept under build/numerics/."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from japanese_vowels import data as japanese_vowels
from numerics.build import network
from sequences.cache import REPOSITORY
from sequences.dataset import Dataset
from spoken_digits import data as spoken_digits
from stepcell.ir import Model
from stepcell.ir.model import FloatArray
from stepcell.ir.sequences import Sequences
from stepcell.train import Noise, fit, from_module, to_module

CACHE = REPOSITORY / "build" / "numerics"
CALIBRATION_CLIPS = 1000
"""At most so many training clips calibrate, drawn at random."""
TaskName = Literal["vowels", "digits"]


@dataclass(frozen=True)
class Net:
    """A network to measure; `cell` is of build.CELLS."""

    task: TaskName
    cell: str
    units: int
    layers: int = 1
    seed: int = 0

    @property
    def name(self) -> str:
        """Unique, and readable in a table."""
        size = f"{self.layers}x{self.units}" if self.layers > 1 else f"{self.units}"
        return f"{self.task} {self.cell}-{size}" + (f" seed {self.seed}" if self.seed else "")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained."""

    epochs: int
    batch: int
    rate: float
    noise: Noise


def recipe(net: Net) -> Recipe:
    """Plain RNNs and wide layers train steadily only at a lower rate; RNNs need more epochs."""
    plain = net.cell.startswith("rnn")
    rate = 3e-3 if plain or net.units > 100 else 2e-2
    if net.task == "vowels":
        return Recipe(epochs=200 if plain else 100, batch=32, rate=rate, noise=Noise(0.5, 0.3))
    return Recipe(epochs=60 if plain else 14, batch=64, rate=rate, noise=Noise(0.3, 0.2))


HELD_OUT = 0.1
NETS = (
    Net("vowels", "gru", 32),
    Net("vowels", "gru", 32, seed=1),
    Net("vowels", "lstm", 32),
    Net("vowels", "gru_reset_first", 32),
    Net("vowels", "gru_reset_first", 32, seed=1),
    Net("vowels", "rnn_tanh", 32),
    Net("vowels", "rnn_relu", 32),
    Net("vowels", "gru", 32, layers=2),
    Net("vowels", "lstm", 32, layers=2),
    Net("digits", "gru", 32),
    Net("digits", "lstm", 32),
    Net("digits", "gru_reset_first", 32),
    Net("digits", "rnn_tanh", 48),
    Net("digits", "rnn_relu", 48),
    Net("digits", "gru", 32, layers=2),
    Net("digits", "lstm", 32, layers=2),
    Net("digits", "gru", 200),
    Net("digits", "lstm", 200),
)


@dataclass(frozen=True, eq=False)
class Task:
    """All clips, how many of them (the first) are for training, and what calibrates."""

    clips: Sequences
    train_count: int

    @property
    def calibration(self) -> Sequences:
        """Training clips in random order."""
        order = np.random.default_rng(0).permutation(self.train_count)
        return self.clips.take(order[:CALIBRATION_CLIPS])


def load_task(name: TaskName) -> Task:
    """Both official parts, training first."""
    load: Callable[[], tuple[Dataset, Dataset]] = (
        japanese_vowels.load if name == "vowels" else spoken_digits.load
    )
    training, test = load()
    steps = max(training.x.shape[1], test.x.shape[1])
    x = np.concatenate([_padded(part.x, steps) for part in (training, test)])
    lengths, y = (np.concatenate([getattr(p, n) for p in (training, test)]) for n in ("lengths", "y"))
    return Task(Sequences(x, lengths, y), len(training))


def _padded(x: np.ndarray, steps: int) -> np.ndarray:
    return np.pad(x, ((0, 0), (0, steps - x.shape[1]), (0, 0)))


def trained(net: Net, task: Task) -> Model:
    """The trained network, from the cache if it is there."""
    model = _untrained(net, task)
    path = CACHE / f"{net.name.replace(' ', '_')}_{_recipe_key(net):08x}.npz"
    if not path.exists():
        model = _train(net, task, model)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **dict(model.weights))  # type: ignore[arg-type]
    with np.load(path) as weights:
        return model.with_weights({name: weights[name] for name in weights.files})


def _recipe_key(net: Net) -> int:
    return zlib.crc32(repr((net, recipe(net), HELD_OUT)).encode())


def _untrained(net: Net, task: Task) -> Model:
    x, lengths = task.clips.x, task.clips.lengths
    valid = x[np.arange(x.shape[1]) < lengths[:, None]]
    labels = task.clips.y
    assert labels is not None
    return network(net.cell, net.layers, net.units, int(labels.max()) + 1, _scales(valid), net.seed)


def _scales(frames: np.ndarray) -> FloatArray:
    return np.asarray(frames.std(axis=0), np.float64)


def _train(net: Net, task: Task, model: Model) -> Model:
    torch.set_num_threads(1)
    how = recipe(net)
    training = task.clips.take(np.arange(task.train_count))
    rest, validation = training.split(HELD_OUT, net.seed)
    rest = replace(rest, x=rest.x.astype(np.float32))
    module = to_module(model)
    history = fit(
        module,
        rest,
        validation,
        epochs=how.epochs,
        batch_size=how.batch,
        learning_rate=how.rate,
        seed=net.seed,
        noise=how.noise,
    )
    best = history.epochs[history.best].validation
    print(f"trained {net.name}: epoch {history.best + 1}, validation {best.accuracy:.4f}", flush=True)
    return from_module(module, model)
