"""Recurrent cells written as ONNX nodes, in the ways that exporters write them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper

Array = np.ndarray[Any, Any]


@dataclass
class Cells:
    """Nodes and constants of one or more cells; `prefix` keeps copies apart, weights are shared."""

    inputs: int = 3
    units: int = 5
    seed: int = 0
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)

    def add(self, op: str, inputs: Sequence[str], output: str | list[str], **attributes: Any) -> str:
        """Append a node; its first output."""
        outputs = [output] if isinstance(output, str) else output
        self.nodes.append(helper.make_node(op, list(inputs), outputs, name=f"to {outputs[0]}", **attributes))
        return outputs[0]

    def weight(self, name: str, *shape: int) -> str:
        """A random constant, the same for the same name."""
        random = np.random.default_rng([self.seed, *name.encode()])
        self.constants.setdefault(name, (0.5 * random.standard_normal(shape)).astype(np.float32))
        return name

    def gates(self, x: str, h: str, prefix: str, count: int, joined: bool) -> str:
        """W x + R h + b of all gates [N, count * units]: one matrix of [x h], or two with a bias each."""
        rows = count * self.units
        if joined:
            both = self.add("Concat", [x, h], f"{prefix}xh", axis=1)
            product = self.add(
                "MatMul", [both, self.weight("K", self.inputs + self.units, rows)], f"{prefix}m"
            )
            return self.add("Add", [product, self.weight("bk", rows)], f"{prefix}gates")
        first = self.add(
            "Gemm", [x, self.weight("W", rows, self.inputs), self.weight("bw", rows)], f"{prefix}gx", transB=1
        )
        second = self.add("MatMul", [h, self.weight("R", self.units, rows)], f"{prefix}gr")
        second = self.add("Add", [self.weight("br", rows), second], f"{prefix}gh")
        return self.add("Add", [second, first], f"{prefix}gates")

    def split(self, value: str, prefix: str, count: int, by_slices: bool = False) -> list[str]:
        """A value [N, count * units] in equal parts."""
        names = [f"{prefix}s{k}" for k in range(count)]
        if not by_slices:
            self.constants.setdefault(f"sizes{count}", np.array([self.units] * count))
            self.add("Split", [value, f"sizes{count}"], names, axis=1)
            return names
        for k, name in enumerate(names):
            for what, number in (("from", k * self.units), ("to", (k + 1) * self.units)):
                self.constants[f"{what}{number}"] = np.array([number])
            self.constants["axis1"] = np.array([1])
            self.add("Slice", [value, f"from{k * self.units}", f"to{(k + 1) * self.units}", "axis1"], name)
        return names

    def lstm(
        self,
        x: str,
        h: str,
        c: str,
        prefix: str = "",
        order: str = "ifgo",
        joined: bool = False,
        slices: bool = False,
    ) -> tuple[str, str]:
        """(h', c') of gates in any order."""
        parts = self.split(self.gates(x, h, prefix, 4, joined), prefix, 4, slices)
        gate = {
            letter: self.add("Tanh" if letter == "g" else "Sigmoid", [part], f"{prefix}gate_{letter}")
            for letter, part in zip(order, parts, strict=True)
        }
        kept = self.add("Mul", [c, gate["f"]], f"{prefix}fc")
        new = self.add("Mul", [gate["i"], gate["g"]], f"{prefix}ig")
        c_next = self.add("Add", [new, kept], f"{prefix}c_next")
        return self.add(
            "Mul", [self.add("Tanh", [c_next], f"{prefix}tc"), gate["o"]], f"{prefix}h_next"
        ), c_next

    def gru(
        self,
        x: str,
        h: str,
        prefix: str = "",
        after: bool = True,
        form: str = "(1-z)n+zh",
        biases: bool = True,
    ) -> str:
        """h' of a GRU, its reset gate before or after the matrix; `form` says how z mixes."""
        rows = 3 * self.units
        px = self.add(
            "Gemm", [x, self.weight("W", rows, self.inputs), self.weight("bw", rows)], f"{prefix}px", transB=1
        )
        xz, xr, xn = self.split(px, f"{prefix}x", 3)
        if after:
            ph = self.add("MatMul", [h, self.weight("R", self.units, rows)], f"{prefix}ph")
            ph = self.add("Add", [ph, self.weight("br", rows)], f"{prefix}phb") if biases else ph
            hz, hr, hn = self.split(ph, f"{prefix}h", 3)
        else:
            ph = self.add("MatMul", [h, self.weight("R2", self.units, 2 * self.units)], f"{prefix}ph")
            hz, hr = self.split(ph, f"{prefix}h", 2)
        z = self.add("Sigmoid", [self.add("Add", [xz, hz], f"{prefix}az")], f"{prefix}z")
        r = self.add("Sigmoid", [self.add("Add", [hr, xr], f"{prefix}ar")], f"{prefix}r")
        if after:
            reset = self.add("Mul", [r, hn], f"{prefix}rhn")
        else:
            reset = self.add("Mul", [r, h], f"{prefix}rh")
            reset = self.add("MatMul", [reset, self.weight("Rn", self.units, self.units)], f"{prefix}rhn")
        n = self.add("Tanh", [self.add("Add", [xn, reset], f"{prefix}an")], f"{prefix}n")
        return self._mixed(z, n, h, prefix, form)

    def _mixed(self, z: str, n: str, h: str, prefix: str, form: str) -> str:
        self.constants["unit"] = np.array(1.0, np.float32)
        a, b = (n, h) if form.endswith("zh") or form == "n+z(h-n)" else (h, n)
        if "(h-n)" in form or "(n-h)" in form:
            difference = self.add("Sub", [b, a], f"{prefix}d")
            return self.add("Add", [a, self.add("Mul", [z, difference], f"{prefix}zd")], f"{prefix}h_next")
        rest = self.add("Sub", ["unit", z], f"{prefix}1z")
        first = self.add("Mul", [rest, a], f"{prefix}first")
        return self.add("Add", [first, self.add("Mul", [b, z], f"{prefix}second")], f"{prefix}h_next")

    def rnn(self, x: str, h: str, prefix: str = "", function: str = "Tanh", joined: bool = False) -> str:
        """h' of a plain cell."""
        return self.add(function, [self.gates(x, h, prefix, 1, joined)], f"{prefix}h_next")
