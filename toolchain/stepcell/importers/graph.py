"""What every importer translates its source into: nodes with ONNX meaning, constants, named inputs.

A free axis of an input has a symbol instead of a size; equal symbols are equal sizes.
"""

from collections.abc import Iterable, Iterator, Mapping
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


@dataclass(frozen=True, eq=False)
class Body:
    """The graph inside a node (a branch of If, what Loop and Scan repeat); it reads outer names, too."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]


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
    kind: Literal["onnx", "torch", "tflite", "keras"]
    sha256: str
    opset: int
    inputs: tuple[GraphInput, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    output_shapes: tuple[tuple[int | str, ...] | None, ...] = ()
    """The outputs' shapes where the file states them; only to propose states to the user."""
    max_steps: int | None = None
    """Rows of a memory of every step, where the graph's own number of steps does not tell."""
    memories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Inputs that hold every step of another function: what each axis is, `batch`, `time` or `inner`."""


class Unsupported(Exception):
    """A node that cannot be imported; whoever knows the file turns it into a StepcellError."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def at(self, file: str, node: Node) -> StepcellError:
        """The user's error: file, node, what was found and what is allowed; then the hint."""
        return StepcellError(f"{file}: {node} {self.what}.", self.hint)


def bodies(node: Node) -> list[Body]:
    """The graphs inside a node."""
    return [value for value in node.attributes.values() if isinstance(value, Body)]


def reads_of(node: Node) -> tuple[str, ...]:
    """What a node reads: its inputs, and the outer names that the graphs inside it read."""
    return (*node.inputs, *(name for body in bodies(node) for name in _captured(body)))


def _captured(body: Body) -> list[str]:
    own = {*body.inputs, *body.constants, *(name for node in body.nodes for name in node.outputs)}
    read = [name for node in body.nodes for name in reads_of(node)]
    return [name for name in (*read, *body.outputs) if name not in own]


def all_nodes(nodes: Iterable[Node]) -> Iterator[Node]:
    """The nodes, and those inside them."""
    for node in nodes:
        yield node
        for body in bodies(node):
            yield from all_nodes(body.nodes)


def reachable(graph: Graph) -> tuple[Node, ...]:
    """The nodes that the outputs depend on, in the file's order."""
    wanted = set(graph.outputs)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if wanted.intersection(node.outputs):
            wanted.update(reads_of(node))
            kept.append(node)
    return tuple(reversed(kept))


def renamed(body: Body, prefix: str, given: Mapping[str, str]) -> Body:
    """The body with names of its own, so that it can stand in another graph; `given` names its inputs."""
    own = {name: f"{prefix}{name}" for name in body.constants}
    own |= {name: f"{prefix}{name}" for node in body.nodes for name in node.outputs if name}
    names = {**own, **given}
    inner = {name: value for name, value in names.items() if name in own or name in body.inputs}
    constants = {own[name]: array for name, array in body.constants.items()}
    nodes = tuple(_renamed_node(node, inner) for node in body.nodes)
    inputs = tuple(inner.get(name, name) for name in body.inputs)
    return Body(inputs, tuple(inner.get(name, name) for name in body.outputs), nodes, constants)


def _renamed_node(node: Node, names: Mapping[str, str]) -> Node:
    attributes = {
        key: _recaptured(value, names) if isinstance(value, Body) else value
        for key, value in node.attributes.items()
    }
    inputs = tuple(names.get(name, name) for name in node.inputs)
    outputs = tuple(names.get(name, name) for name in node.outputs)
    return Node(node.op, node.name, inputs, outputs, attributes)


def _recaptured(body: Body, names: Mapping[str, str]) -> Body:
    """A body whose outer names have changed; a name of its own hides an outer one."""
    own = {*body.inputs, *body.constants, *(name for node in body.nodes for name in node.outputs)}
    outer = {old: new for old, new in names.items() if old not in own}
    nodes = tuple(_renamed_node(node, outer) for node in body.nodes)
    return Body(body.inputs, tuple(outer.get(name, name) for name in body.outputs), nodes, body.constants)
