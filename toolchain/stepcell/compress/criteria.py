"""The criteria by their names on the command line and in recipes."""

from collections.abc import Mapping

from stepcell.compress.gradients import movement, taylor
from stepcell.compress.importance import (
    Criterion,
    activity,
    average_magnitude,
    largest_first,
    magnitude,
    random,
    structural_cost,
    weight_cost,
)
from stepcell.errors import StepcellError

SECOND_ORDER = "second-order"
"""Not a score but a pass of its own, which changes the weights that it keeps, too (second_order/)."""

CRITERIA: Mapping[str, Criterion] = {
    "random": random(0),
    "magnitude": magnitude,
    "average-magnitude": average_magnitude,
    "activity": activity,
    "taylor": taylor,
    "movement": movement,
    "structural-cost": structural_cost,
    "weight-cost": weight_cost,
    "largest-first": largest_first,
}


def criterion_named(criterion: str | Criterion, seed: int = 0) -> Criterion:
    """The criterion of that name (random: of that seed), or the one given.

    Raises StepcellError for a name that none has.
    """
    if not isinstance(criterion, str):
        return criterion
    if criterion == SECOND_ORDER:
        raise StepcellError(
            "pruning: 'second-order' changes the weights that it keeps, and gives no scores.",
            "use it in prune() with a pattern of blocks, or name another criterion.",
        )
    if criterion == "random":
        return random(seed)
    if criterion not in CRITERIA:
        raise StepcellError(
            f"pruning: '{criterion}' is no criterion.", f"there are {', '.join((*CRITERIA, SECOND_ORDER))}."
        )
    return CRITERIA[criterion]
