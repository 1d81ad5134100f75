"""`GroupLasso`: a penalty on what a pattern removes at once, so that whole groups fade. Needs torch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stepcell.compress.budget import DEFAULT_PATTERN
from stepcell.compress.pattern import Pattern, Units, block_index, parse_pattern, stored_block
from stepcell.compress.prune import prunable, row_orders
from stepcell.compress.unit_graph import find_units
from stepcell.ir.model import Model

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from stepcell.train import StepModule

Members = tuple[NDArray[np.int64], NDArray[np.int64]]
"""(which weights of a matrix, flat; which group each is of)"""


class GroupLasso:
    """Add `penalty()` to the loss of any training: strength times the sum of sqrt(size) |w|_2 over groups.

    The group lasso (Yuan and Lin 2006, "Model selection and estimation in regression with grouped
    variables"). Groups are a pattern's blocks, or with "units" all rows and columns of a hidden unit, as in
    Wen et al. 2018, "Learning intrinsic sparse structures within LSTM", arXiv 1709.05027. Removing the
    smallest groups afterwards, by the criterion "weight-cost", then costs little.
    """

    def __init__(
        self,
        model: Model,
        module: "StepModule",
        pattern: str | Pattern | Units = DEFAULT_PATTERN,
        *,
        strength: float = 1e-4,
        matrices: Sequence[str] | None = None,
    ) -> None:
        import torch

        pattern = parse_pattern(pattern) if isinstance(pattern, str) else pattern
        names = prunable(model, matrices)
        members = _of_units(model, names) if pattern == "units" else _of_blocks(model, names, pattern)
        count = 1 + max(int(groups.max(initial=-1)) for _, groups in members.values())
        sizes = np.zeros(count)
        for _, groups in members.values():
            sizes += np.bincount(groups, minlength=count)
        self._parameters = {name: module.parameter(name) for name in names}
        self._members = {n: (torch.from_numpy(at), torch.from_numpy(g)) for n, (at, g) in members.items()}
        self._factors = strength * torch.from_numpy(np.sqrt(sizes)).float()

    def penalty(self) -> "Tensor":
        """What to add to the loss; a scalar with a gradient."""
        return (self.norms() * self._factors.to(self._device)).sum()

    def norms(self) -> "Tensor":
        """|w|_2 of every group."""
        import torch

        squares = torch.zeros(len(self._factors), device=self._device)
        for name, (at, groups) in self._members.items():
            w = self._parameters[name].flatten()[at.to(self._device)]
            squares = squares.index_add(0, groups.to(self._device), w * w)
        return (squares + 1e-12).sqrt()

    @property
    def _device(self) -> "torch.device":
        return next(iter(self._parameters.values())).device


def _of_blocks(model: Model, names: Sequence[str], pattern: Pattern) -> dict[str, Members]:
    block, start, found = stored_block(pattern), 0, dict[str, Members]()
    orders = row_orders(model, block)
    for name in names:
        rows, size = len(model.weights[name]), model.weights[name].size
        groups = block_index((rows, size // rows), orders[name], block).reshape(-1) + start
        found[name] = (np.arange(size), groups)
        start = int(groups.max()) + 1
    return found


def _of_units(model: Model, names: Sequence[str]) -> dict[str, Members]:
    """Every weight once for the unit that its row computes and once for the one that its column reads."""
    units = find_units(model)
    numbers = np.unique(np.concatenate([units.states[state.name].reshape(-1) for state in model.states]))
    numbers = np.array([n for n in numbers if int(n) not in units.stuck], np.int64)
    found = {}
    for name in names:
        shape = model.weights[name].shape
        at, groups = [], []
        for axis, own in enumerate(units.parameters[name]):
            if own is None:
                continue
            along = own.reshape([-1 if a == axis else 1 for a in range(len(shape))])
            wide = np.broadcast_to(along, shape).reshape(-1)
            known = np.flatnonzero(np.isin(wide, numbers))
            at.append(known)
            groups.append(np.searchsorted(numbers, wide[known]))
        found[name] = (np.concatenate(at), np.concatenate(groups))
    return found
