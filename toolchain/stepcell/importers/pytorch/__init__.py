"""PyTorch import: the only place where the importers use torch, and only when it is called."""

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.check import check_against_source
from stepcell.importers.lift import lift_graph
from stepcell.importers.names import model_name
from stepcell.importers.pytorch.translate import to_graph
from stepcell.ir import Model, Source, SourceTensor
from stepcell.ir.model import FloatArray
from stepcell.reference.source_layout import Array, Lengths, Streams, first_line, run_sequences

if TYPE_CHECKING:
    import torch


def import_torch(
    module: "torch.nn.Module",
    example_input: "torch.Tensor | tuple[torch.Tensor, ...]",
    name: str | None = None,
    calibration: FloatArray | None = None,
    states: Mapping[str, str] | None = None,
) -> Model:
    """The Model of a module, in evaluation mode, checked against the module to 1e-5 at several lengths.

    example_input is one input, or a tuple: x in the module's own layout, and initial states if
    forward() takes them. calibration [N, T, ...] is checked besides random inputs.

    Raises StepcellError for anything that cannot be imported exactly.
    """
    examples = example_input if isinstance(example_input, tuple) else (example_input,)
    file = type(module).__name__
    was_training = module.training
    module.eval()
    try:
        graph = to_graph(_exported(module, examples, file), file, _digest(module))
        model = lift_graph(graph, model_name(name, file), states)
        assert model.source is not None
        source = _unfrozen(model.source)
        by_name = dict(zip((found.name for found in graph.inputs), examples, strict=True))
        run = partial(_run_module, module, source, by_name, graph.outputs)
        return check_against_source(replace(model, source=source), run, calibration)
    finally:
        module.train(was_training)


def _exported(module: "torch.nn.Module", examples: "tuple[torch.Tensor, ...]", file: str) -> Any:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about its own recurrent layers and internals
            # Without the default decompositions, which would unroll every recurrent layer.
            return torch.export.export(module, examples).run_decompositions({})
    except Exception as error:
        raise StepcellError(
            f"{file}: torch.export cannot trace it: {first_line(error)}",
            "build it of nn.LSTM, nn.GRU, nn.RNN, nn.Linear, activations; pad sequences, do not pack them.",
        ) from error


def _digest(module: "torch.nn.Module") -> str:
    """SHA-256 over the names and bytes of the state_dict."""
    digest = hashlib.sha256()
    for key, value in module.state_dict().items():
        digest.update(key.encode())
        digest.update(value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def _unfrozen(source: Source) -> Source:
    """A module runs any batch and length, although its trace has the example's."""

    def free(tensor: SourceTensor) -> SourceTensor:
        shape = (n if axis == "inner" else None for axis, n in zip(tensor.axes, tensor.shape, strict=True))
        return replace(tensor, shape=tuple(shape))

    return replace(source, inputs=tuple(map(free, source.inputs)), outputs=tuple(map(free, source.outputs)))


def _run_module(
    module: "torch.nn.Module",
    source: Source,
    examples: "dict[str, torch.Tensor]",
    outputs: tuple[str, ...],
    x: Streams,
    lengths: Lengths,
    states: Mapping[str, FloatArray],
) -> Streams:
    import torch

    def call(feeds: dict[str, Array], count: int) -> dict[str, Array]:
        del count
        arrays = [np.ascontiguousarray(feeds[name]) for name in examples]
        tensors = [torch.from_numpy(a).to(e.dtype) for a, e in zip(arrays, examples.values(), strict=True)]
        try:
            with torch.no_grad():
                results = torch.utils._pytree.tree_leaves(module(*tensors))
        except Exception as error:
            shapes = ", ".join(str(list(t.shape)) for t in tensors)
            raise StepcellError(
                f"{source.file}: it does not run on inputs of shape {shapes}: {first_line(error)}",
                "make forward() independent of the batch size and of the number of steps.",
            ) from error
        return {name: result.double().numpy() for name, result in zip(outputs, results, strict=True)}

    shapes = {s.tensor_in: _free_batch(examples[s.tensor_in].shape, s.index) for s in source.states}
    return run_sequences(source, x, lengths, states, shapes, call)


def _free_batch(shape: tuple[int, ...], index: tuple[int | None, ...]) -> list[int | None]:
    batch = index.index(None) if None in index else -1
    return [None if axis == batch else int(size) for axis, size in enumerate(shape)]
