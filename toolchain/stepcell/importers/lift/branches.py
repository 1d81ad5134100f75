"""If: a branch that a constant condition chooses takes the node's place in the graph."""

from dataclasses import replace

from stepcell.importers.graph import Body, Graph, Node, Unsupported, renamed
from stepcell.importers.lift.attributes import Operands
from stepcell.importers.lift.context import Tensor, known


class Choice(Exception):
    """An If whose condition is known; lifting starts again with the branch in its place."""

    def __init__(self, node: Node, taken: bool) -> None:
        super().__init__(str(node))
        self.node = node
        self.taken = taken


def choose(node: Node, operands: Operands) -> None:
    """Raise Choice for a constant condition; Unsupported for one that depends on data."""
    if isinstance(operands[0], Tensor):
        raise Unsupported(
            "chooses a branch by what its input holds; a condition of constants and shapes is allowed",
            "fix what it depends on with --bind NAME=NUMBER, or export the branch that you need.",
        )
    condition = known(operands[0], "a condition")
    if condition.size != 1:
        raise Unsupported(f"has a condition of {condition.size} elements", "check the file.")
    raise Choice(node, bool(condition.ravel()[0]))


def inlined(graph: Graph, choice: Choice) -> Graph:
    """The graph with the chosen branch in place of the If."""
    body = choice.node.attributes.get("then_branch" if choice.taken else "else_branch")
    if not isinstance(body, Body) or len(body.outputs) != len(choice.node.outputs) or body.inputs:
        raise Unsupported("has branches that do not fit its outputs", "check the file.").at(
            graph.file, choice.node
        )
    own = renamed(body, f"{choice.node.outputs[0]}/", {})
    results = zip(own.outputs, choice.node.outputs, strict=True)
    handed = tuple(
        Node("Identity", choice.node.name, (inner,), (outer,)) for inner, outer in results if outer
    )
    nodes: list[Node] = []
    for node in graph.nodes:
        nodes += (*own.nodes, *handed) if node is choice.node else (node,)
    return replace(graph, nodes=tuple(nodes), constants={**graph.constants, **own.constants})
