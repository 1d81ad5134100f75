"""A Graph under construction: nodes with ONNX meaning and their constants."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stepcell.importers.graph import Array, Node

Translator = Callable[["Builder", str, list[Any], dict[str, Any]], Any]


@dataclass(eq=False)
class Builder:
    """The nodes and constants so far; helpers append a node and return the name of its result."""

    file: str
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)

    def constant(self, value: Any) -> str:
        """The name of a constant."""
        name = f"const_{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def ints(self, *values: int) -> str:
        """The name of a list of integers."""
        return self.constant(np.array(values, np.int64))

    def add(self, op: str, where: str, *inputs: str, outputs: int = 1, **attributes: Any) -> tuple[str, ...]:
        """Append a node; the names of its outputs."""
        made = tuple(f"{where}.{len(self.nodes)}.{k}" for k in range(outputs))
        self.nodes.append(Node(op, where, inputs, made, attributes))
        return made

    def one(self, op: str, where: str, *inputs: str, **attributes: Any) -> str:
        """Append a node of one output; its name."""
        return self.add(op, where, *inputs, **attributes)[0]

    def operand(self, value: Any) -> str:
        """A tensor's name as it is; a Python number as a constant."""
        return value if isinstance(value, str) else self.constant(np.float64(value))
