"""PyTorch's stack, and storing into a part of a tensor, which ONNX has no operators for."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from stepcell.importers.graph import Array, Body, Graph, Node


def without_stacks(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> Graph:
    """The graph with PyTorch's stack, and storing into a part of a tensor, in ONNX's operators."""
    constants = dict(graph.constants)
    nodes = [part for node in graph.nodes for part in _in_onnx(node, constants, shapes)]
    return replace(graph, nodes=tuple(nodes), constants=constants)


def _in_onnx(node: Node, constants: dict[str, Array], shapes: Mapping[str, tuple[int, ...]]) -> list[Node]:
    if isinstance(node.attributes.get("body"), Body):
        body = node.attributes["body"]
        inner = [part for one in body.nodes for part in _in_onnx(one, constants, shapes)]
        return [replace(node, attributes={**node.attributes, "body": replace(body, nodes=tuple(inner))})]
    if node.op not in ("Stack", "Store"):
        return [node]
    prefix = f"{node.outputs[0]}/part"

    def ints(*values: int) -> str:
        name = f"{prefix}{len(constants)}"
        constants[name] = np.array(values, np.int64)
        return name

    axis = int(node.attributes["axis"])
    if node.op == "Stack":
        at = ints(axis)
        parts = [Node("Unsqueeze", node.name, (x, at), (f"{prefix}/{k}",)) for k, x in enumerate(node.inputs)]
    else:
        y, x = node.inputs
        start, end, size = (int(node.attributes["start"]), int(node.attributes["end"]), shapes[y][axis])
        parts = [
            Node("Slice", node.name, (y, ints(a), ints(b), ints(axis), ints(1)), (f"{prefix}/{k}",))
            for k, (a, b) in enumerate(((0, start), (end, size)))
            if b > a
        ]
        names = [part.outputs[0] for part in parts]
        names.insert(1 if start > 0 else 0, x)
        return [*parts, Node("Concat", node.name, tuple(names), node.outputs, {"axis": axis})]
    names = [part.outputs[0] for part in parts]
    return [*parts, Node("Concat", node.name, tuple(names), node.outputs, {"axis": axis})]


def gathered_stores(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> Graph:
    """A tensor filled step by step, `y[:, t] = ...` for every t, is a stack (or a concatenation) of them."""
    by_output = {node.outputs[0]: node for node in graph.nodes}
    made = {id(node): _gathered(node, by_output, shapes) for node in graph.nodes if node.op == "Store"}
    return replace(graph, nodes=tuple(made.get(id(node)) or node for node in graph.nodes))


def _gathered(
    node: Node, by_output: Mapping[str, Node], shapes: Mapping[str, tuple[int, ...]]
) -> Node | None:
    axis = int(node.attributes["axis"])
    parts: dict[int, str] = {}
    link: Node | None = node
    while link is not None and link.op == "Store" and int(link.attributes["axis"]) == axis:
        start, end = int(link.attributes["start"]), int(link.attributes["end"])
        if end != start + 1:
            return None
        parts.setdefault(start, link.inputs[1])
        link = by_output.get(link.inputs[0])
    if sorted(parts) != list(range(shapes[node.outputs[0]][axis])):
        return None
    inputs = tuple(parts[step] for step in range(len(parts)))
    return Node("Concat", node.name, inputs, node.outputs, {"axis": axis})
