"""States of a traced module: which the user has to name, and where the module's own buffers start."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.graph import Graph
from stepcell.importers.pytorch.translate import Traced
from stepcell.ir import Model


def carried_states(traced: Traced, states: Mapping[str, str] | None) -> dict[str, str]:
    """{input: output} of the states that no recurrent operator tells: the user's, and the module's buffers.

    Raises StepcellError for a position or name that forward() has no output for.
    """
    graph = traced.graph
    returned = [out for out in graph.outputs if out not in traced.overwritten.values()]
    named = {key: _output(graph, returned, key, value) for key, value in (states or {}).items()}
    return named | traced.overwritten


def _output(graph: Graph, returned: list[str], key: str, value: str) -> str:
    for name in (value, f"{value}_next"):
        if name in returned:
            return name
    if value.isdigit() and int(value) < len(returned):
        return returned[int(value)]
    raise StepcellError(
        f"{graph.file}: the state {key}={value} names no output; the outputs are {', '.join(returned)}.",
        "write --state INPUT=OUTPUT, the output by its name or its position from 0 on.",
    )


def started_at_buffers(model: Model, module: Any, buffers: Mapping[str, str]) -> Model:
    """The model with its states started where the module's buffers are now."""
    assert model.source is not None
    states = {state.name: state for state in model.states}
    for found in model.source.states:
        if found.tensor_in not in buffers:
            continue
        owner, _, name = buffers[found.tensor_in].rpartition(".")
        array = module.get_submodule(owner)._buffers[name].detach().cpu().double().numpy()
        start = np.asarray(array[found.key])
        start = start[None] if found.batch_axis is None else np.moveaxis(start, found.batch_axis, 0)
        state = states[found.state]
        first = start.reshape(-1, *state.initial.shape)
        if not np.array_equal(first, np.broadcast_to(first[:1], first.shape)):
            buffer = buffers[found.tensor_in]
            raise StepcellError(
                f"{model.source.file}: its buffer '{buffer}' differs from sequence to sequence.",
                "reset it before the import.",
            )
        states[found.state] = replace(state, initial=first[0])
    return replace(model, states=tuple(states.values()))
