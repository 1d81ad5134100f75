"""PyTorch import: the only place where the importers use torch, and only when it is called."""

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from stepcell.errors import StepcellError
from stepcell.importers.check import check_against_source
from stepcell.importers.lift import lift_graph
from stepcell.importers.lift.attention_memory import ROWS
from stepcell.importers.names import model_name
from stepcell.importers.pytorch.examples import BATCH, larger_batch
from stepcell.importers.pytorch.export import exported
from stepcell.importers.pytorch.loops import roll_up
from stepcell.importers.pytorch.memories import with_fewer_rows
from stepcell.importers.pytorch.run import Runner
from stepcell.importers.pytorch.states import carried_states, started_at_buffers
from stepcell.importers.pytorch.stores import gathered_stores, without_stacks
from stepcell.importers.pytorch.translate import Traced, to_graph
from stepcell.ir import Model, Source, SourceTensor
from stepcell.ir.model import FloatArray

if TYPE_CHECKING:
    import torch


def import_torch(
    module: "torch.nn.Module",
    example_input: Any,
    name: str | None = None,
    calibration: FloatArray | None = None,
    states: Mapping[str, str] | None = None,
    max_steps: int | None = None,
    memories: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> Model:
    """The Model of a module, in evaluation mode, checked against the module to 1e-5 at several lengths.

    example_input is one input, or a tuple: x in the module's own layout, and initial states if
    forward() takes them. calibration [N, T, ...] is checked besides random inputs. states names
    inputs and the outputs that they become, by name or position: {"h": "output_1"} or {"h": "1"}.
    max_steps: the longest sequence, where attention stores all steps (default 256). memories: inputs that
    hold every step of another function, and what each axis is, {"memory": ("batch", "time", "inner")}.

    Raises StepcellError for anything that cannot be imported exactly.
    """
    examples = example_input if isinstance(example_input, tuple) else (example_input,)
    file = type(module).__name__
    name = model_name(name, file)

    def imported(given: tuple[Any, ...]) -> Model:
        traced = to_graph(exported(module, given, file), file, digest(module)).bounded(
            max_steps or ROWS, memories
        )
        return checked(module, traced, given, name, calibration, states, frozen=False)

    was_training = module.training
    module.eval()
    try:
        larger = larger_batch(module, examples)
        if larger is not None:
            with contextlib.suppress(StepcellError):
                found = imported(larger)
                if not _has_inner_batch(found):
                    return found
        return imported(examples)
    finally:
        module.train(was_training)


def _has_inner_batch(model: Model) -> bool:
    """Whether nothing in the module tells the batch axis from the features of one step."""
    assert model.source is not None
    tensors = (*model.source.inputs, *model.source.outputs)
    return any(found == ("inner", BATCH) for t in tensors for found in zip(t.axes, t.shape, strict=True))


def checked(
    module: Any,
    traced: Traced,
    examples: tuple[Any, ...],
    name: str,
    calibration: FloatArray | None,
    states: Mapping[str, str] | None,
    frozen: bool,
    keywords: Mapping[str, Any] = MappingProxyType({}),
) -> Model:
    """The Model of a traced module, once it agrees with the module itself.

    frozen: the module runs only the sizes that it was traced at.
    """
    graph = traced.graph
    model = started_at_buffers(_lifted(traced, name, states), module, traced.buffers)
    assert model.source is not None
    source = model.source if frozen else _unfrozen(model.source)
    returned = [out for out in graph.outputs if out not in traced.overwritten.values()]
    inputs = tuple(found.name for found in graph.inputs if found.name not in traced.buffers)
    outputs = (*(traced.overwritten[buffer] for buffer in traced.buffers), *returned)

    def check(source: Source, given: tuple[Any, ...], calibration: FloatArray | None) -> Model:
        runner = Runner(module, source, (given, dict(keywords)), inputs, outputs, traced.buffers)
        return check_against_source(replace(model, source=source), runner, calibration)

    if graph.memories:
        check(*with_fewer_rows(source, examples, inputs, graph.memories), None)
    return check(source, examples, calibration)


def _lifted(traced: Traced, name: str, states: Mapping[str, str] | None) -> Model:
    """The Model of the graph, loops over an axis as loops over time; else, if they are none, as they are."""
    graph, shapes = traced.graph, dict(traced.shapes)
    carried = carried_states(traced, states)
    rolled = roll_up(gathered_stores(graph, shapes), shapes)
    try:
        return lift_graph(without_stacks(rolled, shapes), name, carried)
    except StepcellError:
        if not any(node.op == "Scan" for node in rolled.nodes):
            raise
        with contextlib.suppress(StepcellError):
            return lift_graph(without_stacks(graph, shapes), name, carried)
        raise


def digest(module: "torch.nn.Module") -> str:
    """SHA-256 over the names and bytes of the state_dict."""
    found = hashlib.sha256()
    for key, value in module.state_dict().items():
        found.update(key.encode())
        found.update(value.detach().cpu().numpy().tobytes())
    return found.hexdigest()


def _unfrozen(source: Source) -> Source:
    """A module runs any batch and length, although its trace has the example's."""

    def free(tensor: SourceTensor) -> SourceTensor:
        shape = (n if axis == "inner" else None for axis, n in zip(tensor.axes, tensor.shape, strict=True))
        return replace(tensor, shape=tuple(shape))

    return replace(source, inputs=tuple(map(free, source.inputs)), outputs=tuple(map(free, source.outputs)))
