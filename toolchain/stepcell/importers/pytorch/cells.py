"""A recurrent operator over one step, inside a loop, as the operations that its equations name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stepcell.importers.graph import Array, Node

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def is_one_step(node: Node, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a node is an LSTM, GRU or RNN over one step in one direction, without a projection."""
    if node.op not in _GATES or len(node.inputs) > 8 or "direction" in node.attributes:
        return False
    return shapes.get(node.inputs[0], (0,))[0] == 1


def taken_apart_cell(node: Node, constants: Mapping[str, Array]) -> tuple[list[Node], dict[str, Array]]:
    """The nodes of one step of the operator, with the same outputs, and the constants that they read."""
    made = _Writer(node, constants)
    x, h = node.inputs[0], node.inputs[5]
    match node.op:
        case "LSTM":
            states = made.lstm(x, h, node.inputs[6])
        case "GRU":
            states = [made.gru(x, h)]
        case _:
            activation = node.attributes.get("activations", ["Tanh"])[0]
            states = [made.add(activation, made.add("Add", *made.halves(x, h)))]
    for name, state in zip(node.outputs[1:], states, strict=False):
        made.nodes.append(Node("Identity", node.name, (state,), (name,)))
    axis = made.constant(np.array([1]))
    made.nodes.append(Node("Unsqueeze", node.name, (states[0], axis), (node.outputs[0],)))
    return made.nodes, made.constants


@dataclass(eq=False)
class _Writer:
    node: Node
    known: Mapping[str, Array]
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)

    def constant(self, array: Array) -> str:
        name = f"{self.node.outputs[0]}/const{len(self.constants)}"
        self.constants[name] = array
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        made = f"{self.node.outputs[0]}/{len(self.nodes)}"
        self.nodes.append(Node(op, self.node.name, inputs, (made,), attributes))
        return made

    def halves(self, x: str, h: str) -> tuple[str, str]:
        """W x + Wb and R h + Rb of all gates, [1, N, gates * units]."""
        w, r, b = (self.known[name][0] for name in self.node.inputs[1:4])
        biases = np.split(b, 2)
        products = (self.add("MatMul", v, self.constant(m.T)) for v, m in ((x, w), (h, r)))
        found = [self.add("Add", p, self.constant(bias)) for p, bias in zip(products, biases, strict=True)]
        return found[0], found[1]

    def gate(self, x: str, index: int) -> str:
        """Rows of one gate."""
        units = self.known[self.node.inputs[2]].shape[2]
        bounds = (np.array([n]) for n in (index * units, (index + 1) * units, -1))
        return self.add("Slice", x, *(self.constant(bound) for bound in bounds))

    def lstm(self, x: str, h: str, c: str) -> list[str]:
        """i, o, f, c~ -> h', c'."""
        whole = self.add("Add", *self.halves(x, h))
        i, o, f = (self.add("Sigmoid", self.gate(whole, k)) for k in range(3))
        candidate = self.add("Tanh", self.gate(whole, 3))
        after = self.add("Add", self.add("Mul", f, c), self.add("Mul", i, candidate))
        return [self.add("Mul", o, self.add("Tanh", after)), after]

    def gru(self, x: str, h: str) -> str:
        """z, r, n -> h', the reset gate after the matrix."""
        input_half, recurrent_half = self.halves(x, h)
        z, r = (
            self.add("Sigmoid", self.add("Add", self.gate(input_half, k), self.gate(recurrent_half, k)))
            for k in range(2)
        )
        reset = self.add("Mul", r, self.gate(recurrent_half, 2))
        n = self.add("Tanh", self.add("Add", self.gate(input_half, 2), reset))
        return self.add("Add", n, self.add("Mul", z, self.add("Sub", h, n)))
