"""What an output is before the function that ends it: logits, which say more of an answer than it does."""

from collections.abc import Iterator

from stepcell.ir.graph import writes
from stepcell.ir.model import Function
from stepcell.ir.ops import Activate, ArgMax, Op

_ENDS = ("identity", "softmax", "log_softmax", "sigmoid")


def logits_of(function: Function, output: str) -> tuple[str, bool]:
    """(the value behind a last softmax, sigmoid or argmax, whether only differences of elements count)."""
    name, relative = output, False
    made = {value.name: op for op in _ops(function) for value in writes(op)}
    while isinstance(op := made.get(name), (Activate, ArgMax)):
        if isinstance(op, Activate) and op.function not in _ENDS:
            break
        relative = relative or not isinstance(op, Activate) or "softmax" in op.function
        name = op.x
    return name, relative


def _ops(function: Function) -> Iterator[Op]:
    for stage in function.stages:
        yield from stage.ops
    yield from function.finish.ops if function.finish is not None else ()
