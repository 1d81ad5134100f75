"""What the commands share: the console, progress, option types, JSON output."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

console = Console()
errors = Console(stderr=True)

existing = click.Path(path_type=Path)
"""A path that the command checks itself, so that a missing file gets the usual sentence and hint."""


@contextmanager
def progress(stages: int) -> Iterator[Callable[[str], None]]:
    """A bar over `stages` named stages on standard error; yields the function that begins the next one."""
    columns = (SpinnerColumn(), BarColumn(20), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task("", total=stages)
        begun = 0

        def begin(stage: str) -> None:
            nonlocal begun
            bar.update(task, description=stage, completed=begun)
            begun += 1

        yield begin


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
