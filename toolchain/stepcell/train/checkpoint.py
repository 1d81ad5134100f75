"""Checkpoints: all that a training is, in one file, so that a killed one goes on as if nothing had been."""

import os
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch

from stepcell.errors import StepcellError

_NO_CHECKPOINT = (
    OSError,
    UnpicklingError,
    RuntimeError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    EOFError,
)
"""What torch raises for files that are something else."""


class Stateful(Protocol):
    """What a checkpoint holds: a module, an optimizer, a schedule, a criterion that watches."""

    def state_dict(self) -> Any:
        """Numbers and tensors that say how it stands."""

    def load_state_dict(self, state: Any, /) -> Any:
        """Stand so again."""


def save(path: Path, parts: Mapping[str, Stateful], rest: Mapping[str, Any]) -> None:
    """Write the parts, torch's random state and the rest; the old file stays whole until the new one is.

    Raises StepcellError where the file cannot be written.
    """
    content = {
        "parts": {name: part.state_dict() for name, part in parts.items()},
        "rest": dict(rest),
        "random": torch.get_rng_state(),
    }
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise StepcellError(f"{path}: the checkpoint cannot be written.", str(error)) from error


def load(path: Path, parts: Mapping[str, Stateful], settings: str) -> Mapping[str, Any] | None:
    """Set the parts and the random state to what the file holds and give the rest; None if there is none.

    Raises StepcellError for a file that is no checkpoint, or one of a training with other settings.
    """
    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        rest: Mapping[str, Any] = content["rest"]
        found = str(rest["settings"])
    except _NO_CHECKPOINT as error:
        raise StepcellError(f"{path}: it holds no checkpoint.", "delete it, or name another file.") from error
    if found != settings:
        raise StepcellError(
            f"{path}: the checkpoint is of a training with {found}, not {settings}.",
            "delete it to start anew, or name another file.",
        )
    for name, part in parts.items():
        part.load_state_dict(content["parts"][name])
    torch.set_rng_state(content["random"])
    return rest
