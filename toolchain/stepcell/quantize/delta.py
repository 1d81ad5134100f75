"""Delta: recurrent layers that read held values, so that the C computes only the columns that changed."""

from dataclasses import replace

import numpy as np

from stepcell.errors import StepcellError
from stepcell.ir.qmodel import (
    QGru,
    QHold,
    QLstm,
    QModel,
    QOp,
    QRecurrent,
    QRnn,
    QStage,
    QState,
    QValue,
    q_writes,
)
from stepcell.quantize.matrices import INT8_BOUND

LARGEST = 127
"""Largest threshold: beyond it, only the few that cross from one end of int8 to the other would change."""


def hold_inputs(model: QModel, threshold: int) -> QModel:
    """The model with a QHold before both matrices of every recurrent layer; at threshold 0, the same numbers.

    Held values are states that start at 0. Raises StepcellError for a threshold out of range, and for layers
    whose matrices do not both read int8 values or views of what is known when the layer begins.
    """
    if not 0 <= threshold <= LARGEST:
        raise StepcellError(
            f"--delta {threshold}: int8 values can be held to within 0 to {LARGEST} units.", "choose less."
        )
    if len(model.functions) != 1 or not model.main.is_step:
        raise StepcellError(
            f"{model.name}: --delta needs one function that is called step by step; this model has several "
            "functions, or runs over whole sequences.",
            "leave --delta out.",
        )
    (stage,) = model.main.stages
    values = _values(model, stage)
    ops: list[QOp] = []
    states: list[QState] = []
    for op in stage.ops:
        if isinstance(op, QLstm | QGru | QRnn):
            _check(op)
            taken = values.keys() | {state.value.name for state in states}
            x = _hold(values[op.x], f"{op.h}_held_x", threshold, taken)
            h = _hold(values[op.h], f"{op.h}_held", threshold, taken)
            w, r = replace(op.input, reads_view=False), replace(op.recurrent, reads_view=False)
            ops += [x, h, replace(op, x=x.y.name, recurrent_input=h.y.name, input=w, recurrent=r)]
            states += [_state(hold) for hold in (x, h)]
        else:
            ops.append(op)
    holds = [op for op in ops if isinstance(op, QHold)]
    updates = (*stage.updates, *((hold.held, hold.y.name) for hold in holds))
    holding = replace(model.main, stages=(replace(stage, ops=tuple(ops), updates=updates),))
    return replace(
        model,
        functions=(holding,),
        states=(*model.states, *states),
        choices={**model.choices, "delta": _reason(threshold)},
    )


def _values(model: QModel, stage: QStage) -> dict[str, QValue]:
    """Every value of a step by its name."""
    written = (value for op in stage.ops for value in q_writes(op))
    return {v.name: v for v in (*stage.inputs, *(state.value for state in model.states), *written)}


def _check(op: QRecurrent) -> None:
    if isinstance(op, QGru) and not op.linear_before_reset:
        reason = "its reset gate acts on h before the matrix (linear_before_reset = 0)"
    elif op.recurrent.input_bound != INT8_BOUND:
        reason = "its recurrent matrix reads a relu state of 16 bits"
    elif op.input.input_bound != INT8_BOUND:
        reason = "its input matrix reads 16 bits"
    elif op.recurrent_input is not None:
        reason = "its recurrent matrix is in factors"
    else:
        return
    raise StepcellError(
        f"{op.h_next.name}: --delta does not support this layer: {reason}.",
        "leave --delta out; it takes LSTM, GRU with linear_before_reset = 1 and tanh RNN, int8 activations.",
    )


def _hold(x: QValue, name: str, threshold: int, taken: set[str]) -> QHold:
    while {name, f"{name}_next"} & taken:
        name += "_"
    reads_view = x.bits == 16
    y = QValue(f"{name}_next", x.shape, 8, x.scale * (256 if reads_view else 1))
    return QHold(x.name, name, y, threshold, reads_view)


def _state(hold: QHold) -> QState:
    return QState(replace(hold.y, name=hold.held), np.zeros(hold.y.shape, np.int64))


def _reason(threshold: int) -> str:
    return (
        f"columns are computed where an int8 input or view changed by more than {threshold}; instructions "
        "depend on the data, and the sums of all rows (4 bytes a row and matrix) stay in RAM"
    )
