"""The equations of LSTM, GRU and RNN with everything that ONNX allows, as operations of a step graph.

Input and recurrent matrix stay apart, each with row scales of its own: joined, the larger one would set the
scale of both (docs/numerics.md, section 7).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from stepcell.ir.gates import gate_activation
from stepcell.ir.graph import recurrent_operand, writes
from stepcell.ir.model import FloatArray, Mask
from stepcell.ir.operators import FunctionName, Operator
from stepcell.ir.ops import (
    SIGMOID,
    TANH,
    Activate,
    Binary,
    Constant,
    Dense,
    Gate,
    Gru,
    Lstm,
    Op,
    Recurrent,
    Rnn,
    Take,
    Value,
)
from stepcell.ir.row_order import Order, lstm_row_order

_WITHIN_ONE = ("Sigmoid", "Tanh", "Softsign", "HardSigmoid")
_WITHIN_ZERO_AND_ONE = ("Sigmoid", "HardSigmoid")


@dataclass(eq=False)
class Cell:
    """One operation being taken apart; the model's weights and masks grow with it."""

    name: str
    values: Mapping[str, Value]
    weights: dict[str, FloatArray]
    masks: dict[str, Mask]
    ops: list[Op] = field(default_factory=list)
    bounds: dict[str, float] = field(default_factory=dict)
    """Values and states that cannot exceed a magnitude."""
    preactivations: set[str] = field(default_factory=set)
    loops: list[tuple[str, str]] = field(default_factory=list)

    def value(self, kind: str, size: int) -> Value:
        """A value of this cell."""
        return Value(f"{self.name}_{kind}", (size,))

    def size(self, name: str) -> int:
        """The number of elements of a value."""
        made = {value.name: value for op in self.ops for value in writes(op)}
        return (made.get(name) or self.values[name]).size

    def flat(self, name: str) -> str:
        """The value as a vector."""
        value = self.values[name]
        if len(value.shape) == 1:
            return name
        y = self.value("x", value.size)
        self.ops.append(Take(name, y, tuple(range(value.size))))
        return y.name

    def dense(self, x: str, kind: str, matrix: str, bias: FloatArray, y: Value | None = None) -> str:
        """matrix x + bias."""
        y = y or self.value(kind, len(bias))
        self.weights[f"{y.name}_bias"] = bias
        self.ops.append(Dense(x, y, matrix, f"{y.name}_bias"))
        return y.name

    def rows(self, matrix: str, kind: str, rows: slice | Order) -> str:
        """Some rows of a matrix, or all in another order, as one of its own, and so its mask."""
        name = f"{matrix}_{kind}"
        self.weights[name] = self.weights[matrix][rows]
        if matrix in self.masks:
            self.masks[name] = replace(self.masks[matrix], keep=self.masks[matrix].keep[rows])
        return name

    def split(
        self, x: str, kinds: tuple[str, ...], units: int, first: int = 0, order: Order | None = None
    ) -> list[str]:
        """Parts of `units` elements each, from gate `first` on; x has its rows in this order."""
        at = np.arange((first + len(kinds)) * units) if order is None else np.argsort(order)
        parts = [self.value(kind, units) for kind in kinds]
        for gate, part in enumerate(parts, start=first):
            self.ops.append(Take(x, part, tuple(int(i) for i in at[gate * units : (gate + 1) * units])))
        return [part.name for part in parts]

    def binary(self, operator: Operator, a: str, b: str, kind: str, y: Value | None = None) -> str:
        """a (operator) b, bounded if both are."""
        y = y or self.value(kind, self.size(a))
        self.ops.append(Binary(a, b, y, operator))
        if {a, b} <= self.bounds.keys():
            first, second = self.bounds[a], self.bounds[b]
            self.bounds.setdefault(y.name, first * second if operator == "mul" else first + second)
        return y.name

    def activate(
        self,
        x: str,
        kind: str,
        function: FunctionName,
        alpha: float | None = None,
        beta: float | None = None,
        y: Value | None = None,
    ) -> str:
        """function(x)."""
        y = y or self.value(kind, self.size(x))
        self.ops.append(Activate(x, y, function, alpha, beta))
        return y.name

    def gate(self, x: str, kind: str, gate: Gate, clip: float | None, y: Value | None = None) -> str:
        """A gate's activation of x, clipped before."""
        if clip is not None:
            x = self.activate(x, f"{kind}_clipped", "clip", -clip, clip)
            self.bounds[x] = clip
        made = self.activate(x, kind, *gate_activation(gate), y=y)
        if _gate_within_one(gate):
            self.bounds[made] = 1.0
        return made

    def constant(self, array: FloatArray, kind: str) -> str:
        """A parameter as a value."""
        y = self.value(kind, array.size)
        self.weights[f"{y.name}_value"] = array
        self.ops.append(Constant(y, f"{y.name}_value"))
        return y.name

    def note_preactivation(self, name: str, gates: tuple[Gate, ...], clip: float | None) -> None:
        """`name` is split into the arguments of these gates."""
        if clip is None and all(gate in (SIGMOID, TANH) for gate in gates):
            self.preactivations.add(name)


def _gate_within_one(gate: Gate) -> bool:
    scaled = gate.function == "ScaledTanh" and gate.alpha is not None and abs(gate.alpha) <= 1.0
    return gate.function in _WITHIN_ONE or scaled


def is_within_one(op: Recurrent) -> bool:
    """Whether h' lies within -1..1 if h does."""
    match op:
        case Lstm():
            return op.projection is None and all(map(_gate_within_one, (op.gates[0], op.gates[2])))
        case Gru():  # h' lies between n and h
            return op.gates[0].function in _WITHIN_ZERO_AND_ONE and _gate_within_one(op.gates[1])
        case Rnn():
            return _gate_within_one(op.gate)


