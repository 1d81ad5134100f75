"""Weights for what a factory built, from a file that is read as numbers alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepcell.errors import StepcellError
from stepcell.importers.pytorch.export import quiet
from stepcell.reference.source_layout import first_line

if TYPE_CHECKING:
    import torch

_INSIDE = ("state_dict", "model_state_dict", "model")
"""Where training scripts keep the state_dict in a checkpoint."""
_SAVE = "save them with torch.save(module.state_dict(), file)."


def load_weights(built: Any, path: Path) -> None:
    """Load a state_dict into a module, or into a dict of modules (keys FUNCTION.NAME, or a dict of dicts).

    Raises StepcellError for a missing file, for one that holds more than tensors, and for weights of
    another module.
    """
    import torch

    if not path.is_file():
        raise StepcellError(f"{path}: there is no such weights file.", "check --weights.")
    if path.suffix == ".safetensors":
        raise StepcellError(
            f"{path.name}: safetensors files are not read.",
            "torch.save(safetensors.torch.load_file(file), 'weights.pt') makes a file that is.",
        )
    target = built if isinstance(built, torch.nn.Module) else torch.nn.ModuleDict(built)
    try:
        target.load_state_dict(_state_dict(path))
    except RuntimeError as error:  # its message is a list of names, one a line
        lines = [line.strip() for line in str(error).splitlines()]
        what = next((line for line in lines[1:] if line), lines[0])
        raise StepcellError(
            f"{path.name}: it does not hold the module's weights: {what[:200]}", _SAVE
        ) from error


def _state_dict(path: Path) -> "dict[str, torch.Tensor]":
    found = _read(path)
    inside = next((key for key in _INSIDE if isinstance(found, Mapping) and key in found), None)
    flat = _flat(found[inside] if inside is not None and isinstance(found[inside], Mapping) else found)
    if flat is None:
        raise StepcellError(
            f"{path.name}: it does not hold the module's weights, but {type(found).__name__}.", _SAVE
        )
    return flat


def _read(path: Path) -> Any:
    import torch

    try:
        with quiet():
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        text = str(error)
        if "TorchScript" in text:
            what = "a TorchScript archive, which holds code"
        elif "Unsupported global" in text or "Unsupported class" in text:
            what = "a pickled module, which could run anything when it is loaded"
        else:
            raise StepcellError(
                f"{path.name}: it does not hold the module's weights: {first_line(error)}", _SAVE
            ) from error
        raise StepcellError(
            f"{path.name}: it is {what}; weights alone are allowed.",
            "load it where you trust it, and save torch.save(module.state_dict(), file).",
        ) from error


def _flat(found: Any) -> "dict[str, torch.Tensor] | None":
    """Tensors by name, those of a dict in the dict as OUTER.INNER; None for anything else."""
    import torch

    if not isinstance(found, Mapping):
        return None
    flat: dict[str, torch.Tensor] = {}
    for key, value in found.items():
        if isinstance(value, torch.Tensor):
            flat[str(key)] = value
        elif isinstance(value, Mapping):
            below = _flat(value)
            if below is None:
                return None
            flat |= {f"{key}.{name}": tensor for name, tensor in below.items()}
        else:
            return None
    return flat
