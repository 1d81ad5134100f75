"""Examples that tell a trace more: a small batch looks like other axes of its size."""

import copy
from collections.abc import Iterator
from itertools import islice, product
from typing import TYPE_CHECKING, Any

from stepcell.importers.pytorch.export import quiet

if TYPE_CHECKING:
    import torch

BATCH = 103
"""A prime above the sizes of most layers, so that shapes and reshapes show where the batch axis goes."""
_MOST_CHOICES = 32


def larger_batch(module: Any, examples: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """The examples with BATCH sequences; None where no axis is a batch axis.

    A copy of the module says which axes are: it runs only where all inputs agree.
    """
    from torch.utils import _pytree

    leaves, spec = _pytree.tree_flatten(examples)
    tried = copy.deepcopy(module)
    for axes in islice(_choices(leaves), _MOST_CHOICES):
        grown = [_grown(leaf, axis) for leaf, axis in zip(leaves, axes, strict=True)]
        given: tuple[Any, ...] = _pytree.tree_unflatten(grown, spec)
        if _runs(tried, given):
            return given
    return None


def _choices(leaves: "list[torch.Tensor]") -> Iterator[tuple[int, ...]]:
    """An axis of every input: any of the first, shorter ones first, and those as long of the others."""
    sizes = enumerate(leaves[0].shape if leaves else ())
    for axis, size in sorted(sizes, key=lambda found: found[1]):
        others = ([k for k, found in enumerate(leaf.shape) if found == size] for leaf in leaves[1:])
        yield from product([axis], *others)


def _grown(leaf: "torch.Tensor", axis: int) -> "torch.Tensor":
    return leaf.narrow(axis, 0, 1).expand([BATCH if k == axis else -1 for k in range(leaf.ndim)]).clone()


def _runs(module: Any, given: tuple[Any, ...]) -> bool:
    """Whether the module takes the batch, and returns as many results."""
    import torch
    from torch.utils import _pytree

    try:
        with torch.no_grad(), quiet():
            results = _pytree.tree_leaves(module(*given))
    except Exception:  # noqa: BLE001  # any complaint says that this is not the batch axis
        return False
    return all(BATCH in result.shape for result in results if isinstance(result, torch.Tensor))
