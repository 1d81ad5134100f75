"""Nodes that stand for what a frontend could not translate: they keep its place in the Graph, and say why.

So translating goes on behind the first refusal, and lifting lists every one, whatever the source.
"""

from stepcell.errors import StepcellError
from stepcell.importers.graph import Graph, Node, all_nodes

REFUSED = "Refused"


class ReadsRefused(Exception):
    """A node's body yields what a refused node would make, which has been noted already."""


def refused_node(
    name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], refusal: StepcellError | None
) -> Node:
    """A node for an operation that is refused, or (without a refusal) reads what such a node makes."""
    return Node(REFUSED, name, inputs, outputs, {"refusal": refusal})


def refusal_of(node: Node) -> StepcellError | None:
    """Why a frontend refused the operation that the node stands for."""
    found: StepcellError | None = node.attributes["refusal"] if node.op == REFUSED else None
    return found


def refusals(graph: Graph) -> list[StepcellError]:
    """What a frontend refused, in order, whether an output depends on it or not: it may have effects."""
    found = (refusal_of(node) for node in all_nodes(graph.nodes))
    return [refusal for refusal in found if refusal is not None]


def require_translated(graph: Graph) -> None:
    """Raise the first refusal of the frontend."""
    for refusal in refusals(graph)[:1]:
        raise refusal
