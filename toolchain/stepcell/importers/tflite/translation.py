"""What translating one subgraph builds up: for each tensor the name that it has in the Graph."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.builder import Builder
from stepcell.importers.graph import Array
from stepcell.importers.tflite.schema import Operator, SubGraph, TensorInfo, TfliteFile

Translator = Callable[["Translation", Operator], None]

FUSED = {0: "", 1: "Relu", 2: "Clip", 3: "Clip", 4: "Tanh"}
"""Activations within an operator; 2 clips to -1..1, 3 to 0..6."""
_END = 2**31 - 1
BOUNDS = {2: (-1.0, 1.0), 3: (0.0, 6.0)}


@dataclass(eq=False)
class Translation:
    """The tensors of `graph` by name in the Graph; nodes and constants go to `builder`."""

    source: TfliteFile
    graph: SubGraph
    builder: Builder
    prefix: str = ""
    names: dict[int, str] = field(default_factory=dict)
    reals: dict[int, Array] = field(default_factory=dict)
    reversals: dict[int, tuple[str, int]] = field(default_factory=dict)
    """tensor -> (what it is the reverse of, along which axis); the Graph has it where something reads it"""
    ends: dict[int, tuple[str, int]] = field(default_factory=dict)
    """results of a layer -> (what its last step gives, the axis of time)"""
    widened: dict[str, tuple[str, int]] = field(default_factory=dict)
    """name -> what it is with one axis of size one more, and which"""

    def tensor(self, index: int) -> TensorInfo:
        """What the file says of a tensor."""
        return self.graph.tensors[index]

    def where(self, op: Operator) -> str:
        """What the user knows an operation by: the name of its first output."""
        name = self.tensor(op.outputs[0]).name if op.outputs else ""
        return name or f"{self.prefix}{op.name.lower()}"

    def refuse(self, op: Operator, what: str, hint: str) -> StepcellError:
        """The user's error for an operation."""
        return StepcellError(f"{self.source.file}: node '{self.where(op)}' ({op.name}) {what}.", hint)

    def index(self, op: Operator, k: int) -> int | None:
        """The tensor of input k; None if it is absent."""
        found = op.inputs[k] if k < len(op.inputs) else -1
        return None if found < 0 else found

    def given(self, op: Operator, k: int) -> int:
        """The tensor of input k, which the operator cannot do without."""
        found = self.index(op, k)
        if found is None:
            raise self.refuse(op, f"lacks its input {k}", "convert the model again.")
        return found

    def shape(self, op: Operator, k: int) -> tuple[int, ...]:
        """The shape of input k, a free axis with the size that the file was converted with."""
        return self.tensor(self.given(op, k)).shape

    def output_shape(self, op: Operator) -> tuple[int, ...]:
        """The shape of the first output."""
        return self.tensor(op.outputs[0]).shape

    def name(self, index: int, op: Operator) -> str:
        """A tensor's name in the Graph; constants as real numbers."""
        if index not in self.names and index in self.reversals:
            x, axis = self.reversals[index]
            self.names[index] = self.reverse(op, x, axis)
        if index not in self.names:
            if self.tensor(index).data is None:
                name = self.tensor(index).name
                raise self.refuse(op, f"reads '{name}', which nothing before it computes", "check the file.")
            self.names[index] = self.builder.constant(self.real(index, op))
        return self.names[index]

    def x(self, op: Operator, k: int = 0) -> str:
        """Input k by its name in the Graph."""
        return self.name(self.given(op, k), op)

    def real(self, index: int, op: Operator) -> Array:
        """A constant: integers with a scale as real numbers, anything else as it is stored."""
        if index not in self.reals:
            self.reals[index] = self._real(index, op)
        return self.reals[index]

    def _real(self, index: int, op: Operator) -> Array:
        found = self.tensor(index)
        if found.data is None:
            raise self.refuse(
                op, f"reads '{found.name}' where only a constant is allowed", "convert the model again."
            )
        if found.dtype is not None and found.dtype.kind == "f":
            return found.data.astype(np.float32)
        if found.quantization is None:
            return found.data
        along = [1] * len(found.shape)
        if len(found.quantization.scales) > 1:
            along[found.quantization.axis] = -1
        scales = np.reshape(found.quantization.scales, along if found.shape else ())
        zeros = np.reshape(found.quantization.zero_points, along if found.shape else ())
        return np.asarray((found.data.astype(np.float64) - zeros) * scales)

    def constant(self, op: Operator, k: int) -> Array:
        """Input k, which has to be a constant, as real numbers."""
        return self.real(self.given(op, k), op)

    def optional(self, op: Operator, k: int) -> Array | None:
        """Input k as a constant; None if it is absent."""
        index = self.index(op, k)
        return None if index is None else self.real(index, op)

    def integers(self, op: Operator, k: int) -> list[int]:
        """Input k as a list of constant integers."""
        found = self.constant(op, k)
        if found.dtype.kind not in "iu" or found.size > 64:
            raise self.refuse(op, f"has no list of integers as input {k}", "convert the model again.")
        return [int(n) for n in found.ravel()]

    def one(self, op: Operator, kind: str, *inputs: str, **attributes: object) -> str:
        """Append a node of one output; its name."""
        return self.builder.one(kind, self.where(op), *inputs, **attributes)

    def unsqueeze(self, op: Operator, x: str, axis: int) -> str:
        """x with an axis of size one more."""
        made = self.one(op, "Unsqueeze", x, self.builder.ints(axis))
        self.widened[made] = x, axis
        return made

    def squeeze(self, op: Operator, x: str, axis: int) -> str:
        """x without an axis of size one; what was widened by it is as it was before."""
        before, added = self.widened.get(x, ("", -1))
        return before if added == axis else self.one(op, "Squeeze", x, self.builder.ints(axis))

    def reverse(self, op: Operator, x: str, axis: int) -> str:
        """x backwards along an axis."""
        ints = self.builder.ints
        return self.one(op, "Slice", x, ints(_END), ints(-_END), ints(axis), ints(-1))

    def result(self, op: Operator, name: str, k: int = 0) -> None:
        """Output k of the operation is `name` in the Graph."""
        if k >= len(op.outputs):
            raise self.refuse(op, f"lacks its output {k}", "convert the model again.")
        self.names[op.outputs[k]] = name

    def activated(self, op: Operator, x: str) -> None:
        """The result of the operation is its fused activation of x."""
        self.result(op, self.activation(op, x, int(op.options["activation"])))

    def activation(self, op: Operator, x: str, code: int) -> str:
        """The activation of x that a code in the options names."""
        if code not in FUSED:
            raise self.refuse(
                op, f"has the activation {code}; none, relu, relu6 and tanh are allowed", "use one of those."
            )
        if not FUSED[code]:
            return x
        limits = [self.builder.constant(np.float32(limit)) for limit in BOUNDS.get(code, ())]
        return self.one(op, FUSED[code], x, *limits)
