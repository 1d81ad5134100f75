"""LSTM, GRU and RNN: the operators that say which axis is time."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stepcell.importers.graph import Node, Unsupported
from stepcell.importers.lift.attributes import Operands
from stepcell.importers.lift.axes import Axes, Axis, Relabel, extent, inner, is_open, labels
from stepcell.importers.lift.context import (
    Direction,
    Lift,
    Lifted,
    Phase,
    Tensor,
    data,
    flat,
    inner_shape,
    known,
    movable,
    tensor,
)
from stepcell.importers.lift.initial import initial_state
from stepcell.ir.ops import RELU, TANH, Concat, Gate, Gru, Lstm, Op, Rnn, Value

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_DEFAULT = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
_RNN_GATES: dict[tuple[str, ...], Gate] = {("Tanh",): TANH, ("Relu",): RELU}


@dataclass(frozen=True)
class _Cell:
    """One direction of one operator: its names, and what it reads."""

    name: str
    x: str
    hidden: int
    direction: Direction

    @property
    def parameters(self) -> tuple[str, str, str, str]:
        kinds = ("input_weights", "recurrent_weights", "input_bias", "recurrent_bias")
        input_weights, recurrent_weights, input_bias, recurrent_bias = (
            f"{self.name}_{kind}" for kind in kinds
        )
        return input_weights, recurrent_weights, input_bias, recurrent_bias

    def value(self, state: str) -> Value:
        """What the state h or c becomes."""
        return Value(f"{self.name}_{state}_next", (self.hidden,))


def recurrent(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Every direction of the operator; its outputs Y, Y_h and (LSTM) Y_c."""
    operands = operands + [None] * (8 - len(operands))
    _check_attributes(node, operands)
    directions = _directions(node)
    x = tensor(operands[0])
    time, batch = _sequence_axes(lift, x)
    weights = [_weights(node, operands, d, inner(x.axes[2])) for d in range(len(directions))]
    source = flat(lift, x)
    base = lift.fresh(node.op.lower())
    cells = []
    for d, direction in enumerate(directions):
        name = base if d == 0 else f"{base}_reverse"
        cell = _Cell(name, source, weights[d][1].shape[1], direction)
        lift.weights.update(zip(cell.parameters, weights[d], strict=True))
        _emit(lift, node, cell, [None if s is None else _direction(s, d) for s in operands[5:7]])
        cells.append(cell)
    return _outputs(lift, node, cells, time, batch)


def _check_attributes(node: Node, operands: Operands) -> None:
    plain = "use a plain forward LSTM, GRU or RNN."
    if operands[4] is not None:
        raise Unsupported(
            "has sequence_lens; no lengths are allowed", "feed sequences of equal length at a time."
        )
    if operands[7] is not None:
        raise Unsupported("has peepholes (input P); a plain LSTM is allowed", plain)
    if node.attributes.get("layout", 0):
        raise Unsupported(
            "has layout 1; layout 0 (time first) is allowed", "ONNX Runtime does not run it either."
        )
    if node.attributes.get("input_forget", 0):
        raise Unsupported("has input_forget 1; a plain LSTM is allowed", plain)
    if "activation_alpha" in node.attributes or "activation_beta" in node.attributes:
        raise Unsupported("has activation_alpha or activation_beta; neither is allowed", plain)
    if "clip" in node.attributes and not node.attributes["clip"] > 0:
        raise Unsupported(f"clips at {node.attributes['clip']}; a positive limit is allowed", plain)
    _activations(node)


def _activations(node: Node) -> tuple[str, ...]:
    """The activations of one direction; the same for each."""
    default = _DEFAULT[node.op]
    given = tuple(str(name).capitalize() for name in node.attributes.get("activations", default))
    one = given[: len(default)]
    allowed = one in _RNN_GATES if node.op == "RNN" else one == default
    if not allowed or given not in (one, one * 2):
        wanted = "Tanh or Relu" if node.op == "RNN" else ", ".join(default)
        raise Unsupported(f"has the activations {', '.join(given)}; {wanted} is allowed", "train with those.")
    return one


def _directions(node: Node) -> tuple[Direction, ...]:
    name = node.attributes.get("direction", "forward")
    known_directions: dict[str, tuple[Direction, ...]] = {
        "forward": ("forward",),
        "reverse": ("backward",),
        "bidirectional": ("forward", "backward"),
    }
    if name not in known_directions:
        raise Unsupported(f"has the direction {name}", "use forward, reverse or bidirectional.")
    return known_directions[name]


def _sequence_axes(lift: Lift, x: Tensor) -> tuple[Axis, Axis]:
    """The time and batch axes of X, which this operator names: X is [time, batch, inner]."""
    if len(x.axes) != 3:
        raise Unsupported(
            f"reads a tensor of {len(x.axes)} axes; [time, batch, inputs] is allowed", "check the file."
        )
    learned: dict[str, str] = {}
    for axis, role in zip(x.axes, ("time", "batch", "inner"), strict=True):
        long = [label for label in labels(axis) if lift.sizes[label] > 1] or list(labels(axis))
        for i, label in enumerate(long):
            if is_open(label):
                learned[label] = role if i == 0 else "inner"
    if learned:
        raise Relabel(learned)
    _check_role(lift, x.axes[0], "time")
    _check_role(lift, x.axes[1], "batch")
    if labels(x.axes[2]):
        raise Unsupported(
            f"reads {labels(x.axes[2])[0]} as its inputs; inner axes are allowed", "transpose its input."
        )
    if x.phase != "step":
        raise Unsupported(
            "reads the end of another sequence; the input at every step is allowed", "split the model."
        )
    return x.axes[0], x.axes[1]


