"""What the commands share: the console, progress, option types, JSON output."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

console = Console()
errors = Console(stderr=True)

existing = click.Path(path_type=Path)
"""A path that the command checks itself, so that a missing file gets the usual sentence and hint."""


class Number(click.FloatRange):
    """A float in a range; click itself takes NaN for one in any range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number


def examples(*lines: str) -> str:
    """Command lines for the end of a help text, one a line: click does not wrap after a backspace."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


class Begin(Protocol):
    """Begins a stage, or says how much (0-1) of the one that was begun is done."""

    def __call__(self, stage: str, part: float = 0.0) -> None:
        """`stage` names it."""


@contextmanager
def progress(stages: int) -> Iterator[Begin]:
    """A bar over `stages` named stages on standard error, if that is a terminal; yields what moves it."""
    columns = (SpinnerColumn(), BarColumn(20), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task("", total=stages)
        begun: list[str] = []

        def begin(stage: str, part: float = 0.0) -> None:
            if begun[-1:] != [stage]:
                begun.append(stage)
            bar.update(task, description=stage, completed=len(begun) - 1 + part)

        yield begin


def print_line(start: str, rest: str, style: str) -> None:
    """One line whose start is coloured; brackets in it are no markup, and it is not wrapped."""
    console.print(Text(start, style) + Text(rest), soft_wrap=True)


def print_table(table: Table) -> None:
    """A table in its full width, even where that is more than the terminal's."""
    Console(width=max(console.width, 110)).print(table)


def print_json(data: dict[str, Any] | list[Any]) -> None:
    """Plain JSON on standard output."""
    click.echo(json.dumps(data, indent=2))


def key_values(option: str, texts: tuple[str, ...]) -> dict[str, str]:
    """`name=value` options as a dictionary; a click error for anything else."""
    pairs = [text.partition("=") for text in texts]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise click.BadParameter(f"'{name}{equals}{value}' is not name=value.", param_hint=option)
    return {name: value for name, _, value in pairs}
