"""Lifting: from a source graph over whole sequences to a step graph with named states.

Nodes are taken in order. A tensor's axes carry labels; the labels of an input's axes are unknown
until an operator tells: a recurrent operator names time and batch, a matrix product an inner axis.
Whenever something is learned, lifting starts again with it, so no axis is known by name or position.
"""

from collections.abc import Mapping

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.graph import Graph, GraphInput, Node, Unsupported, reachable
from stepcell.importers.lift.assemble import assemble
from stepcell.importers.lift.axes import Axis, Relabel
from stepcell.importers.lift.context import Lift, Lifted, Phase, Tensor, data, inner_shape
from stepcell.importers.lift.fold import fold
from stepcell.importers.lift.operators import ALLOWED, LIFTERS
from stepcell.importers.lift.roles import Roles, frozen_size, label, label_sizes, without_recurrence
from stepcell.importers.names import identifier
from stepcell.ir import Model
from stepcell.ir.ops import Value

_RECURRENT = ("LSTM", "GRU", "RNN")
_LARGEST_STEP = 2**20
_MALFORMED = (ValueError, IndexError, KeyError, TypeError, OverflowError, ZeroDivisionError, AttributeError)
"""What numpy and dict look-ups raise on attributes and shapes that contradict each other."""


def lift_graph(graph: Graph, name: str, carried: Mapping[str, str] | None = None) -> Model:
    """The Model of a source graph. `carried` names state inputs and their outputs, {"h": "hn"}.

    Raises StepcellError naming the node that cannot be imported, and what is allowed.
    """
    carried = carried or {}
    nodes = reachable(graph)
    roles = _first_roles(graph, nodes, carried)
    notes: list[str] = []
    for _ in range(4 + 2 * sum(len(source.shape) + 1 for source in graph.inputs)):
        try:
            lift = _attempt(graph, nodes, roles, notes)
            return assemble(lift, name, carried)
        except Relabel as learned:
            roles = {**roles, **learned.roles}
    raise StepcellError(
        f"{graph.file}: the roles of its axes contradict each other.", "export the model again."
    )


def _first_roles(graph: Graph, nodes: tuple[Node, ...], carried: Mapping[str, str]) -> Roles:
    known = {source.name for source in graph.inputs}
    for tensor_in, tensor_out in carried.items():
        if tensor_in not in known or tensor_out not in graph.outputs:
            raise StepcellError(
                f"{graph.file}: the state {tensor_in}={tensor_out} does not name an input and an output; the "
                f"inputs are {', '.join(sorted(known))}, the outputs {', '.join(graph.outputs)}.",
                "write --state INPUT=OUTPUT.",
            )
    if any(node.op in _RECURRENT for node in nodes):
        return {}
    if not carried:
        raise StepcellError(
            f"{graph.file}: it has no LSTM, GRU or RNN operator and no named state, so nothing recurs.",
            "name its state with --state INPUT=OUTPUT; if an exporter unrolled the layer, use "
            "torch.onnx.export with dynamo=False.",
        )
    return without_recurrence(graph, carried)


def _attempt(graph: Graph, nodes: tuple[Node, ...], roles: Roles, notes: list[str]) -> Lift:
    lift = Lift(graph, label_sizes(graph, roles), roles, _is_single_step(graph, roles), notes=notes)
    for node in nodes:
        lift.uses.update(node.inputs)
    lift.uses.update(graph.outputs)
    lift.env.update(graph.constants)
    for source in graph.inputs:
        if lift.uses[source.name] == 0:
            raise StepcellError(
                f"{graph.file}: nothing reads its input '{source.name}'.",
                "remove it, or bind it to a number.",
            )
        lift.env[source.name] = _input(lift, source)
    for node in nodes:
        _lift_node(lift, node)
    return lift


def _is_single_step(graph: Graph, roles: Roles) -> bool:
    has_state = any(role in ("state", "carried") for role in roles.values())
    return has_state and ("time" not in roles.values() or frozen_size(graph, roles, "time") == 1)


