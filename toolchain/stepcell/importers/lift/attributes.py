"""Attributes that ONNX has moved to inputs, and axes counted from the end."""

from stepcell.importers.graph import Node, Unsupported
from stepcell.importers.lift.context import Lifted, known

Operands = list[Lifted | None]


def ints_of(node: Node, operands: Operands, name: str, index: int) -> list[int] | None:
    """A list of integers: the attribute `name`, or the constant operand at `index`; None if absent."""
    if name in node.attributes:
        return [int(value) for value in node.attributes[name]]
    if index >= len(operands) or operands[index] is None:
        return None
    return [int(value) for value in known(operands[index], name).ravel()]


def axis_of(axis: int, rank: int) -> int:
    """The axis counted from the front; refused where a tensor has no such axis."""
    if not -rank <= axis < rank:
        raise Unsupported(f"names axis {axis} of a tensor of {rank} axes", "check the file.")
    return axis % rank