def take_apart(op: Recurrent, cell: Cell) -> None:
    """The operations of one step."""
    match op:
        case Lstm():
            _lstm(op, cell)
        case Gru():
            _gru(op, cell)
        case Rnn():
            _rnn(op, cell)


def _preactivation(op: Lstm | Rnn, cell: Cell, order: Order | None = None) -> str:
    """W x + Wb + R h + Rb of every gate, the rows in another order if one is given."""
    bias = cell.weights[op.input_bias] + cell.weights[op.recurrent_bias]
    w, r = op.input_weights, op.recurrent_weights
    if order is not None:
        bias, w, r = bias[order], cell.rows(w, "by_unit", order), cell.rows(r, "by_unit", order)
    x = cell.dense(cell.flat(op.x), "from_x", w, bias)
    h = cell.dense(recurrent_operand(op), "from_h", r, np.zeros(len(bias)))
    return cell.binary("add", x, h, "preactivation")


def _lstm(op: Lstm, cell: Cell) -> None:
    units = op.c_next.size
    masked = any(name in cell.masks for name in (op.input_weights, op.recurrent_weights))
    order = lstm_row_order(units, 1) if masked else None  # the blocks of pruning are the gates of a unit
    whole = _preactivation(op, cell, order)
    cell.note_preactivation(whole, op.gates[:2], op.clip)
    i, o, f, c = cell.split(whole, ("i_sum", "o_sum", "f_sum", "c_sum"), units, order=order)
    holes = np.split(cell.weights[op.peepholes], 3) if op.peepholes else None
    if holes is not None:
        i = _peephole(cell, i, holes[0], op.c, "i")
        f = f if op.input_forget else _peephole(cell, f, holes[2], op.c, "f")
    i = cell.gate(i, "i", op.gates[0], op.clip)
    if op.input_forget:
        f = cell.activate(i, "f", "affine", -1.0, 1.0)
        if op.gates[0].function in _WITHIN_ZERO_AND_ONE:
            cell.bounds[f] = 1.0
    else:
        f = cell.gate(f, "f", op.gates[0], op.clip)
    kept = cell.binary("mul", f, op.c, "kept")
    new = cell.binary("mul", i, cell.gate(c, "c", op.gates[1], op.clip), "new")
    if op.cell_clip is None:
        c_next = cell.binary("add", kept, new, "", op.c_next)
    else:
        whole_cell = cell.binary("add", kept, new, "unclipped")
        c_next = cell.activate(whole_cell, "", "clip", -op.cell_clip, op.cell_clip, op.c_next)
    if holes is not None:
        o = _peephole(cell, o, holes[1], c_next, "o")
    o = cell.gate(o, "o", op.gates[0], op.clip)
    seen = cell.gate(c_next, "seen", op.gates[2], None)
    if op.projection is None:
        cell.binary("mul", o, seen, "", op.h_next)
        return
    inner = cell.binary("mul", o, seen, "unprojected")
    cell.dense(inner, "", op.projection, np.zeros(op.h_next.size), op.h_next)


def _peephole(cell: Cell, x: str, hole: FloatArray, c: str, kind: str) -> str:
    product = cell.binary("mul", c, cell.constant(hole, f"{kind}_hole"), f"{kind}_seen")
    return cell.binary("add", x, product, f"{kind}_with_c")


def _gru(op: Gru, cell: Cell) -> None:
    units = op.h_next.size
    input_bias, recurrent_bias = cell.weights[op.input_bias], cell.weights[op.recurrent_bias]
    gates = slice(0, 2 * units)
    if op.linear_before_reset:
        input_bias = input_bias + np.where(np.arange(3 * units) < 2 * units, recurrent_bias, 0.0)
        recurrent_bias = recurrent_bias - np.where(np.arange(3 * units) < 2 * units, recurrent_bias, 0.0)
        from_h = cell.dense(recurrent_operand(op), "from_h", op.recurrent_weights, recurrent_bias)
        gates_h = cell.split(from_h, ("zr_from_h",), 2 * units)[0]
    else:
        input_bias = input_bias + recurrent_bias
        matrix = cell.rows(op.recurrent_weights, "gates", gates)
        gates_h = from_h = cell.dense(op.h, "zr_from_h", matrix, np.zeros(2 * units))
    from_x = cell.dense(cell.flat(op.x), "from_x", op.input_weights, input_bias)
    gates_x = cell.split(from_x, ("zr_from_x",), 2 * units)[0]
    both = cell.binary("add", gates_x, gates_h, "zr_sum")
    cell.note_preactivation(both, op.gates[:1], op.clip)
    z, r = cell.split(both, ("z_sum", "r_sum"), units)
    z, r = cell.gate(z, "z", op.gates[0], op.clip), cell.gate(r, "r", op.gates[0], op.clip)
    (n_x,) = cell.split(from_x, ("n_from_x",), units, first=2)
    if op.linear_before_reset:
        n_h = cell.binary("mul", r, cell.split(from_h, ("n_from_h",), units, first=2)[0], "n_reset")
    else:
        matrix = cell.rows(op.recurrent_weights, "candidate", slice(2 * units, 3 * units))
        n_h = cell.dense(cell.binary("mul", r, op.h, "h_reset"), "n_from_h", matrix, np.zeros(units))
    n = cell.gate(cell.binary("add", n_x, n_h, "n_sum"), "n", op.gates[1], op.clip)
    change = cell.binary("mul", z, cell.binary("sub", op.h, n, "change"), "kept")
    cell.binary("add", n, change, "", op.h_next)


def _rnn(op: Rnn, cell: Cell) -> None:
    whole = _preactivation(op, cell)
    cell.gate(whole, "", op.gate, op.clip, op.h_next)
