"""`factory.py:function`: a user's function that builds the module, and a file with its weights."""

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepcell.errors import StepcellError
from stepcell.importers.pytorch import import_torch
from stepcell.ir import Model
from stepcell.ir.model import FloatArray
from stepcell.reference.source_layout import first_line

if TYPE_CHECKING:
    import torch

_EXAMPLE_STEPS = 7
"""A length unlike common layer sizes, so that a size in the trace that depends on it is recognised."""

Shapes = Mapping[str, Sequence[int | str | None]]


def import_factory(
    file: Path,
    function: str,
    name: str | None = None,
    weights: Path | str | None = None,
    shapes: Shapes | None = None,
    calibration: FloatArray | None = None,
    states: Mapping[str, str] | None = None,
) -> Model:
    """The Model of what `function` in `file` returns, its weights loaded with `weights_only=True`.

    shapes gives one input shape per argument of forward(), in order; anything but a number is a free
    axis. Without it calibration [N, T, ...] gives the shape.

    Raises StepcellError if the file, the function, the weights or a shape is missing.
    """
    module = _build(file, function)
    if weights is not None:
        _load(module, Path(weights))
    return import_torch(module, _examples(file, shapes, calibration), name or file.stem, calibration, states)


def _build(file: Path, function: str) -> "torch.nn.Module":
    import torch

    build = _function(file, function)
    module = build()
    if not isinstance(module, torch.nn.Module):
        raise StepcellError(
            f"{file.name}: {function}() returned {type(module).__name__}, not an nn.Module.",
            "return the module.",
        )
    return module


def _function(file: Path, function: str) -> Callable[[], Any]:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise StepcellError(f"{file}: there is no such Python file.", "check the path.")
    loaded = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.resolve().parent))  # so that the factory can import its neighbours
    try:
        spec.loader.exec_module(loaded)
    finally:
        sys.path.pop(0)
    build = getattr(loaded, function, None)
    if not callable(build):
        raise StepcellError(
            f"{file.name}: it defines no function '{function}'.", "write factory.py:function."
        )
    return build  # type: ignore[no-any-return]


def _load(module: "torch.nn.Module", weights: Path) -> None:
    import torch

    if not weights.is_file():
        raise StepcellError(f"{weights}: there is no such weights file.", "check --weights.")
    try:
        module.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    except Exception as error:
        raise StepcellError(
            f"{weights.name}: it does not hold the module's weights: {first_line(error)}",
            "save them with torch.save(module.state_dict(), file).",
        ) from error


def _examples(
    file: Path, shapes: Shapes | None, calibration: FloatArray | None
) -> "tuple[torch.Tensor, ...]":
    import torch

    if shapes:
        sizes = [[n if isinstance(n, int) else _EXAMPLE_STEPS for n in shape] for shape in shapes.values()]
    elif calibration is not None:
        sizes = [[1, _EXAMPLE_STEPS, *calibration.shape[2:]]]
    else:
        raise StepcellError(
            f"{file.name}: the shape of its input is not known.",
            "give it: --shape x=1,T,40, or calibration data.",
        )
    return tuple(torch.zeros(size) for size in sizes)
