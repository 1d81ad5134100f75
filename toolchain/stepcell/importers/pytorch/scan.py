"""A loop as one Scan, and what reads the loop rewritten to read the Scan."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from stepcell.importers.graph import Array, Body, Graph, Node
from stepcell.importers.pytorch.cells import is_one_step, taken_apart_cell
from stepcell.importers.pytorch.iterations import Key, Loop, Pick, SequenceAxis, Shapes


def with_scan(graph: Graph, loop: Loop, picks: Mapping[str, Pick], shapes: Shapes) -> Graph:
    """The graph with the loop's nodes replaced by one Scan, and by what picks the steps that others read."""
    made = _Rewriter(graph, loop, picks, shapes)
    start = min(place for place, node in enumerate(graph.nodes) if id(node) in loop.used)
    rest = [node for node in graph.nodes[start:] if id(node) not in loop.used]
    after = [one for node in rest for one in made.after(node)]
    outputs = tuple(made.read(name) for name in graph.outputs)
    scan, constants = made.scan()
    return replace(
        graph,
        nodes=(*graph.nodes[:start], *scan, *made.added, *after),
        outputs=outputs,
        constants={**graph.constants, **constants},
    )


class _Rewriter:
    """What reads the loop, rewritten to read the Scan; it collects which outputs the Scan needs."""

    def __init__(self, graph: Graph, loop: Loop, picks: Mapping[str, Pick], shapes: Shapes) -> None:
        self.graph, self.loop, self.picks, self.shapes = graph, loop, picks, shapes
        self.places = loop.places
        self.name = f"{loop.template[0].name}.loop{len(graph.nodes)}"
        self.every: dict[tuple[Key, int], str] = {}
        """(key, new axis) -> the Scan's output of every step"""
        self.added: list[Node] = []
        self.constants: dict[str, Array] = {}
        self.taken: dict[str, str] = {}
        outside = [node for node in graph.nodes if id(node) not in loop.used and self._stacked(node) is None]
        read = {self.places[name] for node in outside for name in node.inputs if name in self.places}
        self.listed = {key for iteration, key in read if iteration < loop.steps - 1}
        """What others read of earlier iterations, too"""

    def after(self, node: Node) -> list[Node]:
        """A node that reads the loop: a stack of every iteration is the Scan's output."""
        key = self._stacked(node)
        axis = int(node.attributes.get("axis", 0))
        if key is None:
            return [replace(node, inputs=tuple(self.read(name) for name in node.inputs))]
        every = self._every(key, axis if node.op == "Stack" else axis % len(self._shape(key)))
        if node.op == "Stack":
            return [Node("Identity", node.name, (every,), node.outputs)]
        at = self._constant(np.array([axis % len(self._shape(key)) + 1]))
        return [Node("Squeeze", node.name, (every, at), node.outputs)]

    def _stacked(self, node: Node) -> Key | None:
        """The value of which a node joins every step in order."""
        if node.op not in ("Stack", "Concat") or len(node.inputs) != self.loop.steps:
            return None
        found = [self.places.get(name) for name in node.inputs]
        keys = {place[1] for place in found if place is not None}
        order = [place[0] for place in found if place is not None]
        if len(keys) != 1 or [self.loop.step(i) for i in order] != list(range(self.loop.steps)):
            return None
        (key,) = keys
        axis = int(node.attributes.get("axis", 0))
        return key if node.op == "Stack" or self._shape(key)[axis] == 1 else None

    def _shape(self, key: Key) -> tuple[int, ...]:
        return self.shapes[self.loop.made[1][key]]

    def _every(self, key: Key, axis: int) -> str:
        """The Scan's output that has the value of every step."""
        name = self.every.setdefault((key, axis), f"{self.name}/every{len(self.every)}")
        shape = self._shape(key)
        self.shapes[name] = (*shape[:axis], self.loop.steps, *shape[axis:])
        return name

    def read(self, name: str) -> str:
        """A value that may be the loop's: the last state, or one step of every step's value."""
        if name not in self.places:
            return name
        iteration, key = self.places[name]
        if iteration == self.loop.steps - 1 and key in self.loop.initial and key not in self.listed:
            return f"{self.name}/last{list(self.loop.initial).index(key)}"
        if name not in self.taken:
            every = self._every(key, 0)
            index = self._constant(np.int64(self.loop.step(iteration)))
            self.taken[name] = f"{self.name}/taken{len(self.taken)}"
            self.added.append(Node("Gather", self.name, (every, index), (self.taken[name],), {"axis": 0}))
            self.shapes[self.taken[name]] = self._shape(key)
        return self.taken[name]

    def _constant(self, array: Array | np.int64) -> str:
        name = f"{self.name}/const{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def scan(self) -> tuple[list[Node], dict[str, Array]]:
        """The Scan, and the constants that the new nodes read."""
        loop = self.loop
        sequences = dict.fromkeys(
            self.picks[name].sequence for node in loop.template for name in node.inputs if name in self.picks
        )
        states = [f"{self.name}/state{k}" for k in range(len(loop.initial))]
        steps = {sequence: f"{self.name}/step{k}" for k, sequence in enumerate(sequences)}
        state_of = dict(zip(loop.initial, states, strict=True))
        names = {old: state_of[key] for old, key in loop.before.items() if key in state_of}
        nodes = self._body(steps, names)
        following = [loop.made[1][key] for key in loop.initial]
        yielded = [loop.made[1][key] for key, _ in self.every]
        body = Body((*states, *steps.values()), (*following, *yielded), tuple(nodes), {})
        outputs = (*(f"{self.name}/last{k}" for k in range(len(states))), *self.every.values())
        attributes = {
            "body": body,
            "num_scan_inputs": len(steps),
            "scan_input_axes": [axis for _, axis in steps],
            "scan_output_axes": [axis for _, axis in self.every],
            "scan_input_directions": [int(loop.backward)] * len(steps),
            "scan_output_directions": [int(loop.backward)] * len(self.every),
        }
        starts = tuple(self._start(key, name) for key, name in loop.initial.items())
        inputs = (*starts, *(x for x, _ in steps))
        return [Node("Scan", self.name, inputs, outputs, attributes)], self.constants

    def _start(self, key: Key, name: str) -> str:
        """Where a state starts: a constant in the shape that the state has."""
        shape = self._shape(key)
        array = self.graph.constants.get(name)
        if array is None or array.shape == shape:
            return name
        return self._constant(np.broadcast_to(array, shape))

    def _body(self, steps: Mapping[SequenceAxis, str], names: dict[str, str]) -> list[Node]:
        nodes: list[Node] = []
        for old in dict.fromkeys(n for node in self.loop.template for n in node.inputs if n in self.picks):
            pick = self.picks[old]
            names[old] = steps[pick.sequence]
            if pick.keeps:
                names[old] = f"{old}/kept"
                axis = self._constant(np.array([pick.sequence[1]]))
                nodes.append(Node("Unsqueeze", self.name, (steps[pick.sequence], axis), (names[old],)))
        for node in self.loop.template:
            renamed = replace(node, inputs=tuple(names.get(name, name) for name in node.inputs))
            if is_one_step(node, self.shapes):
                parts, constants = taken_apart_cell(renamed, self.graph.constants)
                nodes += parts
                self.constants |= constants
            else:
                nodes.append(renamed)
        return nodes
