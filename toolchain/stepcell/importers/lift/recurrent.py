"""LSTM, GRU and RNN: the operators that say which axis is time."""

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
from stepcell.importers.lift.gates import activations, clip_of
from stepcell.importers.lift.initial import initial_state, is_carried, learn_input, take_carried
from stepcell.importers.lift.lengths import check_lengths
from stepcell.ir.ops import Concat, Gate, Gru, Lstm, Op, Rnn, Value

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_STATES = {"LSTM": ("h", "c"), "GRU": ("h",), "RNN": ("h",)}


@dataclass(frozen=True)
class _Cell:
    """One direction of one operator: its names, what it reads, and its gates."""

    name: str
    x: str
    hidden: int
    direction: Direction
    gates: tuple[Gate, ...]
    peepholes: str | None
    projection: str | None = None
    projected: int = 0
    """Numbers in h, where a projection makes them others than the units."""

    @property
    def parameters(self) -> tuple[str, str, str, str]:
        kinds = ("input_weights", "recurrent_weights", "input_bias", "recurrent_bias")
        input_weights, recurrent_weights, input_bias, recurrent_bias = (
            f"{self.name}_{kind}" for kind in kinds
        )
        return input_weights, recurrent_weights, input_bias, recurrent_bias

    def value(self, state: str) -> Value:
        """What the state h or c becomes."""
        return Value(f"{self.name}_{state}_next", (self.size(state),))

    def size(self, state: str) -> int:
        """Numbers in the state h or c."""
        return self.projected if state == "h" and self.projection is not None else self.hidden


