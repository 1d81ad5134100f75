"""`Task`: what a model is compressed for: its data, and how well it does.

A user's file holds a function `task() -> Task`; examples/compression/task_template.py is one to copy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stepcell.errors import StepcellError
from stepcell.importers.python_file import load_function
from stepcell.ir.model import FloatArray, Function
from stepcell.ir.sequences import Sequences, load_sequences_for

if TYPE_CHECKING:
    from torch import Tensor

HELD_OUT = 0.2


@dataclass(frozen=True, eq=False)
class Task:
    """The data that passes read, each split for one purpose, and what is measured.

    train: learnt from, and calibrated with; a recipe whose passes do without labels needs none here.
    validation: for every choice (epochs, thresholds), and for every line of the table but the last.
    test: read once, at the end; None where there is none.
    metric: (outputs, data) -> numbers by name, of the float and of the quantized model; outputs are real
        values [N, O], or [N, T, O] of every step (not to be read past a sequence's length). None: accuracy
        and macro precision of classes, mean squared error of float targets.
    threshold: of a model with a single output: above it, it says class 1.
    loss: (judged rows [M, O], labels [M] or [M, O]) -> a scalar; of classes the rows are logits. None:
        cross-entropy of classes, mean squared error of float targets.
    """

    name: str
    train: Sequences
    validation: Sequences
    test: Sequences | None = None
    metric: Callable[[FloatArray, Sequences], Mapping[str, float]] | None = None
    threshold: float = 0.5
    loss: "Callable[[Tensor, Tensor], Tensor] | None" = None


def load_task(file: Path) -> Task:
    """What `task()` in a Python file returns.

    Raises StepcellError if the file or the function is missing, or returns anything else.
    """
    hint = "write `def task() -> Task`; examples/compression/task_template.py is one to copy."
    built = load_function(file, "task", hint)()
    if not isinstance(built, Task):
        raise StepcellError(
            f"{file.name}: task() returned {type(built).__name__}, not a Task.",
            "return stepcell.compress.Task(name, train, validation, test).",
        )
    return built


def task_of_data(path: Path, functions: tuple[Function, ...], seed: int = 0) -> Task:
    """A data file as a task without a test split: a fifth of its sequences, drawn by `seed`, validates."""
    data = load_sequences_for(path, functions)
    train, validation = data.split(HELD_OUT, seed)
    if not (len(train) and len(validation)):
        raise StepcellError(
            f"{path}: its {len(data)} sequences cannot be parted into training and validation.",
            "give five sequences at least, of every class.",
        )
    return Task(path.stem, train, validation)
