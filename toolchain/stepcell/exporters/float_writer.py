"""Nodes for single operations: the same for a whole sequence, one step, and `finish`."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from stepcell.errors import StepcellError
from stepcell.exporters import float_attention as attention
from stepcell.exporters.float_functions import activate, reduce
from stepcell.exporters.float_windows import conv, take
from stepcell.ir import Model
from stepcell.ir.model import FloatArray
from stepcell.ir.ops import (
    Activate,
    Append,
    ArgMax,
    Attend,
    Binary,
    Concat,
    Constant,
    Conv,
    Dense,
    Embed,
    Normalize,
    Op,
    Reduce,
    Take,
    Value,
)

_OPERATORS = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max", "min": "Min"}


@dataclass(eq=False)
class Writer:
    """Nodes over tensors with `lead` axes before a value's own: [time, batch, ...] or [batch, ...]."""

    model: Model
    lead: int
    names: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: dict[str, onnx.TensorProto] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)
    """state that sums from zero -> the summed tensor [time, batch, ...]"""
    batch: str = ""
    """The number of sequences, as a shape of one axis."""
    steps: str = ""
    """The number of steps, as a shape of one axis."""
    backward: bool = False
    """Recurrent operators run from the end of the sequence."""

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Append a node of one output; its name."""
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def array(self, name: str, array: FloatArray) -> str:
        """A float32 initializer."""
        self.tensors[name] = numpy_helper.from_array(np.asarray(array, np.float32), name)
        return name

    def ints(self, *values: int) -> str:
        """An initializer that is a list of integers."""
        name = "ints_" + "_".join(str(v).replace("-", "m") for v in values) if len(values) < 9 else ""
        name = name or f"indices_{len(self.tensors)}"
        self.tensors[name] = numpy_helper.from_array(np.array(values, np.int64), name)
        return name

    def reshaped(self, source: str, shape: tuple[int, ...], output: str) -> str:
        """The tensor with its leading axes kept and these behind them."""
        return self.add("Reshape", [source, self.ints(*[0] * self.lead, *shape)], output)

    def define(self, value: Value, name: str | None = None) -> str:
        """Note where a value lies; its tensor's name."""
        self.names[value.name] = name or value.name
        self.shapes[value.name] = value.shape
        return self.names[value.name]

    def flat(self, name: str, output: str) -> str:
        """A value as [lead..., n]."""
        return self.reshaped(self.names[name], (-1,), output)


def write(w: Writer, op: Op) -> None:  # noqa: C901, PLR0912 - one case an operation
    """One operation that has no state."""
    match op:
        case Dense():
            product = w.add("MatMul", [w.names[op.x], _turned(w, op.weights)], f"{op.y.name}_product")
            w.add("Add", [product, w.array(op.bias, w.model.weights[op.bias])], w.define(op.y))
        case Activate():
            activate(w, op, w.names[op.x], w.define(op.y))
        case Reduce():
            reduce(w, op, w.names[op.x], w.define(op.y))
        case Normalize():
            numbers = [w.array(name, w.model.weights[name]) for name in (op.gain, op.bias)]
            x = w.names[op.x]
            w.add("LayerNormalization", [x, *numbers], w.define(op.y), axis=-1, epsilon=op.epsilon)
        case ArgMax():
            w.add("ArgMax", [w.names[op.x]], w.define(op.y), axis=-1, keepdims=0)
        case Embed():
            table = w.array(op.table, w.model.weights[op.table])
            w.add("Gather", [table, w.names[op.token]], w.define(op.y), axis=0)
        case Binary():
            sides = [_aligned(w, name, len(op.y.shape)) for name in (op.a, op.b)]
            w.add(_OPERATORS[op.operator], sides, w.define(op.y))
        case Constant():
            array = w.model.weights[op.weights]
            w.define(op.y, w.array(f"{op.y.name}_{w.lead}", array.reshape((1,) * w.lead + array.shape)))
        case Conv():
            conv(w, op, _lead_shape(w))
        case Take():
            take(w, op)
        case Append() | Attend() if w.lead == 1:
            attention.append(w, op) if isinstance(op, Append) else attention.attend(w, op)
        case Concat():
            parts = [full(w, x, f"{op.y.name}_part{i}") for i, x in enumerate(op.xs)]
            w.reshaped(w.add("Concat", parts, f"{op.y.name}_flat", axis=w.lead), op.y.shape, w.define(op.y))
        case _:
            raise StepcellError(
                f"{w.model.name}: {type(op).__name__} is not exported.", "use a plain recurrent model."
            )


def _turned(w: Writer, weights: str) -> str:
    """A matrix as MatMul wants it on the right: [inputs, outputs]."""
    return w.array(f"{weights}_transposed", w.model.weights[weights].T)


def _aligned(w: Writer, name: str, rank: int) -> str:
    """An operand with as many axes as the result, ones put in before its own."""
    shape = w.shapes[name]
    if len(shape) == rank:
        return w.names[name]
    return w.reshaped(w.names[name], (1,) * (rank - len(shape)) + shape, f"{name}_rank{rank}")


def full(w: Writer, name: str, output: str) -> str:
    """A value as [lead..., n], a constant repeated along the leading axes."""
    flat = w.flat(name, output)
    if w.names[name] not in w.tensors:
        return flat
    size = int(np.prod(w.shapes[name], dtype=int))
    shape = w.add("Concat", [_lead_shape(w), w.ints(size)], f"{output}_shape", axis=0)
    return w.add("Expand", [flat, shape], f"{output}_full")


def _lead_shape(w: Writer) -> str:
    if w.lead == 1:
        return w.batch
    return w.add("Concat", [w.steps, w.batch], f"lead_{len(w.nodes)}", axis=0)


def batch_shape(w: Writer) -> str:
    """The number of sequences, as a shape of one axis."""
    return w.batch
