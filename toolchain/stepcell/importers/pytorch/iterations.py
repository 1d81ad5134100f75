"""The iterations of a Python loop in a trace: blocks of equal nodes, each of which reads its own step."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from stepcell.importers.graph import Array, Graph, Node

Shapes = dict[str, tuple[int, ...]]
SequenceAxis = tuple[str, int]
"""(tensor, its time axis)"""
Key = tuple[int, int]
"""(node of the block, which of its outputs)"""
_COMMUTATIVE = ("Add", "Mul", "Max", "Min")
_FEWEST = 3
"""Iterations; of two, one is the first and one the last."""


@dataclass(frozen=True)
class Pick:
    """One step of a sequence; `keeps` its axis, with size one."""

    sequence: SequenceAxis
    step: int
    keeps: bool


@dataclass(eq=False)
class Loop:
    """The blocks of a loop. `made[i]` names what iteration i computes, `initial` what the first is given."""

    steps: int
    backward: bool
    template: list[Node]
    """The second iteration."""
    own: dict[str, Key]
    """What it computes."""
    before: dict[str, Key]
    """What the first computes."""
    made: list[dict[Key, str]] = field(default_factory=list)
    initial: dict[Key, str] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)

    def step(self, iteration: int) -> int:
        """Which step of the sequences an iteration reads."""
        return self.steps - 1 - iteration if self.backward else iteration

    @property
    def places(self) -> dict[str, tuple[int, Key]]:
        """(iteration, key) of every value."""
        return {name: (i, key) for i, made in enumerate(self.made) for key, name in made.items()}


def picks_of(graph: Graph, shapes: Shapes) -> dict[str, Pick]:
    """What takes one step out of a tensor: a Gather of one index, a Slice of length one."""
    found: dict[str, Pick] = {}
    for node in graph.nodes:
        picked = _picked(node, graph.constants, shapes)
        if picked is not None:
            found[node.outputs[0]] = picked
    return found


def _picked(node: Node, constants: Mapping[str, Array], shapes: Shapes) -> Pick | None:
    if node.op not in ("Gather", "Slice") or node.inputs[0] not in shapes or node.inputs[0] in constants:
        return None
    x = node.inputs[0]
    if any(name not in constants for name in node.inputs[1:]):
        return None
    if node.op == "Gather":
        index = constants[node.inputs[1]]
        axis = int(node.attributes.get("axis", 0)) % max(len(shapes[x]), 1)
        return Pick((x, axis), int(index) % shapes[x][axis], False) if index.ndim == 0 else None
    numbers = [constants[name] for name in node.inputs[1:]]
    if any(array.size != 1 for array in numbers) or len(numbers) < 3:
        return None
    start, end, axis, step = (int(array.ravel()[0]) for array in [*numbers, np.ones(1)][:4])
    axis %= len(shapes[x])
    start += shapes[x][axis] if start < 0 else 0
    end = min(end, shapes[x][axis])
    return Pick((x, axis), start, True) if end == start + 1 and step == 1 else None


def complete_sequences(picks: Mapping[str, Pick], shapes: Shapes) -> list[SequenceAxis]:
    """Tensors of which every step of an axis is picked."""
    steps: dict[SequenceAxis, set[int]] = {}
    for pick in picks.values():
        steps.setdefault(pick.sequence, set()).add(pick.step)
    return [
        (x, axis)
        for (x, axis), found in steps.items()
        if len(found) == shapes[x][axis] and len(found) >= _FEWEST
    ]


def loop_over(graph: Graph, picks: Mapping[str, Pick], sequence: SequenceAxis, shapes: Shapes) -> Loop | None:
    """The loop over a sequence; None where its iterations are not equal blocks."""
    nodes = [node for node in graph.nodes if node.outputs[0] not in picks]
    steps = shapes[sequence[0]][sequence[1]]
    first = [next(_readers(nodes, picks, sequence, step), None) for step in range(steps)]
    if None in first:
        return None
    places = [place for place in first if place is not None]
    backward = places[0] > places[-1]
    places = places[::-1] if backward else places
    distances = set(np.diff(places).tolist())
    if len(distances) != 1 or min(distances) <= 0:
        return None
    (size,) = distances
    for start in range(max(places[0] - size + 1, 0), places[0] + 1):
        loop = _blocks(graph, nodes, picks, start, size, steps, backward)
        if loop is not None:
            return loop
    return None


def _readers(
    nodes: Sequence[Node], picks: Mapping[str, Pick], sequence: SequenceAxis, step: int
) -> Iterator[int]:
    for place, node in enumerate(nodes):
        for name in node.inputs:
            if name in picks and (picks[name].sequence, picks[name].step) == (sequence, step):
                yield place


def _blocks(
    graph: Graph,
    nodes: Sequence[Node],
    picks: Mapping[str, Pick],
    start: int,
    size: int,
    steps: int,
    backward: bool,
) -> Loop | None:
    """The loop whose first iteration is nodes[start : start + size]; None if the iterations differ."""
    blocks = [nodes[start + i * size : start + (i + 1) * size] for i in range(steps - 1)]
    if len(blocks[-1]) < size:
        return None
    first, second = ({name: key for key, name in _made(block).items()} for block in blocks[:2])
    loop = Loop(steps, backward, list(blocks[1]), second, first)
    for i, block in enumerate(blocks):
        loop.made.append(_made(block))
        if not all(_equal(graph, picks, loop, i, j, node) for j, node in enumerate(block)):
            return None
        loop.used.update(id(node) for node in block)
    loop.made.append({})
    _find_last(graph, nodes[start + (steps - 1) * size :], picks, loop)
    return loop if _starts_before(loop) else None


def _made(block: Sequence[Node]) -> dict[Key, str]:
    return {(j, k): name for j, node in enumerate(block) for k, name in enumerate(node.outputs)}


def _starts_before(loop: Loop) -> bool:
    """Whether what the first iteration is given comes from outside the loop."""
    places = loop.places
    return not any(name in places for name in loop.initial.values())


def _find_last(graph: Graph, nodes: Sequence[Node], picks: Mapping[str, Pick], loop: Loop) -> None:
    """The last iteration: what nothing reads is not there, and what follows the loop may stand between."""
    last = loop.steps - 1
    for j in range(len(loop.template)):
        for node in nodes:
            if id(node) not in loop.used and _equal(graph, picks, loop, last, j, node):
                loop.used.add(id(node))
                loop.made[last] |= {(j, k): name for k, name in enumerate(node.outputs)}
                break


def _equal(graph: Graph, picks: Mapping[str, Pick], loop: Loop, iteration: int, j: int, node: Node) -> bool:
    """Whether a node does in its iteration what the j-th of the template does in the second."""
    wanted = loop.template[j]
    if (node.op, len(node.inputs), len(node.outputs)) != (wanted.op, len(wanted.inputs), len(wanted.outputs)):
        return False
    if not _same_attributes(node.attributes, wanted.attributes):
        return False
    orders = [node.inputs, node.inputs[::-1]] if node.op in _COMMUTATIVE else [node.inputs]
    return any(_all_correspond(graph, picks, loop, iteration, wanted.inputs, names) for names in orders)


def _all_correspond(
    graph: Graph,
    picks: Mapping[str, Pick],
    loop: Loop,
    iteration: int,
    wanted: Sequence[str],
    names: Sequence[str],
) -> bool:
    before = dict(loop.initial)
    pairs = zip(wanted, names, strict=True)
    if all(_corresponds(graph, picks, loop, iteration, a, b) for a, b in pairs):
        return True
    loop.initial = before
    return False


def _same_attributes(a: Mapping[str, object], b: Mapping[str, object]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)  # type: ignore[arg-type]


def _corresponds(
    graph: Graph, picks: Mapping[str, Pick], loop: Loop, iteration: int, wanted: str, name: str
) -> bool:
    """Whether an operand is to its iteration what `wanted` is to the second."""
    if wanted in picks:
        a, b = picks[wanted], picks.get(name)
        return a.step == loop.step(1) and b == replace(a, step=loop.step(iteration))
    if wanted in loop.own:
        return loop.made[iteration].get(loop.own[wanted]) == name
    if wanted in loop.before:
        key = loop.before[wanted]
        if iteration == 0:
            return loop.initial.setdefault(key, name) == name
        return loop.made[iteration - 1].get(key) == name
    return name == wanted or _same_constant(graph.constants, wanted, name)


def _same_constant(constants: Mapping[str, Array], a: str, b: str) -> bool:
    return a in constants and b in constants and np.array_equal(constants[a], constants[b])
