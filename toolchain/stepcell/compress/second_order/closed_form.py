"""`prune_in_closed_form`: masks, and the weights that go with them, without labels or gradient steps."""

from collections.abc import Mapping, Sequence

import numpy as np

from stepcell.compress.budget import DEFAULT_PATTERN, Scope, budget_of
from stepcell.compress.pattern import Pattern
from stepcell.compress.prune import choose_masks
from stepcell.compress.second_order.fit import STEPS, OnProgress, Study, fitted, refitted
from stepcell.compress.second_order.importance import Sensitivity
from stepcell.compress.second_order.layers import Layer
from stepcell.compress.second_order.ranking import Ranking, rank_removals
from stepcell.ir.model import FloatArray, Model
from stepcell.ir.sequences import Sequences
from stepcell.ir.verify import verify


def prune_in_closed_form(
    model: Model,
    data: Sequences,
    fraction: float | None = None,
    pattern: str | Pattern = DEFAULT_PATTERN,
    *,
    matrices: Sequence[str] | None = None,
    scope: Scope = "global",
    gates: Mapping[str, float] | None = None,
    keep_diagonal: bool = False,
    refits: int = 2,
    steps: int = STEPS,
    sensitivity: Sensitivity | None = None,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> Model:
    """Remove the fraction `fraction` [0, 1) of the weights where that changes the outputs least.

    Every row of a layer has a Hessian of its own: the second moments of what it multiplies (x, h and 1; of a
    GRU's n rows r * h), each step weighted by how much the row's sum matters there. Blocks are removed
    one by one, the rest moved to where the error is least (removal.py), and one threshold on what a removal
    costs chooses the masks of all rows, gates and matrices. What is kept, and the biases, are then fitted to
    the dense sums (fit.py), `refits` times from what the compressed model itself reads.

    sensitivity: what a sum matters. "outputs": the squared derivative of the outputs' logits through all
    later steps, which needs torch; "none": every sum alike, errors as shares of what a layer's sums vary by,
    nearly as good where one layer is pruned; by default the first where torch is installed. steps: samples
    of each operation that are used at most; `seed` draws them and the sequences. The other arguments are
    those of `prune`; N:M chooses by the scores of 4x1 blocks. Only the weights and recurrent biases of layers
    with a pruned matrix change, and those of Dense layers before the outputs.

    Raises StepcellError as `prune` and `refit` do.
    """
    budget_of(fraction, pattern, scope, gates, keep_diagonal)  # refuses before any work is done
    ranking = rank_removals(
        model,
        data,
        pattern,
        matrices=matrices,
        steps=steps,
        sensitivity=sensitivity,
        seed=seed,
        on_progress=on_progress,
    )
    return cut(
        ranking,
        fraction,
        scope=scope,
        gates=gates,
        keep_diagonal=keep_diagonal,
        refits=refits,
        on_progress=on_progress,
    )


def cut(
    ranking: Ranking,
    fraction: float | None = None,
    *,
    scope: Scope = "global",
    gates: Mapping[str, float] | None = None,
    keep_diagonal: bool = False,
    refits: int = 2,
    on_progress: OnProgress | None = None,
) -> Model:
    """The second half of `prune_in_closed_form`: masks at one fraction, and the weights that go with them.

    One ranking serves any number of fractions.
    """
    budget = budget_of(fraction, ranking.pattern, scope, gates, keep_diagonal)
    model = ranking.found.dense
    masks = choose_masks(model, ranking.scores, budget, tuple(ranking.scores))
    kept = {name: np.where(mask.keep, model.weights[name], 0.0) for name, mask in masks.items()}
    pruned = _moved(model.with_weights(kept, masks), ranking.layers, ranking.found)
    return verify(refitted(pruned, ranking.layers, ranking.found, refits, on_progress))


def _moved(pruned: Model, layers: Sequence[Layer], found: Study) -> Model:
    """The kept weights where the dense model's own values give the least error: where removal moved them."""
    changes: dict[str, FloatArray] = {}
    for layer in layers:
        samples = found.samples(found.dense, layer, found.recording)
        targets = samples.sums(layer.weights(found.dense))
        changes |= layer.parameters(pruned, fitted(pruned, layer, samples, targets))
    return pruned.with_weights(changes)
