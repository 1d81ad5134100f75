"""Lifting: from a source graph over whole sequences to a step graph with named states.

Nodes are taken in order. A tensor's axes carry labels; the labels of an input's axes are unknown
until an operator tells: a recurrent operator names time and batch, a matrix product an inner axis.
Whenever something is learned, lifting starts again with it, so no axis is known by name or position.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.graph import Graph, GraphInput, Node, Unsupported, all_nodes, reachable, reads_of
from stepcell.importers.lift.assemble import KEEPS_A_STATE, assemble
from stepcell.importers.lift.axes import Axis, Relabel
from stepcell.importers.lift.branches import Choice, choose, inlined
from stepcell.importers.lift.context import Lift, Lifted, Phase, Tensor, data, inner_shape
from stepcell.importers.lift.fold import fold
from stepcell.importers.lift.frames import WINDOWS, frames_per_step
from stepcell.importers.lift.lengths import lengths_role, lengths_tensor, passes_lengths
from stepcell.importers.lift.loops import at_step
from stepcell.importers.lift.neutral import unchanged
from stepcell.importers.lift.operators import ALLOWED, LIFTERS
from stepcell.importers.lift.proposals import proposed_states
from stepcell.importers.lift.roles import Roles, frozen_size, label, label_sizes, without_recurrence
from stepcell.importers.names import identifier
from stepcell.importers.reroll import reroll
from stepcell.importers.reroll.sequence import roll
from stepcell.ir import Model
from stepcell.ir.ops import Dtype, Value

_RECURRENT = ("LSTM", "GRU", "RNN", "Scan", "Loop")
_LARGEST_STEP = 2**20
_FIRST_SIZE = 101
"""Free axes get sizes from here on: primes that occur nowhere in the file."""
_OTHER_SIZES = (17, 10007)
"""With these, too, every If has to take the same branch: the import check runs 1 to 16 steps."""
_MALFORMED = (ValueError, IndexError, KeyError, TypeError, OverflowError, ZeroDivisionError, AttributeError)
"""What numpy and dict look-ups raise on attributes and shapes that contradict each other."""

_Result = TypeVar("_Result")


def lift_graph(graph: Graph, name: str, carried: Mapping[str, str] | None = None) -> Model:
    """The Model of a source graph. `carried` names state inputs and their outputs, {"h": "hn"}.

    Raises StepcellError naming the first node that cannot be imported, and what is allowed; its `problems`
    name every such node.
    """
    try:
        return _lifted(graph, name, carried or {})
    except StepcellError as refusal:
        refusal.problems = refusal.problems or tuple(diagnose_graph(graph, carried))
        raise


def _lifted(graph: Graph, name: str, carried: Mapping[str, str]) -> Model:
    model, branches = _settled(graph, carried, lambda lift: assemble(lift, name, carried), _FIRST_SIZE)
    if branches and any(isinstance(size, str) for source in graph.inputs for size in source.shape):
        for first_size in _OTHER_SIZES:
            _check_branches(graph, branches, _settled(graph, carried, lambda _: None, first_size)[1])
    return _recurrent(graph, reroll(model))


def _recurrent(graph: Graph, model: Model) -> Model:
    """The model, if anything in it recurs; rolled up, if it is unrolled over a fixed number of steps."""
    if model.states:
        return model
    rolled = roll(model)
    if rolled is not None:
        return rolled
    pairs = proposed_states(graph, model.source)
    named = f"; these look like a state: {' '.join(pairs)}" if pairs else ""
    raise StepcellError(
        f"{graph.file}: it has no LSTM, GRU or RNN operator and no named state, so nothing recurs{named}.",
        "name its state with --state INPUT=OUTPUT; if an exporter unrolled the layer, use "
        "torch.onnx.export with dynamo=False.",
    )


def _check_branches(graph: Graph, branches: list[Choice], others: list[Choice]) -> None:
    """Refuse a branch that another batch or number of steps would not take."""
    for choice, other in zip(branches, others, strict=True):
        if choice.taken != other.taken:
            raise Unsupported(
                "chooses a branch by the size of an axis that is free", "give the input's shape with --shape."
            ).at(graph.file, choice.node)


def diagnose_graph(graph: Graph, carried: Mapping[str, str] | None = None) -> list[str]:
    """One line for each node that cannot be imported, with the reason; what only such nodes feed is left out.

    Empty where every node can. A refusal of the whole file is one line.
    """
    carried = carried or {}
    problems: list[str] = []

    def finish(lift: Lift) -> list[str]:
        if not lift.problems:
            assemble(lift, "model", carried)
        return [problem.message for problem in lift.problems or []]

    try:
        problems = _settled(graph, carried, finish, _FIRST_SIZE, diagnosing=True)[0]
    except StepcellError as refusal:
        problems = [refusal.message]
    return problems


def _settled(
    graph: Graph,
    carried: Mapping[str, str],
    finish: Callable[[Lift], _Result],
    first_size: int,
    diagnosing: bool = False,
) -> tuple[_Result, list[Choice]]:
    """What `finish` makes of the lifted graph once every role and every branch is known; the branches."""
    roles: Roles = {}
    notes: list[str] = []
    branches: list[Choice] = []
    for _ in range(_attempts(graph)):
        nodes = reachable(graph)
        roles = {**_first_roles(graph, nodes, carried), **roles}
        try:
            return finish(_attempt(graph, nodes, roles, notes, first_size, diagnosing)), branches
        except Relabel as learned:
            roles = {**roles, **learned.roles}
        except Choice as choice:
            graph = inlined(graph, choice)
            branches.append(choice)
    raise StepcellError(
        f"{graph.file}: the roles of its axes contradict each other.", "export the model again."
    )


def _attempts(graph: Graph) -> int:
    """More than the roles that can be learned and the branches that can be chosen."""
    roles = sum(len(source.shape) + 1 for source in graph.inputs)
    windows = sum(node.op in WINDOWS for node in all_nodes(graph.nodes))
    return 4 + 2 * roles + windows + sum(node.op == "If" for node in all_nodes(graph.nodes))


def _first_roles(graph: Graph, nodes: tuple[Node, ...], carried: Mapping[str, str]) -> Roles:
    known = {source.name for source in graph.inputs}
    for tensor_in, tensor_out in carried.items():
        if tensor_in not in known or tensor_out not in graph.outputs:
            raise StepcellError(
                f"{graph.file}: the state {tensor_in}={tensor_out} does not name an input and an output; the "
                f"inputs are {', '.join(sorted(known))}, the outputs {', '.join(graph.outputs)}.",
                "write --state INPUT=OUTPUT.",
            )
    if any(node.op in _RECURRENT for node in all_nodes(nodes)):
        return lengths_role(graph, all_nodes(nodes)) | dict.fromkeys(carried, "carried")
    return without_recurrence(graph, carried)


def _attempt(
    graph: Graph,
    nodes: tuple[Node, ...],
    roles: Roles,
    notes: list[str],
    first_size: int,
    diagnosing: bool,
) -> Lift:
    sizes = label_sizes(graph, roles, first_size)
    lift = Lift(graph, sizes, roles, _is_single_step(graph, roles), notes=notes)
    lift.problems = [] if diagnosing else None
    lift.lift_node = _lift_node
    for node in nodes:
        lift.uses.update(reads_of(node))
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
    if lift.guesses:
        raise Relabel(dict.fromkeys(lift.guesses, "inner"), "slides over")
    return lift


def _is_single_step(graph: Graph, roles: Roles) -> bool:
    if KEEPS_A_STATE in roles:
        return False
    has_state = any(role in ("state", "carried") for role in roles.values())
    frozen = frozen_size(graph, roles, "time")
    return has_state and ("time" not in roles.values() or frozen == frames_per_step(roles))


def _input(lift: Lift, source: GraphInput) -> Tensor:
    if lift.roles.get(source.name) == "lengths":
        return lengths_tensor(lift, source)
    if source.dtype.kind not in "fiu":
        raise StepcellError(
            f"{lift.graph.file}: the input '{source.name}' has type {source.dtype}; floats and integers are "
            "allowed.",
            f"fix a setting with --bind {source.name}=NUMBER.",
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
    at = next((k for k, axis in enumerate(axes) if axis[0] == "time" and len(axis) > 1), None)
    dtype: Dtype = "float" if source.dtype.kind == "f" else "token"
    lift.values[name] = Value(name, inner if at is None else (shape[at], *inner), dtype)
    if role == "carried":
        lift.add_state(name, np.zeros(inner), "")
    phase: Phase = "initial" if role == "state" else "step"
    whole = data(name, shape, axes, phase)
    if at is None:
        return whole
    order = [at, *(k for k in range(len(shape)) if k != at)]
    frames_first = np.arange(whole.table.size).reshape([shape[k] for k in order])
    return replace(whole, table=frames_first.transpose(np.argsort(order)))


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
    if role == "time" and frames_per_step(lift.roles) > 1:
        return (role, frames_per_step(lift.roles))
    return (size,) if inner and isinstance(size, int) else (role,)


def _lift_node(lift: Lift, node: Node) -> None:
    if lift.unknown.intersection(reads_of(node)):
        lift.unknown.update(node.outputs)
        return
    try:
        outputs = _outputs(lift, node)
    except Relabel as learned:
        lift.notes += [f"{node} {learned.action} axis {k} of '{x}'" for x, k in _inner_axes(learned)]
        raise
    except Unsupported as found:
        _refuse(lift, node, found.at(lift.graph.file, node))
        return
    except _MALFORMED as error:
        malformed = f"{lift.graph.file}: {node} is malformed: {error}."
        _refuse(lift, node, StepcellError(malformed, "check the file with onnx.checker."))
        return
    lift.env.update(zip(node.outputs, outputs, strict=False))


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
    if not any(isinstance(operand, Tensor) for operand in operands):
        folded = fold(node, operands, lift.graph.opset)
        if folded is not None:
            return list(folded)
    same = at_step(lift, node, operands) or unchanged(lift, node, operands)
    if same is not None:
        return [same]
    if node.op not in LIFTERS:
        raise Unsupported(
            "is an unsupported operator", f"replace it, or leave it out of the file; allowed are {ALLOWED}."
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


__all__ = ["diagnose_graph", "lift_graph"]
