"""Arithmetic that changes nothing: x + 0, x * 1, x / 1, x ** 1, and joining one tensor."""

from stepcell.importers.graph import Node
from stepcell.importers.lift.attributes import Operands
from stepcell.importers.lift.context import Lift, Tensor

_NEUTRAL = {"Add": 0.0, "Sub": 0.0, "Mul": 1.0, "Div": 1.0, "Pow": 1.0}
_EITHER_SIDE = ("Add", "Mul")


def unchanged(lift: Lift, node: Node, operands: Operands) -> Tensor | None:
    """The operand that the node hands on as it is; None if it computes something."""
    if node.op in ("Concat", "Sum", "Max", "Min", "Mean") and len(operands) == 1:
        return operands[0] if isinstance(operands[0], Tensor) else None
    if node.op not in _NEUTRAL or len(operands) != 2:
        return None
    sides = [(operands[0], operands[1])]
    if node.op in _EITHER_SIDE:
        sides.append((operands[1], operands[0]))
    for x, other in sides:
        if not isinstance(x, Tensor) or isinstance(other, Tensor) or other is None:
            continue
        shape = lift.shape(x)
        tail = shape[len(shape) - other.ndim :] if other.ndim <= len(shape) else None
        fits = tail is not None and all(n in (1, size) for n, size in zip(other.shape, tail, strict=True))
        if fits and other.size > 0 and bool((other == _NEUTRAL[node.op]).all()):
            return x
    return None
