"""From outputs to decisions: argmax over several outputs, a threshold on one, tokens as they are."""

import numpy as np
from numpy.typing import NDArray

from stepcell.errors import StepcellError
from stepcell.ir.model import FloatArray
from stepcell.ir.qmodel import QFunction, QValue
from stepcell.ir.sequences import Sequences

Labels = NDArray[np.int64]


def labels(outputs: FloatArray, threshold: float, is_token: bool = False) -> Labels:
    """[..., O] -> [...]: the largest output (first of equals); a single one is held against `threshold`.

    A token is a decision already.
    """
    if is_token:
        return np.asarray(outputs[..., 0], np.int64)
    if outputs.shape[-1] == 1:
        return (outputs[..., 0] > threshold).astype(np.int64)
    return np.asarray(outputs.argmax(axis=-1), np.int64)


def check_labels(data: Sequences, output: QValue) -> None:
    """StepcellError for a class that the model's output cannot name."""
    if data.y is None or data.y.dtype.kind not in "iu" or output.dtype == "token":
        return
    classes = max(2, output.size)
    if data.y.max(initial=0) >= classes:
        raise StepcellError(
            f"the labels hold the class {data.y.max()}; the model's output tells {classes} classes apart, "
            f"0 to {classes - 1}.",
            "check y in the data file, or whether it belongs to this model.",
        )


def judged(functions: tuple[QFunction, ...], data: dict[str, Sequences]) -> QFunction:
    """Whose first output is judged: that of the first function with labels, else of the last with outputs."""
    with_outputs = [function for function in functions if function.outputs]
    if not with_outputs:
        raise StepcellError("the model has no outputs to judge.", "add an output to it.")
    labelled = [function for function in with_outputs if data[function.name].y is not None]
    return (labelled or with_outputs[-1:])[0]


def valid_steps(shape: tuple[int, ...], lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[N, T]: which steps lie within their sequence."""
    return np.asarray(np.arange(shape[1]) < lengths[:, None])


def agreement(found: Labels, wanted: Labels, lengths: NDArray[np.int64]) -> float:
    """Share of equal decisions, 0-1, over sequences [N] or over valid steps [N, T]; lengths in steps."""
    if found.shape != wanted.shape:
        raise StepcellError(
            f"the labels have the shape {wanted.shape}, the decisions {found.shape}.",
            "give one label a sequence for a last-step output, one a step for an output of every step.",
        )
    equal = found == wanted
    return float(equal.mean() if equal.ndim == 1 else equal[valid_steps(equal.shape, lengths)].mean())
