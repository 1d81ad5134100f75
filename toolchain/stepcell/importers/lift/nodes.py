"""One node of the source graph: lifted, folded, or refused by name."""

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.graph import Node, Unsupported, reads_of
from stepcell.importers.lift.attention import check_reader
from stepcell.importers.lift.axes import Relabel
from stepcell.importers.lift.branches import choose
from stepcell.importers.lift.context import Lift, Lifted, Tensor
from stepcell.importers.lift.fold import fold, folds
from stepcell.importers.lift.lengths import passes_lengths
from stepcell.importers.lift.loop_trips import at_step
from stepcell.importers.lift.neutral import unchanged
from stepcell.importers.lift.operators import ALLOWED, LIFTERS
from stepcell.importers.refused import (
    REFUSED,
    ReadsRefused,
    refusal_of,
)

_MALFORMED = (ValueError, IndexError, KeyError, TypeError, OverflowError, ZeroDivisionError, AttributeError)
"""What numpy and dict look-ups raise on attributes and shapes that contradict each other."""


def lift_node(lift: Lift, node: Node) -> None:
    """Lift a node into the environment; a refusal is raised, or noted while diagnosing."""
    refusal = refusal_of(node)
    if refusal is not None:
        _refuse(lift, node, refusal)
        return
    if lift.unknown.intersection(reads_of(node)):
        _leave_out(lift, node)
        return
    direction, role = lift.direction, lift.loop_role
    try:
        outputs = _outputs(lift, node)
    except Relabel as learned:
        lift.notes += [f"{node} {learned.action} axis {k} of '{x}'" for x, k in _inner_axes(learned)]
        raise
    except ReadsRefused:
        lift.direction, lift.loop_role = direction, role
        lift.unknown.update(node.outputs)
        return
    except Unsupported as found:
        lift.direction, lift.loop_role = direction, role
        _refuse(lift, node, found.at(lift.graph.file, node))
        return
    except _MALFORMED as error:
        lift.direction, lift.loop_role = direction, role
        malformed = f"{lift.graph.file}: {node} is malformed: {error}."
        _refuse(lift, node, StepcellError(malformed, "check the file with onnx.checker."))
        return
    lift.env.update(zip(node.outputs, outputs, strict=False))


def _leave_out(lift: Lift, node: Node) -> None:
    """Do without a node that reads what is refused; an operator that is none is refused even so."""
    if node.op in {REFUSED, "If", "Shape", "Size", *LIFTERS} or folds(node):
        lift.unknown.update(node.outputs)
    else:
        _refuse(lift, node, _unsupported().at(lift.graph.file, node))


def _unsupported() -> Unsupported:
    return Unsupported(
        "is an unsupported operator", f"replace it, or leave it out of the file; allowed are {ALLOWED}."
    )


def _refuse(lift: Lift, node: Node, error: StepcellError) -> None:
    """Raise the error; while diagnosing, note it and go on without what the node makes."""
    if lift.problems is None:
        raise error
    lift.problems.append(error)
    lift.unknown.update(node.outputs)


def _inner_axes(learned: Relabel) -> list[tuple[str, str]]:
    """(input, axis) of what an operation showed to be inner."""
    found = [label for label, role in learned.roles.items() if role == "inner"] if learned.action else []
    return [(x, k) for x, _, k in (label.rpartition(".") for label in found)]


def _outputs(lift: Lift, node: Node) -> list[Lifted]:
    missing = [name for name in node.inputs if name and name not in lift.env]
    if missing:
        raise Unsupported(f"reads '{missing[0]}', which nothing before it defines", "check the file.")
    again = [name for name in node.outputs if name and name in lift.env]
    if again:
        raise Unsupported(f"defines '{again[0]}', which is defined before it", "check the file.")
    operands = [lift.env[name] if name else None for name in node.inputs]
    if node.op in ("Shape", "Size"):
        return _shape(lift, node, operands[0])
    if passes_lengths(node, operands):
        return [operand for operand in operands[:1] if operand is not None]
    if node.op == "If":
        choose(node, operands)
    check_reader(node, operands)
    if not any(isinstance(operand, Tensor) for operand in operands):
        folded = fold(node, operands, lift.graph.opset)
        if folded is not None:
            return list(folded)
    same = at_step(lift, node, operands) or unchanged(lift, node, operands)
    if same is not None:
        return [same]
    if node.op not in LIFTERS:
        raise _unsupported()
    return LIFTERS[node.op](lift, node, operands)


def _shape(lift: Lift, node: Node, operand: Lifted | None) -> list[Lifted]:
    if operand is None:
        raise Unsupported("has no input", "check the file.")
    shape = lift.shape(operand)
    if node.op == "Size":
        return [np.asarray(np.prod(shape), np.int64)]
    start, end = node.attributes.get("start", 0), node.attributes.get("end", len(shape))
    return [np.asarray(shape[start:end], np.int64)]
