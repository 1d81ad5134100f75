"""Which Models the torch module computes; the rest is refused by name."""

from typing import NoReturn

from stepcell.errors import StepcellError
from stepcell.ir.model import Model, all_ops
from stepcell.ir.ops import Gate, Lstm, Op, Recurrent, Rnn, writes
from stepcell.train.cells import GATES


def verify_trainable(model: Model) -> Model:
    """Return the model if a module can be built from it; else StepcellError names what cannot."""
    if len(model.functions) != 1:
        names = ", ".join(function.name for function in model.functions)
        _refuse(model, f"it has the functions {names}", "export one function to train it.")
    for stage in model.main.stages:
        if stage.frames_per_step != 1:
            _refuse(model, f"stage {stage.name} takes {stage.frames_per_step} frames", "remove the stride.")
    for op in all_ops(model):
        _verify_op(model, op)
    return model


def _verify_op(model: Model, op: Op) -> None:
    name = writes(op)[0].name
    if isinstance(op, Lstm) and (op.peepholes or op.projection):
        _refuse(model, f"LSTM '{name}' has peepholes or a projection", "use a plain LSTM.")
    for gate in _gates(op):
        if gate.function not in GATES:
            _refuse(model, f"'{name}' has the activation {gate.function}", f"use {', '.join(GATES)}.")


def _gates(op: Op) -> tuple[Gate, ...]:
    if not isinstance(op, Recurrent):
        return ()
    return (op.gate,) if isinstance(op, Rnn) else op.gates


def _refuse(model: Model, what: str, hint: str) -> NoReturn:
    raise StepcellError(f"{model.name}: {what}, which cannot be trained yet.", hint)
