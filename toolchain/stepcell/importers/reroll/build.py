"""The operation that a recognised cell is, in ONNX's gate order."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stepcell.importers.reroll.cells import Cell, Half
from stepcell.importers.reroll.trace import Indices
from stepcell.ir.model import FloatArray
from stepcell.ir.ops import Gru, Lstm, Op, Rnn, Value

Columns = Sequence[tuple[str, Indices]]
"""(value, its elements) that the gates read as x, in the order of W's columns"""


def operation(cell: Cell, name: str, x: str, columns: Columns) -> tuple[Op, dict[str, FloatArray]]:
    """The operation `name` over the value x, and its parameters; its states are {name}_h and {name}_c."""
    units = len(cell.h.at)
    recurrent_bias = np.zeros(units * len(cell.halves))
    if cell.inner_bias is not None:
        recurrent_bias[2 * units :] = cell.inner_bias
    kinds = ("input_weights", "recurrent_weights", "input_bias", "recurrent_bias")
    names = (f"{name}_{kinds[0]}", f"{name}_{kinds[1]}", f"{name}_{kinds[2]}", f"{name}_{kinds[3]}")
    arrays = (
        input_weights(cell, columns),
        np.vstack([half.over_h for half in cell.halves]),
        np.concatenate([np.broadcast_to(half.over_x.bias, (units,)) for half in cell.halves]),
        recurrent_bias,
    )
    return _operation(cell, name, x, units, names), dict(zip(names, arrays, strict=True))


def _operation(cell: Cell, name: str, x: str, units: int, names: tuple[str, str, str, str]) -> Op:
    h, h_next = f"{name}_h", Value(f"{name}_h_next", (units,))
    match cell.kind:
        case "LSTM":
            gate, candidate, output = cell.gates
            c_next = Value(f"{name}_c_next", (units,))
            return Lstm(x, h, f"{name}_c", h_next, c_next, *names, gates=(gate, candidate, output))
        case "GRU":
            gate, candidate = cell.gates
            return Gru(x, h, h_next, *names, cell.inner_bias is not None, gates=(gate, candidate))
        case _:
            return Rnn(x, h, h_next, *names, cell.gates[0])


def input_weights(cell: Cell, columns: Columns) -> FloatArray:
    """W of all gates over these columns."""
    return np.vstack([_row(half, columns, len(cell.h.at)) for half in cell.halves])


def _row(half: Half, columns: Columns, units: int) -> FloatArray:
    parts = []
    for value, at in columns:
        matrix = half.over_x.terms.get(value)
        parts.append(np.zeros((units, len(at))) if matrix is None else matrix[:, at])
    return np.hstack(parts)


def columns(cell: Cell) -> tuple[tuple[str, Indices], ...]:
    """The elements that a cell's gates read as x."""
    touched: dict[str, NDArray[np.bool_]] = {}
    for half in cell.halves:
        for name, flags in half.over_x.touched.items():
            touched[name] = flags | touched.get(name, np.zeros_like(flags))
    return tuple((name, np.flatnonzero(flags)) for name, flags in touched.items())
