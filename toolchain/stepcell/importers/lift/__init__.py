"""Lifting: from a source graph over whole sequences to a step graph with named states.

Nodes are taken in order. A tensor's axes carry labels; the labels of an input's axes are unknown
until an operator tells: a recurrent operator names time and batch, a matrix product an inner axis.
Whenever something is learned, lifting starts again with it, so no axis is known by name or position.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from stepcell.errors import StepcellError
from stepcell.importers.graph import Graph, Node, Unsupported, all_nodes, reachable, reads_of
from stepcell.importers.lift.assemble import assemble
from stepcell.importers.lift.attention_memory import ROWS
from stepcell.importers.lift.axes import Relabel
from stepcell.importers.lift.branches import Choice, inlined
from stepcell.importers.lift.context import Lift
from stepcell.importers.lift.frames import WINDOWS, frames_per_step
from stepcell.importers.lift.inputs import input_tensor
from stepcell.importers.lift.lengths import lengths_role
from stepcell.importers.lift.nodes import lift_node
from stepcell.importers.lift.proposals import proposed_states
from stepcell.importers.lift.returned import KEEPS_A_STATE
from stepcell.importers.lift.roles import (
    Roles,
    frozen_size,
    label_sizes,
    memory_roles,
    without_recurrence,
)
from stepcell.importers.refused import (
    refusals,
    require_translated,
)
from stepcell.importers.reroll import reroll
from stepcell.importers.reroll.sequence import roll
from stepcell.ir import Model

_RECURRENT = ("LSTM", "GRU", "RNN", "Scan", "Loop")
_FIRST_SIZE = 101
"""Free axes get sizes from here on: primes that occur nowhere in the file."""
_OTHER_SIZES = (17, 10007)
"""With these, too, every If has to take the same branch: the import check runs 1 to 16 steps."""

_Result = TypeVar("_Result")


def lift_graph(graph: Graph, name: str, carried: Mapping[str, str] | None = None) -> Model:
    """The Model of a source graph. `carried` names state inputs and their outputs, {"h": "hn"}.

    Raises StepcellError naming the first node that cannot be imported, and what is allowed; its `problems`
    name every such node.
    """
    try:
        require_translated(graph)
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
    refused = [refusal.message for refusal in refusals(graph)]

    def finish(lift: Lift) -> list[str]:
        if not lift.problems:
            assemble(lift, "model", carried)
        return [problem.message for problem in lift.problems or []]

    try:
        problems = _settled(graph, carried, finish, _FIRST_SIZE, diagnosing=True)[0]
    except StepcellError as refusal:
        problems = [] if refused else [refusal.message]
    return list(dict.fromkeys([*refused, *problems]))


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
        roles = {**_first_roles(graph, nodes, carried), **memory_roles(graph), **roles}
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
    lift.rows = graph.max_steps or (frozen_size(graph, roles, "time") and sizes["time"]) or ROWS
    lift.lift_node = lift_node
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
        lift.env[source.name] = input_tensor(lift, source)
    for node in nodes:
        lift_node(lift, node)
    if lift.guesses:
        raise Relabel(dict.fromkeys(lift.guesses, "inner"), "slides over")
    return lift


def _is_single_step(graph: Graph, roles: Roles) -> bool:
    if KEEPS_A_STATE in roles:
        return False
    has_state = any(role in ("state", "carried") for role in roles.values())
    frozen = frozen_size(graph, roles, "time")
    return has_state and ("time" not in roles.values() or frozen == frames_per_step(roles))


__all__ = ["diagnose_graph", "lift_graph"]
