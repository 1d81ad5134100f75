"""From outputs to decisions: argmax over several outputs, a threshold on one."""

import numpy as np
from numpy.typing import NDArray

from stepcell.errors import StepcellError
from stepcell.ir.model import FloatArray
from stepcell.ir.sequences import Sequences

Labels = NDArray[np.int64]


def labels(outputs: FloatArray, threshold: float) -> Labels:
    """[..., O] -> [...]: the largest output (first of equals); a single one is held against `threshold`."""
    if outputs.shape[-1] == 1:
        return (outputs[..., 0] > threshold).astype(np.int64)
    return np.asarray(outputs.argmax(axis=-1), np.int64)


def valid_steps(data: Sequences) -> NDArray[np.bool_]:
    """[N, T]: which steps lie within their sequence."""
    return np.asarray(np.arange(data.x.shape[1]) < data.lengths[:, None])


def agreement(found: Labels, wanted: Labels, data: Sequences) -> float:
    """Share of equal decisions, 0-1, over sequences [N] or over valid steps [N, T]."""
    if found.shape != wanted.shape:
        raise StepcellError(
            f"the labels have the shape {wanted.shape}, the decisions {found.shape}.",
            "give one label a sequence for a last-step output, one a step for an output of every step.",
        )
    equal = found == wanted
    return float(equal.mean() if equal.ndim == 1 else equal[valid_steps(data)].mean())


def accuracy(outputs: FloatArray, data: Sequences, threshold: float) -> float | None:
    """Share of decisions that `data.y` confirms; None without integer labels."""
    if data.y is None or data.y.dtype.kind not in "iu":
        return None
    return agreement(labels(outputs, threshold), data.y.astype(np.int64), data)