def _check_role(lift: Lift, axis: Axis, role: str) -> None:
    if labels(axis) == (role,) and inner(axis) == 1:
        return
    if extent(axis, lift.sizes) == 1 and (role == "batch" or lift.single_step):
        return
    found = " x ".join(labels(axis)) or f"an inner axis of size {inner(axis)}"
    why = f" ({'; '.join(lift.notes)})" if lift.notes and not labels(axis) else ""
    raise Unsupported(
        f"runs along {found} as its {role}{why}; the {role} axis of the input is allowed",
        f"feed the {role} axis through transposes and reshapes only, until the recurrent layer.",
    )


def _weights(node: Node, operands: Operands, d: int, inputs: int) -> tuple[NDArray[np.float64], ...]:
    """W, R, Wb, Rb of direction d in float64, their shapes checked."""
    gates = GATES[node.op]
    w, r = (known(operands[i], what) for i, what in ((1, "W"), (2, "R")))
    if w.ndim != 3 or r.ndim != 3 or min(w.shape[0], r.shape[0]) <= d:
        raise Unsupported("has W or R that are not [directions, rows, columns]", "check the file.")
    hidden = r.shape[2]
    b = np.zeros((d + 1, 2 * gates * hidden)) if operands[3] is None else known(operands[3], "B")
    fits = (
        w.shape[1:] == (gates * hidden, inputs)
        and r.shape[1:] == (gates * hidden, hidden)
        and b.ndim == 2
        and b.shape[0] > d
        and b.shape[1] == 2 * gates * hidden
        and int(node.attributes.get("hidden_size", hidden)) == hidden
    )
    if not fits or hidden == 0 or inputs == 0:
        raise Unsupported(
            f"has W {w.shape}, R {r.shape}, B {b.shape} for {inputs} inputs, which do not fit",
            "check the file.",
        )
    first, second = np.split(b[d].astype(np.float64), 2)
    return w[d].astype(np.float64), r[d].astype(np.float64), first, second


def _direction(state: Lifted, d: int) -> Lifted:
    """Row d of an initial state [directions, batch, hidden], the row axis kept."""
    if isinstance(state, Tensor):
        found = movable(state)
        return replace(found, table=found.table[d : d + 1], axes=((1,), *found.axes[1:]))
    return known(state, "an initial state")[d : d + 1]


def _emit(lift: Lift, node: Node, cell: _Cell, initial: list[Lifted | None]) -> None:
    make: Callable[[Node, _Cell], Op] = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}[node.op]
    states = ("h", "c") if node.op == "LSTM" else ("h",)
    for state, start in zip(states, initial, strict=False):
        name = f"{cell.name}_{state}"
        first = initial_state(lift, name, start, cell.hidden)
        lift.add_state(name, first, cell.value(state).name)
    lift.emit(make(node, cell), "step", cell.direction)


def _clip(node: Node) -> float | None:
    return float(node.attributes["clip"]) if "clip" in node.attributes else None


def _lstm(node: Node, cell: _Cell) -> Op:
    states = (f"{cell.name}_h", f"{cell.name}_c", cell.value("h"), cell.value("c"))
    return Lstm(cell.x, *states, *cell.parameters, clip=_clip(node))


def _gru(node: Node, cell: _Cell) -> Op:
    before = bool(node.attributes.get("linear_before_reset", 0))
    return Gru(cell.x, f"{cell.name}_h", cell.value("h"), *cell.parameters, before, clip=_clip(node))


def _rnn(node: Node, cell: _Cell) -> Op:
    gate = _RNN_GATES[_activations(node)]
    return Rnn(cell.x, f"{cell.name}_h", cell.value("h"), *cell.parameters, gate, clip=_clip(node))


def _outputs(lift: Lift, node: Node, cells: list[_Cell], time: Axis, batch: Axis) -> list[Lifted]:
    """Y [time, directions, batch, hidden], Y_h and Y_c [directions, batch, hidden]."""
    end: Phase = "step" if lift.single_step else "end"
    suffix = "_next" if lift.single_step else ""
    every = [cell.value("h").name for cell in cells]
    outputs: list[Lifted] = [_stacked(lift, every, cells, (time,), batch, "step")]
    for state in ("h", "c")[: len(node.outputs) - 1]:
        if node.outputs[1 + ("h", "c").index(state)]:
            ends = [f"{cell.name}_{state}{suffix}" for cell in cells]
            outputs.append(_stacked(lift, ends, cells, (), batch, end))
        else:
            outputs.append(np.zeros(0))
    return outputs


def _stacked(
    lift: Lift, names: list[str], cells: list[_Cell], lead: Axes, batch: Axis, phase: Phase
) -> Tensor:
    axes: Axes = (*lead, (len(cells),), batch, (cells[0].hidden,))
    if len(names) == 1:
        return data(names[0], inner_shape(axes), axes, phase)
    made = lift.fresh("concat")
    lift.emit(Concat(tuple(names), Value(made, (len(cells) * cells[0].hidden,))), phase)
    return data(made, inner_shape(axes), axes, phase)
