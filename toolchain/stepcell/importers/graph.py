"""What every importer translates its source into: nodes with ONNX meaning, constants, named inputs.

A free axis of an input has a symbol instead of a size; equal symbols are equal sizes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stepcell.errors import StepcellError

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Node:
    """One operation with the meaning of the ONNX operator `op`; an absent optional input is ''."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"node '{self.name or next(filter(None, self.outputs), '?')}' ({self.op})"


@dataclass(frozen=True)
class GraphInput:
    """An input: its axes' sizes (a symbol where the file leaves one free) and its numpy type."""

    name: str
    shape: tuple[int | str, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True, eq=False)
class Graph:
    """A source model. `opset` is the ONNX version whose meaning the nodes have."""

    file: str
    kind: Literal["onnx", "torch"]
    sha256: str
    opset: int
    inputs: tuple[GraphInput, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]


class Unsupported(Exception):
    """A node that cannot be imported; whoever knows the file turns it into a StepcellError."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def at(self, file: str, node: Node) -> StepcellError:
        """The user's error: file, node, what was found and what is allowed; then the hint."""
        return StepcellError(f"{file}: {node} {self.what}.", self.hint)


def reachable(graph: Graph) -> tuple[Node, ...]:
    """The nodes that the outputs depend on, in the file's order."""
    wanted = set(graph.outputs)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if wanted.intersection(node.outputs):
            wanted.update(node.inputs)
            kept.append(node)
    return tuple(reversed(kept))
