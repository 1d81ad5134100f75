"""Progress bars of a training: its epochs, the losses, accuracy, and the density of what is pruned."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import nn

from stepcell.train.evaluate import Score
from stepcell.train.module import StepModule

if TYPE_CHECKING:
    from rich.console import Console

Show = Callable[[int, float, Score], None]
"""(epochs done, mean training loss of the last one, its validation score)"""


@contextmanager
def progress(console: "Console | None", epochs: int, module: nn.Module) -> Iterator[Show]:
    """A bar on the console, to be told of every epoch; nothing without a console."""
    if console is None:
        yield lambda *_: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("train"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=epochs)
        yield lambda done, loss, score: bar.update(
            task, completed=done, description=describe(loss, score, density(module))
        )


def describe(loss: float, score: Score, kept: float | None) -> str:
    """One line: losses, accuracy of classes, and the kept fraction where anything is masked."""
    parts = [f"loss {loss:.4f}", f"validation {score.loss:.4f}"]
    parts += [] if score.accuracy is None else [f"accuracy {score.accuracy:.2%}"]
    parts += [] if kept is None else [f"density {kept:.3f}"]
    return ", ".join(parts)


def density(module: nn.Module) -> float | None:
    """The kept fraction of a module's masked weights; None for one without masks."""
    masks = module.get_masks() if isinstance(module, StepModule) else {}
    sizes = [(int(mask.keep.sum()), mask.keep.size) for mask in masks.values()]
    return sum(kept for kept, _ in sizes) / sum(size for _, size in sizes) if sizes else None
