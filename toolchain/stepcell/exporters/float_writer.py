"""Nodes for single operations: the same for a whole sequence, one step, and `finish`."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from stepcell.errors import StepcellError
from stepcell.ir import Model
from stepcell.ir.model import FloatArray
from stepcell.ir.ops import (
    Activate,
    Binary,
    Concat,
    Constant,
    Dense,
    Gru,
    Lstm,
    Op,
    Recurrent,
    Rnn,
    Take,
    Value,
)

_FUNCTIONS = {
    "identity": "Identity",
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "softmax": "Softmax",
}
_OPERATORS = {"add": "Add", "sub": "Sub", "mul": "Mul", "max": "Max"}


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


def write(w: Writer, op: Op) -> None:
    """One operation that has no state."""
    match op:
        case Dense():
            product = w.add("MatMul", [w.names[op.x], _turned(w, op.weights)], f"{op.y.name}_product")
            w.add("Add", [product, w.array(op.bias, w.model.weights[op.bias])], w.define(op.y))
        case Activate():
            extra = {"axis": -1} if op.function == "softmax" else {}
            w.add(_FUNCTIONS[op.function], [w.names[op.x]], w.define(op.y), **extra)
        case Binary():
            sides = [_aligned(w, name, len(op.y.shape)) for name in (op.a, op.b)]
            w.add(_OPERATORS[op.operator], sides, w.define(op.y))
        case Constant():
            array = w.model.weights[op.weights]
            w.define(op.y, w.array(f"{op.y.name}_{w.lead}", array.reshape((1,) * w.lead + array.shape)))
        case Take():
            flat = w.flat(op.x, f"{op.y.name}_flat")
            taken = w.add("Gather", [flat, w.ints(*op.indices)], f"{op.y.name}_taken", axis=w.lead)
            w.reshaped(taken, op.y.shape, w.define(op.y))
        case Concat():
            parts = [_full(w, x, f"{op.y.name}_part{i}") for i, x in enumerate(op.xs)]
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


def _full(w: Writer, name: str, output: str) -> str:
    """A value as [lead..., n], a constant repeated along the leading axes."""
    flat = w.flat(name, output)
    if w.names[name] not in w.tensors:
        return flat
    size = int(np.prod(w.shapes[name], dtype=int))
    shape = w.add("Concat", [_lead_shape(w), w.ints(size)], f"{output}_shape", axis=0)
    return w.add("Expand", [flat, shape], f"{output}_full")


def _lead_shape(w: Writer) -> str:
    x = next(name for name in w.names.values() if name not in w.tensors)
    return w.add("Shape", [x], f"lead_{len(w.nodes)}", start=0, end=w.lead)


def batch_shape(w: Writer) -> str:
    """The number of sequences, as a shape of one axis."""
    x = next(name for name in w.names.values() if name not in w.tensors)
    return w.add("Shape", [x], f"batch_{len(w.nodes)}", start=w.lead - 1, end=w.lead)


def write_recurrent(w: Writer, op: Recurrent, starts: dict[str, str]) -> dict[str, str]:
    """An LSTM, GRU or RNN node over [time, batch, inputs]; where Y [T, B, H] and the last states lie."""
    if isinstance(op, Lstm) and (op.peepholes or op.projection or op.input_forget):
        raise StepcellError(
            f"{w.model.name}: peepholes, projection and input_forget are not exported.", "leave them out."
        )
    kind, name = type(op).__name__.upper(), op.h_next.name
    weights = w.model.weights
    inputs = [
        _flat_sequence(w, op.x, name),
        w.array(f"{op.input_weights}_1", weights[op.input_weights][None]),
        w.array(f"{op.recurrent_weights}_1", weights[op.recurrent_weights][None]),
        w.array(f"{name}_bias", np.concatenate([weights[op.input_bias], weights[op.recurrent_bias]])[None]),
    ]
    inputs += ["", starts.get(op.h, "")] + ([starts.get(op.c, "")] if isinstance(op, Lstm) else [])
    outputs = [f"{name}_Y", f"{name}_last"] + ([f"{op.c_next.name}_last"] if isinstance(op, Lstm) else [])
    while not inputs[-1]:
        inputs.pop()
    attributes = _attributes(op)
    w.nodes.append(helper.make_node(kind, inputs, outputs, name=op.h.removesuffix("_h"), **attributes))
    return dict(zip(("y", "h", "c"), outputs, strict=False))


def _flat_sequence(w: Writer, x: str, name: str) -> str:
    flat = _full(w, x, f"{name}_x") if len(w.shapes[x]) != 1 or w.names[x] in w.tensors else w.names[x]
    return flat if w.lead == 2 else w.add("Unsqueeze", [flat, w.ints(0)], f"{name}_x1")


def _attributes(op: Recurrent) -> dict[str, Any]:
    found: dict[str, Any] = {"hidden_size": op.h_next.size}
    if op.clip is not None:
        found["clip"] = op.clip
    match op:
        case Gru():
            found["linear_before_reset"] = int(op.linear_before_reset)
        case Rnn():
            found["activations"] = [op.gate.function]
        case _:
            pass
    return found
