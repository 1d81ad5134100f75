"""What every matrix of a model multiplies, recorded over data; of a GRU that resets first, r*h, too."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stepcell.compress.operands import matrix_sites, operands, record
from stepcell.ir.model import FloatArray, Model
from stepcell.ir.ops import Gru, Op
from stepcell.ir.sequences import Sequences


@dataclass(frozen=True, eq=False)
class Operand:
    """Some rows of an operation's matrix, and what they multiplied at every valid step: x [samples, ...]."""

    op: Op
    matrix: str
    rows: slice
    x: FloatArray


def matrix_inputs(model: Model, data: Sequences) -> Iterator[Operand]:
    """The operands of every LSTM, GRU, RNN, Dense and Conv, function by function.

    The n rows of a GRU that resets h before its matrix are an operand of their own: they multiply r*h.
    Raises StepcellError for data that does not fit the model's inputs.
    """
    sites = matrix_sites(model)
    recording = record(model, data, sites)
    for site in sites:
        read = {matrix: recording.read(site, name) for matrix, name in operands(site.op).items()}
        op = site.op
        if isinstance(op, Gru) and not op.linear_before_reset:
            x, h, units = read[op.input_weights], read[op.recurrent_weights], op.h_next.size
            yield Operand(op, op.input_weights, slice(None), x)
            yield Operand(op, op.recurrent_weights, slice(0, 2 * units), h)
            yield Operand(op, op.recurrent_weights, slice(2 * units, None), _reset(model, op, x, h) * h)
        else:
            for matrix, value in read.items():
                yield Operand(op, matrix, slice(None), value)


def _reset(model: Model, op: Gru, x: FloatArray, h: FloatArray) -> FloatArray:
    """The gate r [samples, H] (a sigmoid, whatever the cell's own function: weights are judged by it)."""
    rows, w = slice(op.h_next.size, 2 * op.h_next.size), model.weights
    from_x = x.reshape(len(x), -1) @ w[op.input_weights][rows].T + w[op.input_bias][rows]
    from_h = h @ w[op.recurrent_weights][rows].T + w[op.recurrent_bias][rows]
    return np.asarray(1.0 / (1.0 + np.exp(-from_x - from_h)))
