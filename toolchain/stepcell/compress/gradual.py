"""`GradualPruner`: pruning in steps, inside whatever loop trains the module."""

from collections.abc import Sequence
from typing import Protocol

from stepcell.compress.importance import Criterion, magnitude
from stepcell.compress.prune import DEFAULT_BLOCK, Scope, choose_masks, prunable
from stepcell.compress.schedule import cubic_density
from stepcell.ir.model import Block, FloatArray, Mask, Model


class Prunable(Protocol):
    """What the pruner asks of a module; `train.StepModule` answers it."""

    def get_weight(self, name: str) -> FloatArray:
        """A parameter as it acts now."""

    def get_masks(self) -> dict[str, Mask]:
        """The masks by the name of their parameter."""

    def set_mask(self, name: str, mask: Mask) -> None:
        """Mask a parameter from now on."""


class GradualPruner:
    """Prunes a module along the cubic schedule; call `update(step)` after every optimizer step.

    Masks are chosen anew every `interval` steps from step 1 to `end`; what was pruned stays pruned.
    After `end` they are fixed, and training on is fine-tuning. The other arguments are those of `prune`.
    """

    def __init__(
        self,
        model: Model,
        module: Prunable,
        density: float = 0.25,
        block: Block = DEFAULT_BLOCK,
        *,
        end: int,
        interval: int = 1,
        matrices: Sequence[str] | None = None,
        scope: Scope = "global",
        criterion: Criterion = magnitude,
    ) -> None:
        self._model, self._module = model, module
        self._density, self._block = density, block
        self._end, self._interval = end, interval
        self._names = prunable(model, matrices)
        self._scope, self._criterion = scope, criterion
        # Masked from the start, so that a state_dict of any epoch fits the module of any other.
        self._prune_to(1.0)

    def update(self, step: int) -> None:
        """Prune to the density that the schedule gives for `step`, counted from 1."""
        if step == self._end or (step < self._end and step % self._interval == 0):
            self._prune_to(cubic_density(step, 0, self._end, self._density))

    def _prune_to(self, density: float) -> None:
        weights = {name: self._module.get_weight(name) for name in self._names}
        masks = choose_masks(
            self._model,
            weights,
            self._module.get_masks(),
            density=density,
            block=self._block,
            scope=self._scope,
            criterion=self._criterion,
        )
        for name, mask in masks.items():
            self._module.set_mask(name, mask)
