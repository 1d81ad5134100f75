"""A second example for modules that read every step of another function: with fewer of those steps."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stepcell.ir import Source, StateTensor


def with_fewer_rows(
    source: Source,
    examples: tuple[Any, ...],
    names: tuple[str, ...],
    memories: Mapping[str, tuple[str, ...]],
) -> tuple[Source, tuple[Any, ...]]:
    """The source and its examples, with half the steps in the inputs that hold those of another function."""
    from torch.utils import _pytree

    leaves, spec = _pytree.tree_flatten(examples)
    axes = {name: kinds.index("time") for name, kinds in memories.items()}
    fewer = [
        leaf.narrow(axes[name], 0, _half(leaf.shape[axes[name]])) if name in axes else leaf
        for name, leaf in zip(names, leaves, strict=True)
    ]
    held = tuple(_shortened(memory, axes[memory.tensor_in]) for memory in source.memories)
    return replace(source, memories=held), _pytree.tree_unflatten(fewer, spec)


def _shortened(memory: StateTensor, axis: int) -> StateTensor:
    entry = memory.index[axis]
    assert isinstance(entry, tuple)
    index = (*memory.index[:axis], (0, _half(entry[1]), 1), *memory.index[axis + 1 :])
    return replace(memory, index=index)


def _half(rows: int) -> int:
    return max(1, rows // 2)
