"""The command line in this process, and the files that its tests give it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from click.testing import CliRunner, Result

from make_small_model import small_data, small_model
from stepcell.cli import main


def call(*arguments: str | Path) -> Result:
    """Run `stepcell` with these arguments; any exception that is no exit is a bug, and is raised."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def call_json(*arguments: str | Path) -> Any:
    """What a command that must succeed prints with --json."""
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def assert_mistake(result: Result, *parts: str) -> None:
    """Exit code 2, and on standard error one sentence and a hint that say each of `parts`; nothing else."""
    assert result.exit_code == 2, result.output
    error, hint = result.stderr.splitlines()
    assert error.startswith("Error: ")
    assert hint.startswith("Hint: ")
    assert len(hint) > len("Hint: ")
    for part in parts:
        assert part in result.stderr
    assert result.stdout == ""


def small_files(folder: Path) -> tuple[Path, Path]:
    """small.onnx (a GRU of 5 units with a last-step head of 2 outputs) and labelled small.npz."""
    onnx.save(small_model(), folder / "small.onnx")
    x = small_data()
    lengths = np.arange(1, len(x) + 1).clip(max=x.shape[1])
    np.savez(folder / "small.npz", x=x, lengths=lengths, y=np.arange(len(x)) % 2)
    return folder / "small.onnx", folder / "small.npz"
