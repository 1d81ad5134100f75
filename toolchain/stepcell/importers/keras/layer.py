"""One layer of a Keras model being translated: its options, its weights and what it reads."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.builder import Builder
from stepcell.importers.graph import Array
from stepcell.importers.keras.archive import KerasFile

Shape = tuple[int | None, ...]
"""Without the batch axis; None for a free axis."""


@dataclass(frozen=True)
class Tensor:
    """A tensor [batch, ...] of the Graph."""

    name: str
    shape: Shape

    @property
    def rank(self) -> int:
        """How many axes it has, the batch axis among them."""
        return len(self.shape) + 1


@dataclass(frozen=True, eq=False)
class Layer:
    """`path` leads to the weights of a layer inside another; `outer` is then the other's name."""

    file: KerasFile
    builder: Builder
    kind: str
    config: dict[str, Any]
    outer: str = ""
    path: str = ""

    @property
    def name(self) -> str:
        """What the user knows it by."""
        return str(self.config.get("name", self.kind))

    def option(self, key: str, default: Any = None) -> Any:
        """An option; the default where the file does not say."""
        return self.config.get(key, default)

    def refuse(self, what: str, hint: str) -> StepcellError:
        """The user's error for this layer."""
        return StepcellError(f"{self.file.file}: layer '{self.name}' ({self.kind}) {what}.", hint)

    def weights(self, *shapes: tuple[int, ...]) -> list[Array]:
        """Its weights, which must have these shapes; -1 is any size."""
        found = self.file.weights(self.outer or self.name, self.path)
        fits = len(found) == len(shapes) and all(
            array.ndim == len(shape) and all(n in (-1, m) for n, m in zip(shape, array.shape, strict=True))
            for array, shape in zip(found, shapes, strict=True)
        )
        if not fits:
            sizes = ", ".join(str(list(array.shape)) for array in found) or "none"
            raise self.refuse(f"has weights of shapes {sizes}, which do not fit", "save the model again.")
        return [np.asarray(array, np.float64) for array in found]

    def one(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Append a node of one output; its name."""
        return self.builder.one(op, self.name, *inputs, **attributes)

    def constant(self, value: Any) -> str:
        """The name of a constant."""
        return self.builder.constant(np.asarray(value))

    def ints(self, *values: int) -> str:
        """The name of a list of integers."""
        return self.builder.ints(*values)


Translator = Callable[[Layer, list[Tensor]], Tensor]


def only(layer: Layer, inputs: list[Tensor]) -> Tensor:
    """The only input of a layer."""
    if len(inputs) != 1:
        raise layer.refuse(f"reads {len(inputs)} tensors; one is allowed", "leave initial states out.")
    return inputs[0]


def over_steps(layer: Layer, inputs: list[Tensor]) -> Tensor:
    """The only input, [batch, time, features] with known features."""
    x = only(layer, inputs)
    if x.rank != 3 or x.shape[1] is None:
        raise layer.refuse(
            f"reads a tensor of {x.rank} axes; [batch, time, features] is allowed", "reshape its input."
        )
    return x


def features_of(layer: Layer, x: Tensor) -> int:
    """The size of the last axis."""
    if not x.shape or x.shape[-1] is None:
        raise layer.refuse("reads a last axis of no known size", "give the model's input a shape.")
    return x.shape[-1]
