"""How many steps a function's memories hold."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from stepcell.errors import StepcellError
from stepcell.ir.model import Function
from stepcell.ir.ops import Append, Op
from stepcell.ir.qattention import QAppend
from stepcell.ir.qmodel import QFunction, QOp


def stage_ops(function: Function | QFunction) -> tuple[Op | QOp, ...]:
    """The operations of every stage."""
    return tuple(op for stage in function.stages for op in stage.ops)


def most_steps(ops: Iterable[Op | QOp]) -> int | None:
    """Rows of the smallest memory that the operations append to; None where they append to none."""
    return min((op.y.shape[0] for op in ops if isinstance(op, Append | QAppend)), default=None)


def check_memory(name: str, ops: Iterable[Op | QOp], lengths: NDArray[np.int64]) -> None:
    """StepcellError for a sequence of more steps than the function's memories hold; lengths [N] in steps."""
    rows, longest = most_steps(ops), int(lengths.max(initial=0))
    if rows is not None and longest > rows:
        raise StepcellError(
            f"{name}: a sequence has {longest} steps; its memory for attention holds {rows}.",
            f"give shorter sequences, or import the model with a bound of at least {longest} steps.",
        )
