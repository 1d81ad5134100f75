"""`GradualPruner`: pruning in steps, inside whatever loop trains the module."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from stepcell.compress.budget import DEFAULT_PATTERN, Budget, Scope, budget_of
from stepcell.compress.criteria import criterion_named
from stepcell.compress.importance import Criterion
from stepcell.compress.pattern import Pattern
from stepcell.compress.prune import choose_masks, prunable
from stepcell.compress.schedule import cubic_density
from stepcell.ir.model import FloatArray, Mask, Model
from stepcell.ir.sequences import Sequences


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
    After `end` they are fixed, and training on is fine-tuning. Whatever the pruner has decided is in the
    module's masks, so that a checkpoint of the module is one of the pruner, too. The other arguments are
    those of `prune`, except "units" and "second-order", which are no masks.
    """

    def __init__(
        self,
        model: Model,
        module: Prunable,
        fraction: float | None = None,
        pattern: str | Pattern = DEFAULT_PATTERN,
        *,
        end: int,
        interval: int = 1,
        criterion: str | Criterion = "magnitude",
        data: Sequences | None = None,
        scope: Scope = "global",
        gates: Mapping[str, float] | None = None,
        keep_diagonal: bool = False,
        matrices: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        self._model, self._module, self._data = model, module, data
        self._budget = budget_of(fraction, pattern, scope, gates, keep_diagonal)
        self._end, self._interval = end, interval
        self._names = prunable(model, matrices)
        self._criterion = criterion_named(criterion, seed)
        # Masked from the start, so that a state_dict of any epoch fits the module of any other.
        self._prune_to(replace(self._budget, density=1.0, gates=None))

    def update(self, step: int) -> None:
        """Prune to the density that the schedule gives for `step`, counted from 1."""
        if step == self._end or (step < self._end and step % self._interval == 0):
            final, gates = self._budget.density, self._budget.gates
            density = cubic_density(step, 0, self._end, final)
            falling = {g: cubic_density(step, 0, self._end, d) for g, d in (gates or {}).items()}
            self._prune_to(replace(self._budget, density=density, gates=falling))

    def _prune_to(self, budget: Budget) -> None:
        weights = {name: self._module.get_weight(name) for name in self._model.weights}
        now = self._model.with_weights(weights, self._module.get_masks())
        masks = choose_masks(now, self._criterion(now, self._data), budget, self._names)
        for name, mask in masks.items():
            self._module.set_mask(name, mask)
