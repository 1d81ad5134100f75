"""A Graph under construction: nodes with ONNX meaning and their constants."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.graph import Array, Node
from stepcell.importers.refused import refused_node

Translator = Callable[["Builder", str, list[Any], dict[str, Any]], Any]


@dataclass(eq=False)
class Builder:
    """The nodes and constants so far; helpers append a node and return the name of its result."""

    file: str
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """The traced shape of every tensor that the source tells; a free axis has its example's size."""
    integers: set[str] = field(default_factory=set)
    """Which of them hold integers."""
    refused: set[str] = field(default_factory=set)
    """What refused operations would have made, and what only such tensors feed."""

    def constant(self, value: Any) -> str:
        """The name of a constant."""
        name = f"const_{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        self.shapes[name] = self.constants[name].shape
        return name

    def ints(self, *values: int | str) -> str:
        """The name of a list of integers, of which some may be sizes that the graph computes."""
        if not any(isinstance(value, str) for value in values):
            return self.constant(np.array(values, np.int64))
        parts = (value if isinstance(value, str) else self.constant(np.int64(value)) for value in values)
        zero = self.constant(np.zeros(1, np.int64))
        rows = [self.one("Unsqueeze", "sizes", part, zero) for part in parts]
        return self.one("Concat", "sizes", *rows, axis=0)

    def add(self, op: str, where: str, *inputs: str, outputs: int = 1, **attributes: Any) -> tuple[str, ...]:
        """Append a node; the names of its outputs."""
        made = tuple(f"{where}.{len(self.nodes)}.{k}" for k in range(outputs))
        self.nodes.append(Node(op, where, inputs, made, attributes))
        return made

    def refuse(
        self, where: str, inputs: tuple[str, ...], outputs: int, refusal: StepcellError | None
    ) -> tuple[str, ...]:
        """Append a node for what is refused, or reads what is; the names of its outputs, one at least."""
        made = tuple(f"{where}.{len(self.nodes)}.{k}" for k in range(max(outputs, 1)))
        self.nodes.append(refused_node(where, inputs, made, refusal))
        self.refused.update(made)
        return made

    def one(self, op: str, where: str, *inputs: str, **attributes: Any) -> str:
        """Append a node of one output; its name."""
        (made,) = self.add(op, where, *inputs, **attributes)
        self._note(made, op, inputs, attributes)
        return made

    def _note(self, made: str, op: str, inputs: tuple[str, ...], attributes: dict[str, Any]) -> None:
        """The shapes of what only moves axes; a traced source tells those of its own results."""
        shape = self.shapes.get(inputs[0]) if inputs else None
        if shape is None:
            return
        if op == "Identity":
            self.shapes[made] = shape
        elif op == "Transpose":
            self.shapes[made] = tuple(shape[axis] for axis in attributes["perm"])
        elif op == "Unsqueeze" and inputs[1] in self.constants:
            axes = [int(axis) for axis in self.constants[inputs[1]]]
            self.shapes[made] = tuple(np.expand_dims(np.empty(shape, np.bool_), axes).shape)

    def operand(self, value: Any) -> str:
        """A tensor's name as it is; a Python number as a constant."""
        return value if isinstance(value, str) else self.constant(np.float64(value))

    def rank(self, name: str) -> int:
        """How many axes a tensor has."""
        return len(self.shapes[name])
