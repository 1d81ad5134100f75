"""What operations read and write, and which parameters they use."""

from collections.abc import Sequence

from stepcell.ir.ops import (
    RELU,
    SIGMOID,
    TANH,
    Activate,
    Append,
    ArgMax,
    Attend,
    Binary,
    Concat,
    Constant,
    Conv,
    Count,
    Dense,
    Embed,
    Gru,
    Lstm,
    Mean,
    Normalize,
    Op,
    Recurrent,
    Reduce,
    Rnn,
    Take,
    Value,
)


def reads(op: Op) -> tuple[str, ...]:  # noqa: C901  # one short case an operation
    """Names of the values and states that an operation reads."""
    match op:
        case Lstm():
            return (op.x, op.h, op.c, *_factor(op))
        case Gru() | Rnn():
            return (op.x, op.h, *_factor(op))
        case Dense() | Conv() | Activate() | Reduce() | Normalize() | ArgMax() | Take() | Count():
            return (op.x,)
        case Binary():
            return (op.a, op.b)
        case Concat():
            return op.xs
        case Embed():
            return (op.token,)
        case Mean():
            return (op.total, op.count)
        case Append():
            return (op.memory, op.count, op.x)
        case Attend():
            return (op.query, op.keys, op.values, op.count)
        case Constant():
            return ()


def _factor(op: Recurrent) -> tuple[str, ...]:
    return () if op.recurrent_input is None else (op.recurrent_input,)


def recurrent_operand(op: Recurrent) -> str:
    """The value that the recurrent matrix multiplies: h, unless the matrix is in factors."""
    return op.h if op.recurrent_input is None else op.recurrent_input


def factor_of(op: Recurrent, ops: Sequence[Op]) -> Dense | None:
    """The Dense of h that makes what the recurrent matrix reads; None where that is h itself."""
    if op.recurrent_input is None:
        return None
    return next(o for o in ops if isinstance(o, Dense) and o.y.name == op.recurrent_input)


def writes(op: Op) -> tuple[Value, ...]:
    """The values that an operation defines."""
    match op:
        case Lstm():
            return (op.h_next, op.c_next)
        case Gru() | Rnn():
            return (op.h_next,)
        case _:
            return (op.y,)


def is_plain(op: Recurrent) -> bool:
    """Whether a recurrent layer has its usual functions, and no peepholes, projection or limits."""
    if op.clip is not None:
        return False
    match op:
        case Lstm():
            special = op.peepholes or op.projection or op.input_forget or op.cell_clip is not None
            return op.gates == (SIGMOID, TANH, TANH) and not special
        case Gru():
            return op.gates == (SIGMOID, TANH)
        case Rnn():
            return op.gate in (TANH, RELU)


def matrices(op: Op) -> tuple[str, ...]:
    """Names of the weight matrices that pruning and quantization work on."""
    match op:
        case Lstm() | Gru() | Rnn():
            return (op.input_weights, op.recurrent_weights)
        case Dense() | Conv():
            return (op.weights,)
        case _:
            return ()


def parameters(op: Op) -> tuple[str, ...]:
    """Names of every parameter that an operation uses."""
    match op:
        case Lstm():
            optional = (op.peepholes, op.projection)
            return (*matrices(op), op.input_bias, op.recurrent_bias, *(p for p in optional if p))
        case Gru() | Rnn():
            return (*matrices(op), op.input_bias, op.recurrent_bias)
        case Dense() | Conv():
            return (op.weights, op.bias)
        case Normalize():
            return (op.gain, op.bias)
        case Constant():
            return (op.weights,)
        case Embed():
            return (op.table,)
        case _:
            return ()


def all_matrix_inputs(name: str, ops: tuple[Op, ...]) -> bool:
    """Do only matrices read this value, directly or through Take?"""
    for op in ops:
        if name not in reads(op):
            continue
        if isinstance(op, Take):
            if not all_matrix_inputs(op.y.name, ops):
                return False
        elif not matrices(op):
            return False
    return True