def _input(lift: Lift, source: GraphInput) -> Tensor:
    if source.dtype.kind != "f":
        raise StepcellError(
            f"{lift.graph.file}: the input '{source.name}' has type {source.dtype}; float is allowed.",
            f"feed the embedding's output instead, or fix a setting with --bind {source.name}=NUMBER.",
        )
    axes = tuple(_axis(lift, source, k) for k in range(len(source.shape)))
    shape = inner_shape(axes)
    inner = tuple(n for n, axis in zip(shape, axes, strict=True) if not isinstance(axis[0], str))
    if any(n < 1 for n in inner) or np.prod(shape, dtype=object) > _LARGEST_STEP:
        raise StepcellError(
            f"{lift.graph.file}: the input '{source.name}' has the shape {list(source.shape)}; "
            f"1 to {_LARGEST_STEP} numbers a step are allowed.",
            "check the file.",
        )
    role = lift.roles.get(source.name)
    name = source.name if role == "state" else identifier(source.name, f"x{lift.graph.inputs.index(source)}")
    lift.values[name] = Value(name, inner)
    if role == "carried":
        lift.add_state(name, np.zeros(inner), "")
    phase: Phase = "initial" if role == "state" else "step"
    return data(name, shape, axes, phase)


def _axis(lift: Lift, source: GraphInput, axis: int) -> Axis:
    role = lift.roles.get(label(source, axis), label(source, axis))
    size = source.shape[axis]
    inner = role == "inner" or (lift.roles.get(source.name) == "state" and role != "batch")
    if inner and isinstance(size, str):
        raise StepcellError(
            f"{lift.graph.file}: axis {axis} of the input '{source.name}' is neither batch nor time, "
            "and has no size.",
            f"give the input's shape: --shape {source.name}=1,T,40 (T marks the time axis).",
        )
    return (size,) if inner and isinstance(size, int) else (role,)


def _lift_node(lift: Lift, node: Node) -> None:
    try:
        outputs = _outputs(lift, node)
    except Relabel as learned:
        lift.notes += [f"{node} {learned.action} axis {k} of '{x}'" for x, k in _inner_axes(learned)]
        raise
    except Unsupported as found:
        raise found.at(lift.graph.file, node) from None
    except _MALFORMED as error:
        raise StepcellError(
            f"{lift.graph.file}: {node} is malformed: {error}.", "check the file with onnx.checker."
        ) from error
    lift.env.update(zip(node.outputs, outputs, strict=False))


def _inner_axes(learned: Relabel) -> list[tuple[str, str]]:
    """(input, axis) of what an operation showed to be inner."""
    found = [label for label, role in learned.roles.items() if role == "inner"] if learned.action else []
    return [(x, k) for x, _, k in (label.rpartition(".") for label in found)]


def _outputs(lift: Lift, node: Node) -> list[Lifted]:
    missing = [name for name in node.inputs if name and name not in lift.env]
    if missing:
        raise Unsupported(f"reads '{missing[0]}', which nothing before it defines", "check the file.")
    operands = [lift.env[name] if name else None for name in node.inputs]
    if node.op in ("Shape", "Size"):
        return _shape(lift, node, operands[0])
    if not any(isinstance(operand, Tensor) for operand in operands):
        folded = fold(node, operands)
        if folded is not None:
            return list(folded)
    if node.op not in LIFTERS:
        raise Unsupported(
            "is an unsupported operator; allowed are " + ALLOWED, "replace it, or leave it out of the file."
        )
    return LIFTERS[node.op](lift, node, operands)


def _shape(lift: Lift, node: Node, operand: Lifted | None) -> list[Lifted]:
    if operand is None:
        raise Unsupported("has no input", "check the file.")
    shape = lift.shape(operand)
    if node.op == "Size":
        return [np.asarray(np.prod(shape), np.int64)]
    start, end = node.attributes.get("start", 0), node.attributes.get("end", len(shape))
    return [np.asarray(shape[start:end], np.int64)]


__all__ = ["lift_graph"]