def recurrent(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """Every direction of the operator; its outputs Y, Y_h and (LSTM) Y_c.

    With layout 1 the batch axis of X, the initial states and the outputs comes first.
    """
    operands = operands + [None] * (9 - len(operands))
    _check_attributes(node, operands)
    directions = _directions(node)
    gates = activations(node, len(directions))
    batch_first = bool(node.attributes.get("layout", 0))
    starts = [_transposed(s, (1, 0, 2)) if s is not None and batch_first else s for s in operands[5:7]]
    for start in starts:
        learn_input(lift, start)
    x = tensor(operands[0])
    _check_rank(x)
    x = _turned(x, (1, 0, 2)) if batch_first else x
    time, batch = _sequence_axes(lift, x)
    check_lengths(lift, operands[4], time, batch)
    weights = [_weights(node, operands, d, inner(x.axes[2])) for d in range(len(directions))]
    source = flat(lift, x)
    base = lift.fresh(node.op.lower())
    cells = []
    for d, direction in enumerate(directions):
        name = base if d == 0 else f"{base}_reverse"
        peepholes = None if operands[7] is None else f"{name}_peepholes"
        cell = _Cell(name, source, len(weights[d][0]) // GATES[node.op], direction, gates[d], peepholes)
        if operands[8] is not None:
            cell = replace(cell, projection=f"{name}_projection", projected=weights[d][1].shape[1])
            lift.weights[f"{name}_projection"] = _projection(operands, d, cell)
        lift.weights.update(zip(cell.parameters, weights[d], strict=True))
        if peepholes is not None:
            lift.weights[peepholes] = _peepholes(operands, d, len(directions), cell.hidden)
        _emit(lift, node, cell, [None if s is None else _direction(s, d, len(directions)) for s in starts])
        cells.append(cell)
    y, *ends = _outputs(lift, node, cells, time, batch)
    if not batch_first:
        return [y, *ends]
    return [_transposed(y, (2, 0, 1, 3)), *(_transposed(end, (1, 0, 2)) for end in ends)]


def _check_attributes(node: Node, operands: Operands) -> None:
    if (node.op != "LSTM" or operands[7] is not None) and any(x is not None for x in operands[8:]):
        raise Unsupported("has a projection besides peepholes, or is no LSTM", "leave one out.")
    if node.op != "LSTM" and any(operand is not None for operand in operands[6:]):
        raise Unsupported("has more than six inputs", "check the file with onnx.checker.")
    if node.attributes.get("layout", 0) not in (0, 1):
        raise Unsupported(f"has layout {node.attributes['layout']}; 0 and 1 are allowed", "check the file.")


def _check_rank(x: Tensor) -> None:
    if len(x.axes) != 3:
        raise Unsupported(
            f"reads a tensor of {len(x.axes)} axes; [time, batch, inputs] is allowed", "check the file."
        )


def _transposed(lifted: Lifted, order: tuple[int, ...]) -> Lifted:
    """The axes in another order; what has another rank is left to whoever looks at its shape."""
    if isinstance(lifted, Tensor):
        return _turned(lifted, order) if len(lifted.axes) == len(order) else lifted
    return lifted.transpose(order) if lifted.ndim == len(order) else lifted


def _turned(found: Tensor, order: tuple[int, ...]) -> Tensor:
    axes = tuple(found.axes[axis] for axis in order)
    return replace(found, table=found.table.transpose(order), axes=axes)


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
    if labels(axis) == ("time",):
        raise Unsupported(
            f"reads {inner(axis)} frames a step; the recurrent layers of a network have to run at one rate",
            "bring all strides before the first recurrent layer, and upsample behind the last one.",
        )
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
    width = r.shape[2]
    hidden = width if operands[8] is None else w.shape[1] // gates
    b = np.zeros((d + 1, 2 * gates * hidden)) if operands[3] is None else known(operands[3], "B")
    fits = (
        w.shape[1:] == (gates * hidden, inputs)
        and r.shape[1] == gates * hidden
        and b.ndim == 2
        and b.shape[0] > d
        and b.shape[1] == 2 * gates * hidden
        and int(node.attributes.get("hidden_size", hidden)) == hidden
    )
    if not fits or hidden == 0 or inputs == 0 or width == 0:
        raise Unsupported(
            f"has W {w.shape}, R {r.shape}, B {b.shape} for {inputs} inputs, which do not fit",
            "check the file.",
        )
    first, second = np.split(b[d].astype(np.float64), 2)
    return w[d].astype(np.float64), r[d].astype(np.float64), first, second


def _peepholes(operands: Operands, d: int, directions: int, hidden: int) -> NDArray[np.float64]:
    """P of direction d: what i, o and f see of the cell."""
    p = known(operands[7], "P")
    if p.shape != (directions, 3 * hidden):
        raise Unsupported(
            f"has peepholes P {p.shape}; {(directions, 3 * hidden)} is allowed for {hidden} units",
            "check the file.",
        )
    row: NDArray[np.float64] = p[d].astype(np.float64)
    return row


def _projection(operands: Operands, d: int, cell: _Cell) -> NDArray[np.float64]:
    """The matrix of direction d that makes h of the units' outputs (PyTorch's W_hr)."""
    p = known(operands[8], "a projection")
    if p.ndim != 3 or p.shape[1:] != (cell.projected, cell.hidden):
        raise Unsupported(
            f"has a projection {p.shape} for {cell.hidden} units and {cell.projected} recurrent columns",
            "check the file.",
        )
    row: NDArray[np.float64] = p[d].astype(np.float64)
    return row


def _direction(state: Lifted, d: int, directions: int) -> Lifted:
    """Row d of an initial state [directions, batch, hidden], the row axis kept."""
    shape = state.table.shape if isinstance(state, Tensor) else state.shape
    if len(shape) != 3 or shape[0] != directions:
        raise Unsupported(
            f"has an initial state of shape {list(shape)} for {directions} direction(s)", "check the file."
        )
    if isinstance(state, Tensor):
        found = movable(state)
        return replace(found, table=found.table[d : d + 1], axes=((1,), *found.axes[1:]))
    return known(state, "an initial state")[d : d + 1]


def _emit(lift: Lift, node: Node, cell: _Cell, initial: list[Lifted | None]) -> None:
    for state, start in zip(_STATES[node.op], initial, strict=False):
        name = f"{cell.name}_{state}"
        if is_carried(lift, start):
            take_carried(lift, name, start, cell.size(state))
        else:
            first = initial_state(lift, name, start, cell.size(state))
            lift.add_state(name, first, cell.value(state).name)
    lift.emit(_operation(node, cell), "step", cell.direction)


def _operation(node: Node, cell: _Cell) -> Op:
    h, h_next, clip = f"{cell.name}_h", cell.value("h"), clip_of(node)
    if node.op == "LSTM":
        return Lstm(
            cell.x,
            h,
            f"{cell.name}_c",
            h_next,
            cell.value("c"),
            *cell.parameters,
            gates=(cell.gates[0], cell.gates[1], cell.gates[2]),
            peepholes=cell.peepholes,
            projection=cell.projection,
            clip=clip,
            input_forget=bool(node.attributes.get("input_forget", 0)),
            cell_clip=node.attributes.get("cell_clip"),
        )
    if node.op == "GRU":
        before = bool(node.attributes.get("linear_before_reset", 0))
        gates = (cell.gates[0], cell.gates[1])
        return Gru(cell.x, h, h_next, *cell.parameters, before, gates=gates, clip=clip)
    return Rnn(cell.x, h, h_next, *cell.parameters, gate=cell.gates[0], clip=clip)


def _outputs(lift: Lift, node: Node, cells: list[_Cell], time: Axis, batch: Axis) -> list[Lifted]:
    """Y [time, directions, batch, hidden], Y_h and Y_c [directions, batch, hidden]."""
    end: Phase = "step" if lift.single_step else "end"
    suffix = "_next" if lift.single_step else ""
    every = [cell.value("h").name for cell in cells]
    outputs: list[Lifted] = [_stacked(lift, every, cells[0].size("h"), (time,), batch, "step")]
    for i, state in enumerate(_STATES[node.op][: len(node.outputs) - 1]):
        if node.outputs[1 + i]:
            ends = [f"{cell.name}_{state}{suffix}" for cell in cells]
            outputs.append(_stacked(lift, ends, cells[0].size(state), (), batch, end))
        else:
            outputs.append(np.zeros(0))
    return outputs


def _stacked(lift: Lift, names: list[str], size: int, lead: Axes, batch: Axis, phase: Phase) -> Tensor:
    axes: Axes = (*lead, (len(names),), batch, (size,))
    if len(names) == 1:
        return data(names[0], inner_shape(axes), axes, phase)
    made = lift.fresh("concat")
    lift.emit(Concat(tuple(names), Value(made, (len(names) * size,))), phase)
    return data(made, inner_shape(axes), axes, phase)
