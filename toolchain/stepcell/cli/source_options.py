"""Options that say how to read a model, shared by `inspect` and `compile`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from stepcell.cli.console import key_values
from stepcell.errors import StepcellError


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --name, --weights, --bind, --shape, --state and --expect to a command."""
    for option in (
        click.option(
            "--expect",
            type=click.Path(path_type=Path),
            metavar="FILE.npz",
            help="Inputs and outputs recorded from the original framework; the import must reproduce them.",
        ),
        click.option(
            "--state",
            "states",
            multiple=True,
            metavar="IN=OUT",
            help="The model's input IN takes back its output OUT: an explicit state. Of a PyTorch module OUT "
            "may be a position, h=1; between functions, decode.h=encode.h.",
        ),
        click.option(
            "--shape",
            "shapes",
            multiple=True,
            metavar="x=1,T,40",
            help="Shape of an input: batch, time as T, features; x=1,T,int for tokens. Needed for a factory; "
            "where it returns several modules, encode.x=1,T,40.",
        ),
        click.option(
            "--bind",
            "binds",
            multiple=True,
            metavar="NAME=NUMBER",
            help="Fix an input to a number, such as sr=16000.",
        ),
        click.option(
            "--weights",
            type=click.Path(path_type=Path),
            help="State dict for a factory (loaded with weights_only).",
        ),
        click.option("--name", help="C name of the model; default: the file's name."),
    ):
        command = option(command)
    return command


def import_arguments(
    name: str | None,
    weights: Path | None,
    binds: tuple[str, ...],
    shapes: tuple[str, ...],
    states: tuple[str, ...],
    expect: Path | None,
) -> dict[str, Any]:
    """The keyword arguments of `import_model` that the options stand for."""
    return {
        "name": name,
        "weights": weights,
        "bind": {key: _number(key, text) for key, text in key_values("--bind", binds).items()} or None,
        "shapes": {key: _axes(text) for key, text in key_values("--shape", shapes).items()} or None,
        "states": key_values("--state", states) or None,
        "expect": expect,
    }


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise StepcellError(
            f"--bind {name}={text}: '{text}' is not a number.", "write --bind sr=16000."
        ) from None


def _axes(text: str) -> tuple[int | str, ...]:
    return tuple(int(axis) if axis.isdigit() else axis for axis in text.split(","))
