"""Which matrices bear what: each one pruned, or rounded to a few bits, the rest of the model as it was."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from rich.table import Table

from stepcell.compress.prune import prunable, prune
from stepcell.compress.task import Task
from stepcell.ir.model import Block, FloatArray, Model
from stepcell.quantize import quantize
from stepcell.quantize.matrices import WEIGHT_LIMITS
from stepcell.validate.metrics import Yardstick

Bits = Literal["int8", "int4"]


@dataclass(frozen=True)
class Sensitivity:
    """What is left of a float model when one matrix is changed: numbers of the task, agreement 0-1."""

    matrix: str
    change: str
    numbers: dict[str, float]
    label_agreement: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def sensitivity(
    model: Model,
    task: Task,
    fractions: Sequence[float] = (0.5, 0.75, 0.9),
    weights: Sequence[Bits] = ("int8", "int4"),
    criterion: str = "magnitude",
    pattern: str | Block = "4x2",
    *,
    seed: int = 0,
    on_part: Callable[[str, float], None] = lambda *_: None,
) -> tuple[Sensitivity, ...]:
    """Every matrix of the recurrent layers with every change, judged on validation data.

    fractions: removed of one matrix, by the criterion in the pattern; weights: what one matrix is rounded to,
    each row to its own scale, as the quantizer does. Raises StepcellError as `prune` does.
    """
    yardstick = Yardstick(model, quantize(model, task.train), task.validation, task.metric, task.threshold)
    found = []
    names = prunable(model)
    for index, name in enumerate(names):
        on_part(name, index / len(names))
        for change, changed in _changes(model, name, task, fractions, weights, criterion, pattern, seed):
            judged = yardstick.floats(changed)
            found.append(Sensitivity(name, change, dict(judged.numbers), judged.label_agreement))
    return tuple(found)


def _changes(
    model: Model,
    name: str,
    task: Task,
    fractions: Sequence[float],
    weights: Sequence[Bits],
    criterion: str,
    pattern: str | Block,
    seed: int,
) -> Iterator[tuple[str, Model]]:
    for fraction in fractions:
        change = f"{fraction:.0%} pruned"
        yield change, prune(model, fraction, criterion, pattern, data=task.train, matrices=(name,), seed=seed)
    for bits in weights:
        yield bits, model.with_weights({name: _rounded(model.weights[name], WEIGHT_LIMITS[bits])})


def _rounded(w: FloatArray, limit: int) -> FloatArray:
    """Each row on its grid of 2 limit + 1 values."""
    rows = w.reshape(len(w), -1)
    scales = np.abs(rows).max(axis=1, keepdims=True) / limit
    scales = np.where(scales > 0, scales, 1.0)
    return np.asarray((np.round(rows / scales) * scales).reshape(w.shape))


def sensitivity_table(found: Sequence[Sensitivity]) -> Table:
    """A row a matrix, a column a change: the first number of the task, or the agreement without one."""
    watched = next(iter(found[0].numbers), None)
    title = (watched or "label agreement").replace("_", " ")
    table = Table(title=f"{title} with one matrix changed", title_justify="left")
    table.add_column("matrix")
    changes = list(dict.fromkeys(line.change for line in found))
    for change in changes:
        table.add_column(change, justify="right")
    by_place = {(line.matrix, line.change): line for line in found}
    for matrix in dict.fromkeys(line.matrix for line in found):
        cells = (_cell(by_place[matrix, change], watched) for change in changes)
        table.add_row(matrix, *cells)
    return table


def _cell(line: Sensitivity, watched: str | None) -> str:
    if watched is None:
        return f"{line.label_agreement:.2%}"
    value = line.numbers[watched]
    return f"{value:.2%}" if watched == "accuracy" else f"{value:.4g}"
