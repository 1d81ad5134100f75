"""The Scan that takes the place of equal frames."""

from collections.abc import Mapping
from dataclasses import replace

from stepcell.importers.graph import Array, Body, Graph, Node
from stepcell.importers.unrolled.cells import Cell, Steps


def with_scan(graph: Graph, steps: Steps, cell: Cell, zeros: list[Array]) -> Graph | None:
    """The graph with the Scan in place of the frames; None where something else reads them."""
    sequence, axis = steps.frames.sequence, steps.frames.axis
    prefix = f"{sequence}/scan{axis}"
    lists = _collected(graph, steps)
    results = {name: f"{prefix}/last{i}" for i, name in enumerate(cell.last)}
    stacked = {m: f"{prefix}/all{i}" for i, m in enumerate(dict.fromkeys(m for _, m in lists))}
    body = _body(graph, steps, cell, list(stacked))
    if body is None:
        return None
    own = zeros[0].ndim
    starts = {f"{prefix}/zero{i}": array for i, array in enumerate(zeros)}
    made: list[Node] = []
    x = sequence
    if axis != 0:
        x = f"{prefix}/frames"
        made.append(Node("SwapAxes", prefix, (sequence,), (x,), {"axes": [0, axis]}))
    attributes = {"body": body, "num_scan_inputs": 1}
    outputs = (*results.values(), *stacked.values())
    made.append(Node("Scan", prefix, (*starts, x), outputs, attributes))
    for node, m in lists:
        place = int(node.attributes.get("axis", 0))
        order = [*range(1, place + 1), 0, *range(place + 1, own + 1)]
        made.append(Node("Transpose", node.name, (stacked[m],), node.outputs, {"perm": order}))
    gone = {id(node) for node, _ in lists}
    return _replaced(graph, steps, made, results, gone, starts)


def _collected(graph: Graph, steps: Steps) -> list[tuple[Node, int]]:
    """(Concat, meaning of what it joins): nodes that join one result of every frame along a new axis."""
    found = []
    for node in graph.nodes:
        if node.op != "Concat" or len(node.inputs) != steps.count:
            continue
        levels = [steps.level.get(name) for name in node.inputs]
        inner = [steps.maker[name] for name in node.inputs if name in steps.maker]
        if levels != list(range(steps.count)) or any(one.op != "Unsqueeze" for one in inner):
            continue
        meanings = {steps.meaning[one.inputs[0]] for one in inner[1:]}
        if len(meanings) == 1:
            found.append((node, meanings.pop()))
    return found


def _body(graph: Graph, steps: Steps, cell: Cell, collected: list[int]) -> Body | None:
    """The Scan's body: states and a frame in, states and the results that are collected out."""
    by_meaning = {steps.meaning[output]: output for node in cell.nodes for output in node.outputs}
    if any(m not in by_meaning for m in collected):
        return None
    reads = {name for node in cell.nodes for name in node.inputs}
    constants = {name: graph.constants[name] for name in reads if name in graph.constants}
    outputs = (*cell.after, *(by_meaning[m] for m in collected))
    return Body((*cell.before, steps.frames.names[2]), outputs, cell.nodes, constants)


def _replaced(
    graph: Graph,
    steps: Steps,
    made: list[Node],
    results: Mapping[str, str],
    gone: set[int],
    starts: Mapping[str, Array],
) -> Graph | None:
    """The new nodes behind what they read; None where a frame or a result of one is still read."""
    nodes: list[Node] = []
    pending = list(made)
    for node in graph.nodes:
        if any(name in steps.level for name in node.inputs) and pending:
            nodes += pending
            pending = []
        if id(node) not in gone:
            nodes.append(replace(node, inputs=tuple(results.get(name, name) for name in node.inputs)))
    outputs = tuple(results.get(name, name) for name in graph.outputs)
    whole = replace(graph, nodes=tuple(nodes), outputs=outputs, constants={**graph.constants, **starts})
    kept = _needed(whole)
    if {name for node in kept for name in node.inputs} & {*steps.frames.names}:
        return None
    return replace(whole, nodes=kept)


def _needed(graph: Graph) -> tuple[Node, ...]:
    wanted = set(graph.outputs)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if wanted.intersection(node.outputs):
            wanted.update(node.inputs)
            kept.append(node)
    return tuple(reversed(kept))
