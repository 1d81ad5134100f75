"""`lottery_ticket`: train, prune, go back to the early weights with the masks, and again. Needs torch.

Frankle and Carbin 2019, "The lottery ticket hypothesis", arXiv 1803.03635, with rewinding to an early epoch
as in Frankle et al. 2019, "Stabilizing the lottery ticket hypothesis", arXiv 1903.01611.
"""

from collections.abc import Callable, Mapping

import numpy as np

from stepcell.compress.training import Training, trained
from stepcell.errors import StepcellError
from stepcell.ir.graph import parameters
from stepcell.ir.model import FloatArray, Model, all_ops
from stepcell.ir.ops import Constant, Recurrent
from stepcell.ir.verify import verify

ROUNDS = 4


def lottery_ticket(
    model: Model,
    training: Training,
    remove: Callable[[Model, float], Model],
    fraction: float,
    *,
    rounds: int = ROUNDS,
    rewind_epochs: int = 1,
) -> Model:
    """Remove `fraction` in `rounds` rounds, each as large a share of what is left, and train what remains.

    model: as it was before training; `reinitialized` makes one of a trained model. training: every round
    trains for its epochs, from what the model was after `rewind_epochs`. remove(model, fraction): prunes a
    trained model to that fraction in all (`prune`). The last round's masks are trained once more.
    Raises StepcellError for rounds that are none.
    """
    if rounds < 1:
        raise StepcellError(f"lottery ticket: {rounds} rounds prune nothing.", "give at least 1.")
    early = trained(model, training.part("early", rewind_epochs))
    for number in range(1, rounds + 1):
        taught = trained(early, training.part(f"round{number}", training.epochs))
        removed = 1.0 - (1.0 - fraction) ** (number / rounds)
        early = rewound(early, remove(taught, removed))
    return trained(early, training.part("ticket", training.epochs))


def rewound(early: Model, pruned: Model) -> Model:
    """The early weights under the masks of the pruned model."""
    masks = pruned.masks
    return verify(early.with_weights({n: early.weights[n] * mask.keep for n, mask in masks.items()}, masks))


def reinitialized(model: Model, seed: int) -> Model:
    """The model with new random weights: uniform within 1 / sqrt(units) or 1 / sqrt(inputs), as torch draws.

    Parameters of constants, of normalizations and tables stay, and so do masks.
    """
    random = np.random.default_rng(seed)
    drawn: dict[str, FloatArray] = {}
    for op in all_ops(model):
        if isinstance(op, Constant) or (not hasattr(op, "bias") and not isinstance(op, Recurrent)):
            continue
        bound = _bound(op, model.weights)
        for name in parameters(op):
            drawn.setdefault(name, random.uniform(-bound, bound, model.weights[name].shape))
    kept = {name: w * model.masks[name].keep if name in model.masks else w for name, w in drawn.items()}
    return verify(model.with_weights(kept))


def _bound(op: object, weights: Mapping[str, FloatArray]) -> float:
    if isinstance(op, Recurrent):
        return float(1.0 / np.sqrt(op.h_next.size))
    return float(1.0 / np.sqrt(weights[op.weights][0].size))  # type: ignore[attr-defined]
