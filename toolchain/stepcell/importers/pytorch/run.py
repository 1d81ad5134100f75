"""Running a module over whole sequences in its own layout, from given states."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.pytorch.export import quiet
from stepcell.ir import Source
from stepcell.ir.model import FloatArray
from stepcell.reference.source_layout import Array, Lengths, Streams, first_line, run_sequences

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Runner:
    """A module with the layout of its arguments; `__call__` is what the import check runs.

    `arguments` has the example's tensors in the structure that forward() takes, positional ones and those by
    keyword, `inputs` their names in order. `buffers` are states that the module keeps itself: name in the
    graph -> name in the module.
    """

    module: Any
    source: Source
    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    buffers: Mapping[str, str]

    def __call__(self, x: Streams, lengths: Lengths, states: Mapping[str, FloatArray]) -> Streams:
        """The outputs by name, [N, T, ...] or [N, ...]; see `run_sequences`."""
        examples = self._examples()
        given = (*self.source.states, *self.source.memories)
        shapes = {s.tensor_in: _free_batch(examples[s.tensor_in].shape, s.index) for s in given}
        return run_sequences(self.source, x, lengths, states, shapes, self._once)

    def _examples(self) -> "dict[str, torch.Tensor]":
        from torch.utils import _pytree

        given = dict(zip(self.inputs, _pytree.tree_leaves(self.arguments), strict=True))
        return given | {name: _buffer(self.module, path) for name, path in self.buffers.items()}

    def _once(self, feeds: dict[str, Array], count: int) -> dict[str, Array]:
        del count
        import torch
        from torch.utils import _pytree

        examples = self._examples()
        tensors = {name: _tensor(feeds[name], example) for name, example in examples.items()}
        spec = _pytree.tree_structure(self.arguments)
        arguments, keywords = _pytree.tree_unflatten([tensors[name] for name in self.inputs], spec)
        with _kept(self.module, {path: tensors[name] for name, path in self.buffers.items()}) as after:
            try:
                with torch.no_grad(), quiet():
                    results = _pytree.tree_leaves(self.module(*arguments, **keywords))
            except Exception as error:
                shapes = ", ".join(str(list(tensors[name].shape)) for name in self.inputs)
                raise StepcellError(
                    f"{self.source.file}: it does not run on inputs of shape {shapes}: {first_line(error)}",
                    "make forward() independent of the batch size and of the number of steps.",
                ) from error
            results = [*after(), *(result for result in results if result is not None)]
        return {name: r.double().numpy() for name, r in zip(self.outputs, results, strict=True)}


def _tensor(array: Array, example: "torch.Tensor") -> "torch.Tensor":
    import torch

    return torch.from_numpy(np.ascontiguousarray(array)).to(example.dtype)


@contextmanager
def _kept(module: Any, buffers: "dict[str, torch.Tensor]") -> Iterator[Any]:
    """The module with other contents in its buffers; yields what returns the contents after a call."""
    before = {path: _buffer(module, path) for path in buffers}
    try:
        for path, tensor in buffers.items():
            _set_buffer(module, path, tensor.clone())
        yield lambda: [_buffer(module, path) for path in buffers]
    finally:
        for path, tensor in before.items():
            _set_buffer(module, path, tensor)


def _buffer(module: Any, path: str) -> "torch.Tensor":
    owner, _, name = path.rpartition(".")
    found: torch.Tensor = module.get_submodule(owner)._buffers[name]
    return found


def _set_buffer(module: Any, path: str, tensor: "torch.Tensor") -> None:
    owner, _, name = path.rpartition(".")
    module.get_submodule(owner)._buffers[name] = tensor


def _free_batch(shape: tuple[int, ...], index: Sequence[object]) -> list[int | None]:
    batch = index.index(None) if None in index else -1
    return [None if axis == batch else int(size) for axis, size in enumerate(shape)]
