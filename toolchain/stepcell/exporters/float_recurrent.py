"""LSTM, GRU and RNN nodes with all of their attributes, for a whole sequence or one step.

ONNX's LSTM has no projection. One step of a projected one is a step of an LSTM whose input is x and h
together, which reads no state but c, and then a matrix.
"""

from typing import Any

import numpy as np
from onnx import helper

from stepcell.exporters.float_writer import Writer, full
from stepcell.ir.gates import gate_activation
from stepcell.ir.model import FloatArray
from stepcell.ir.ops import SIGMOID, TANH, Gate, Gru, Lstm, Recurrent, Rnn

_DEFAULT: dict[str, tuple[Gate, ...]] = {"LSTM": (SIGMOID, TANH, TANH), "GRU": (SIGMOID, TANH), "RNN": ()}


def write_recurrent(w: Writer, op: Recurrent, starts: dict[str, str]) -> dict[str, str]:
    """A node over [time, batch, inputs]; where Y [T, 1, B, H] and the last states [1, B, H] lie."""
    weights = w.model.weights
    return _node(w, op, _sequence(w, op.x, op.h_next.name), weights[op.recurrent_weights], starts)


def write_projected_step(w: Writer, op: Lstm, starts: dict[str, str]) -> dict[str, str]:
    """One step of an LSTM with a projection; where h' [1, B, P] and c' [1, B, H] lie."""
    assert op.projection is not None
    name, weights = op.h_next.name, w.model.weights
    both = w.add("Concat", [_sequence(w, op.x, name), starts[op.h]], f"{name}_x_and_h", axis=2)
    nothing = np.zeros((4 * op.c_next.size, op.c_next.size))
    made = _node(w, op, both, nothing, {op.c: starts[op.c]})
    matrix = w.array(f"{op.projection}_transposed", weights[op.projection].T)
    return {"h": w.add("MatMul", [made["h"], matrix], f"{name}_projected"), "c": made["c"]}


def write_clipped_step(w: Writer, op: Lstm, starts: dict[str, str]) -> dict[str, str]:
    """One step of a plain LSTM whose cell is clipped: the node's c', clipped, and h' made of that."""
    assert op.cell_clip is not None
    name, weights, units = op.h_next.name, w.model.weights, op.c_next.size
    made = write_recurrent(w, op, starts)
    limits = [
        w.array(f"{name}_{side}", np.asarray(k * op.cell_clip)) for side, k in (("least", -1), ("most", 1))
    ]
    c = w.add("Clip", [made["c"], *limits], f"{name}_clipped")
    rows = slice(units, 2 * units)  # of the output gate
    x = _sequence(w, op.x, f"{name}_again")
    parts = []
    for read, matrix in ((x, op.input_weights), (starts[op.h], op.recurrent_weights)):
        transposed = w.array(f"{matrix}_o", weights[matrix][rows].T)
        parts.append(w.add("MatMul", [read, transposed], f"{matrix}_product"))
    bias = w.array(f"{name}_bias_o", (weights[op.input_bias] + weights[op.recurrent_bias])[rows])
    total = w.add("Add", [w.add("Add", parts, f"{name}_o_sum"), bias], f"{name}_o_whole")
    gate, squashed = w.add("Sigmoid", [total], f"{name}_o"), w.add("Tanh", [c], f"{name}_squashed")
    return {"h": w.add("Mul", [gate, squashed], f"{name}_h"), "c": c}


def _node(w: Writer, op: Recurrent, x: str, recurrent: FloatArray, starts: dict[str, str]) -> dict[str, str]:
    name, weights = op.h_next.name, w.model.weights
    matrix, label = weights[op.input_weights], op.input_weights
    if isinstance(op, Lstm) and op.projection:
        matrix, label = (
            np.concatenate([matrix, weights[op.recurrent_weights]], axis=1),
            f"{label}_and_recurrent",
        )
    bias = np.concatenate([weights[op.input_bias], weights[op.recurrent_bias]])
    inputs = [
        x,
        w.array(f"{label}_1", matrix[None]),
        w.array(f"{op.recurrent_weights}_1", recurrent[None]),
        w.array(f"{name}_bias", bias[None]),
        "",
        starts.get(op.h, ""),
    ]
    outputs = [f"{name}_Y", f"{name}_last"]
    if isinstance(op, Lstm):
        inputs += [starts.get(op.c, ""), _peepholes(w, op)]
        outputs += [f"{op.c_next.name}_last"]
    while not inputs[-1]:
        inputs.pop()
    attributes = _attributes(op) | ({"direction": "reverse"} if w.backward and w.lead == 2 else {})
    kind = type(op).__name__.upper()
    w.nodes.append(helper.make_node(kind, inputs, outputs, name=op.h.removesuffix("_h"), **attributes))
    return dict(zip(("y", "h", "c"), outputs, strict=False))


def _sequence(w: Writer, x: str, name: str) -> str:
    flat = full(w, x, f"{name}_x") if len(w.shapes[x]) != 1 or w.names[x] in w.tensors else w.names[x]
    return flat if w.lead == 2 else w.add("Unsqueeze", [flat, w.ints(0)], f"{name}_x1")


def _peepholes(w: Writer, op: Lstm) -> str:
    return "" if op.peepholes is None else w.array(f"{op.peepholes}_1", w.model.weights[op.peepholes][None])


def _attributes(op: Recurrent) -> dict[str, Any]:
    hidden = op.c_next.size if isinstance(op, Lstm) else op.h_next.size
    found: dict[str, Any] = {"hidden_size": hidden}
    if op.clip is not None:
        found["clip"] = op.clip
    match op:
        case Lstm():
            found |= {"input_forget": 1} if op.input_forget else {}
        case Gru():
            found["linear_before_reset"] = int(op.linear_before_reset)
    gates = (op.gate,) if isinstance(op, Rnn) else op.gates
    return found if gates == _DEFAULT[type(op).__name__.upper()] else found | _activations(gates)


def _activations(gates: tuple[Gate, ...]) -> dict[str, Any]:
    """Their names, and the parameters of those that take any, in order."""
    parameters = [gate_activation(gate)[1:] for gate in gates]
    alphas = [alpha for alpha, _ in parameters if alpha is not None]
    betas = [beta for _, beta in parameters if beta is not None]
    found: dict[str, Any] = {"activations": [gate.function for gate in gates]}
    found |= {"activation_alpha": alphas} if alphas else {}
    return found | ({"activation_beta": betas} if betas else {})
