"""The integer matrices that a Model's matrices became."""

from stepcell.ir.graph import writes
from stepcell.ir.model import Model, all_ops
from stepcell.ir.ops import Activate, Conv, Dense, Gru, Lstm, Op, Rnn
from stepcell.ir.qmodel import QMatrix, QModel, q_matrices, q_writes


def stored_matrices(model: Model, qmodel: QModel) -> dict[str, QMatrix]:
    """By the matrix's name in the Model, of every layer that the integer model runs as it is.

    Matrices of a cell that was taken apart became others, and are not among them.
    """
    made = {q_writes(op)[0].name: q_matrices(op) for op in qmodel.all_ops}
    relus = {op.x: op.y.name for op in all_ops(model) if isinstance(op, Activate) and op.function == "relu"}
    found: dict[str, QMatrix] = {}
    for op in all_ops(model):
        name, names = writes(op)[0].name, layer_matrices(op)
        stored = made.get(name if name in made else relus.get(name, ""), ())
        if len(stored) == len(names):
            found |= zip(names, stored, strict=True)
    return found


def layer_matrices(op: Op) -> tuple[str, ...]:
    """The matrices of a layer that has one integer kernel, in that kernel's order."""
    match op:
        case Lstm() | Gru() | Rnn():
            return (op.input_weights, op.recurrent_weights)
        case Dense() | Conv():
            return (op.weights,)
        case _:
            return ()
