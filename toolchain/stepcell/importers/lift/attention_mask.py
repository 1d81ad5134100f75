"""Masks of attention scores: constants that hide nothing, or from every step those after it."""

from dataclasses import replace

import numpy as np

from stepcell.importers.graph import Array, Node, Unsupported
from stepcell.importers.lift.attention import HINT, Scores
from stepcell.importers.lift.attributes import Operands
from stepcell.importers.lift.axes import KEYS, TIME
from stepcell.importers.lift.context import Lift, Lifted, Tensor, known, tensor

_HIDDEN = -1e4
"""From here on down, a score's weight is zero."""


def masked(lift: Lift, x: Scores, mask: Lifted | None) -> Scores:
    """scores + mask, where the mask is a constant: zeros, one number, or zeros up to the diagonal."""
    if mask is None or isinstance(mask, Tensor):
        raise Unsupported(
            "adds what depends on the input to attention scores; a constant causal mask is allowed",
            "leave padding masks out: sequences stop at their lengths.",
        )
    if mask.size == 1 and np.isfinite(mask).all():
        return x
    found = np.asarray(mask).reshape((1,) * (len(x.axes) - mask.ndim) + mask.shape)
    if len(x.axes) != found.ndim:
        raise Unsupported("adds a mask of more axes than the scores have", "check the file.")
    if not found.any():
        return x
    if _is_causal(lift, x, found):
        return replace(x, causal=True)
    raise Unsupported(
        "masks attention scores by a constant that is not causal; zeros on and below the diagonal and -inf "
        "above it are allowed",
        "attend to every step, or with is_causal=True.",
    )


def _is_causal(lift: Lift, x: Scores, mask: Array) -> bool:
    """Whether the mask hides, for the query of every step, the keys after it."""
    if TIME not in x.axes or (KEYS,) not in x.axes:
        return False
    order = [x.axes.index(TIME), x.axes.index((KEYS,))]
    steps = lift.sizes["time"]
    square = np.moveaxis(mask, order, (-2, -1)).reshape(-1, *(mask.shape[k] for k in order))
    if square.shape[1:] != (steps, steps):
        return False
    later = np.arange(steps)[:, None] < np.arange(steps)
    return bool((square[:, ~later] == 0).all() and (square[:, later] <= _HIDDEN).all())


def where(lift: Lift, x: Scores, operands: Operands) -> Scores:
    """Where with a constant condition: the scores, or hidden."""
    condition = operands[0]
    chosen = operands[1] is x
    other = operands[2] if chosen else operands[1]
    if isinstance(condition, Tensor) or condition is None or isinstance(other, Tensor) or other is None:
        raise Unsupported("masks attention scores by what depends on the input", HINT)
    shown = np.asarray(condition, np.bool_) == chosen
    return masked(lift, x, np.where(shown, 0.0, np.asarray(other, np.float64)))


def causal(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """CausalMask: scores [..., queries, keys] with the keys after each query hidden."""
    del node
    x = operands[0]
    if not isinstance(x, Scores) or x.axes[-2:] != (TIME, (KEYS,)):
        raise Unsupported("hides later steps of what are no attention scores", HINT)
    del lift
    return [replace(x, causal=True)]


def scale_of(factor: Lifted | None) -> float:
    """The one number that scores are multiplied by."""
    if isinstance(factor, Tensor):
        tensor(factor)
        raise Unsupported("scales attention scores by what depends on the input", HINT)
    numbers = np.unique(known(factor, "a scale").astype(np.float64))
    if numbers.size != 1:
        raise Unsupported(f"scales attention scores by {numbers.size} numbers; one is allowed", HINT)
    return float(numbers[0])
