"""Which Models the torch module computes; the rest is refused by name."""

from typing import NoReturn

from stepcell.errors import StepcellError
from stepcell.ir.model import Model


def verify_trainable(model: Model) -> Model:
    """Return the model if a module can be built from it; else StepcellError names what cannot."""
    if len(model.functions) != 1:
        names = ", ".join(function.name for function in model.functions)
        _refuse(model, f"it has the functions {names}", "export one function to train it.")
    return model


def _refuse(model: Model, what: str, hint: str) -> NoReturn:
    raise StepcellError(f"{model.name}: {what}, which cannot be trained yet.", hint)
