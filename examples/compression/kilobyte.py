"""Two tasks in a kilobyte or three: ten seeds each, all in flash but code counted, integer accuracy.

    python examples/compression/kilobyte.py [vowels] [digits] [--seeds 10] [--processes 2]

A relu RNN needs no table of an activation function; that of sigmoid and tanh takes 1 KB. It is trained at its
final width, and recipes/kilobyte_*.toml makes it integers. All choices were made on data held out of training
(of the vowels half of it, since of a fifth all is right); the test split is read once a seed. Writes
build/bench/kilobyte.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

import japanese_vowels.data
import japanese_vowels.train
import spoken_digits.data
import spoken_digits.train
from compression.tasks import Load, as_sequences
from sequences.cache import REPOSITORY
from sequences.dataset import split
from sequences.training import Recipe, feature_scale, train
from stepcell.compress import Task, read_recipe
from stepcell.importers.pytorch import import_torch
from stepcell.ir import Model
from stepcell.recipes import run_recipe

RECIPES = Path(__file__).parent / "recipes"
RESULTS = REPOSITORY / "build" / "bench" / "kilobyte.json"
TARGET = "cortex-m4"


Read = Literal["last", "mean", "both"]


@dataclass(frozen=True)
class Small:
    """A task, the small model (its units, what its head reads, its training), and what it has to keep to."""

    load: Load
    held_out: float
    hidden: int
    read: Read
    epochs: int
    recipe: Recipe
    bytes: int
    accuracy: float


SMALL: Mapping[str, Small] = {
    "vowels": Small(
        japanese_vowels.data.load,
        japanese_vowels.train.HELD_OUT,
        20,
        "both",
        200,
        replace(japanese_vowels.train.RECIPE, sequence_noise=0.5, weight_decay=0.1),
        1500,
        0.97,
    ),
    "digits": Small(
        spoken_digits.data.load,
        spoken_digits.train.HELD_OUT,
        36,
        "mean",
        40,
        replace(spoken_digits.train.RECIPE, learning_rate=1e-2),
        3000,
        0.98,
    ),
}


class ReluClassifier(nn.Module):
    """x [N, T, features] -> logits [N, classes]: of the last hidden state, of the mean of all, or of both."""

    def __init__(self, features: int, hidden: int, classes: int, read: Read) -> None:
        super().__init__()
        self.recurrent = nn.RNN(features, hidden, nonlinearity="relu", batch_first=True)
        self.head = nn.Linear(2 * hidden if read == "both" else hidden, classes)
        self._read = read

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Of the first `lengths` [N] frames, or of all."""
        h, _ = self.recurrent(x)
        found = {"last": _last, "mean": _mean}
        parts = [read(h, lengths) for name, read in found.items() if self._read in (name, "both")]
        logits: Tensor = self.head(torch.cat(parts, 1) if len(parts) > 1 else parts[0])
        return logits


def _last(h: Tensor, lengths: Tensor | None) -> Tensor:
    return h[:, -1] if lengths is None else h[torch.arange(len(h)), lengths - 1]


def _mean(h: Tensor, lengths: Tensor | None) -> Tensor:
    if lengths is None:
        return h.mean(1)
    valid = torch.arange(h.shape[1]) < lengths[:, None]
    return (h * valid[..., None]).sum(1) / lengths[:, None]


def relu_classifier(small: Small, classes: int, scale: Tensor, seed: int) -> ReluClassifier:
    """Recurrent weights that begin near the identity: a relu RNN then remembers (Le, Jaitly, Hinton 2015)."""
    torch.manual_seed(seed)
    model = ReluClassifier(len(scale), small.hidden, classes, small.read)
    with torch.no_grad():
        model.recurrent.get_parameter("weight_ih_l0").div_(scale)
        begin = 0.9 * torch.eye(small.hidden) + 0.02 * torch.randn(small.hidden, small.hidden)
        model.recurrent.get_parameter("weight_hh_l0").copy_(begin)
    return model


def small_model(name: str, seed: int) -> tuple[Model, Task]:
    """The trained small model, and its task; `seed` draws the validation split, weights and noise."""
    small = SMALL[name]
    training, test = small.load()
    rest, validation = split(training, small.held_out, seed)
    module = relu_classifier(small, training.classes, feature_scale(rest), seed)
    train(module, rest, validation, small.epochs, seed, recipe=small.recipe)
    example = torch.zeros(1, 7, training.x.shape[2])
    model = import_torch(module.eval(), (example,), f"small_{name}")
    return model, Task(name, as_sequences(rest), as_sequences(validation), as_sequences(test))


def compress(job: tuple[str, int]) -> dict[str, Any]:
    """One seed: what the recipe made, judged on validation and test data in integers."""
    name, seed = job
    torch.set_num_threads(1)
    model, task = small_model(name, seed)
    found = run_recipe(model, read_recipe(RECIPES / f"kilobyte_{name}.toml"), task, TARGET, seed=seed)
    validated, tested = found.lines[-2:]
    result = {
        "task": name,
        "seed": seed,
        "validation": validated.integers["accuracy"],
        "accuracy": tested.integers["accuracy"],
        "accuracy_float": tested.floats["accuracy"],
        "bytes": tested.rodata_bytes,
        "weight_bytes": tested.weight_bytes,
        "instructions_per_step": tested.instructions_per_step,
    }
    print(
        f"{name} seed {seed}: validation {result['validation']:.2%}, test {result['accuracy']:.2%} "
        f"(float {result['accuracy_float']:.2%}), {result['bytes']} bytes",
        flush=True,
    )
    return result


def summary(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds, and what they are held to."""
    accuracies = np.array([row["accuracy"] for row in rows])
    return {
        "task": name,
        "accuracy_mean": float(accuracies.mean()),
        "accuracy_deviation": float(accuracies.std(ddof=1)) if len(rows) > 1 else 0.0,
        "accuracy": accuracies.tolist(),
        "bytes": max(row["bytes"] for row in rows),
        "bytes_allowed": SMALL[name].bytes,
        "accuracy_wanted": SMALL[name].accuracy,
    }


def main() -> int:
    """Every seed of every task."""
    arguments = _arguments()
    jobs = [(name, seed) for name in arguments.tasks for seed in range(arguments.seeds)]
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        rows = pool.map(compress, jobs, chunksize=1)
    found = [summary(name, [row for row in rows if row["task"] == name]) for name in arguments.tasks]
    for each in found:
        print(
            f"{each['task']}: {each['accuracy_mean']:.2%} +- {100 * each['accuracy_deviation']:.2f} points "
            f"over {len(each['accuracy'])} seeds in {each['bytes']} bytes "
            f"(wanted: {each['accuracy_wanted']:.0%} in {each['bytes_allowed']})"
        )
    _write(found, rows)
    return 0


def _write(found: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """What was measured; tasks that were left out keep what an earlier run found."""
    known = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"summary": [], "seeds": []}
    ran = {each["task"] for each in found}
    summaries, seeds = ([row for row in known[key] if row["task"] not in ran] for key in ("summary", "seeds"))
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    content = {"target": TARGET, "summary": summaries + found, "seeds": seeds + rows}
    RESULTS.write_text(json.dumps(content, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The smallest models, over ten seeds.")
    parser.add_argument("tasks", nargs="*", default=list(SMALL), metavar="TASK")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
