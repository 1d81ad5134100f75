"""The recurrent intermediate representation: the float Model and the integer QModel."""

from stepcell.ir.model import (
    Block,
    Finish,
    Function,
    Mask,
    Model,
    Source,
    SourceTensor,
    Stage,
    State,
    StateTensor,
    all_ops,
    recurrent_ops,
)
from stepcell.ir.text import macs_at_end, macs_per_step, op_text, parameter_count, to_text
from stepcell.ir.verify import verify, verify_lowerable

__all__ = [
    "Block",
    "Finish",
    "Function",
    "Mask",
    "Model",
    "Source",
    "SourceTensor",
    "Stage",
    "State",
    "StateTensor",
    "all_ops",
    "macs_at_end",
    "macs_per_step",
    "op_text",
    "parameter_count",
    "recurrent_ops",
    "to_text",
    "verify",
    "verify_lowerable",
]
