"""Outputs of a whole data set as real numbers, and how good one of them is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.model import FloatArray
from stepcell.ir.qmodel import IntArray, QFunction, QModel
from stepcell.ir.sequences import Sequences, by_function
from stepcell.reference.integer_data import Feed, real_outputs
from stepcell.validate.labels import Labels, agreement, check_labels, judged, labels, valid_steps

Outputs = dict[str, list[FloatArray]]
"""By function, in the order of its outputs: [N, T, O] of every step, [N, O] of the end of a sequence."""


@dataclass(frozen=True, eq=False)
class Judge:
    """Judges the first output of `function`; y are its labels, `lengths` [N] in steps."""

    function: QFunction
    y: NDArray[np.int64] | None
    lengths: NDArray[np.int64]
    threshold: float

    @property
    def unit(self) -> str:
        """What an accuracy counts."""
        return "sequence" if self.function.outputs[0].finished else "step"

    def accuracy(self, outputs: Outputs) -> float | None:
        """Share of decisions that the labels confirm; None without labels."""
        return None if self.y is None else agreement(self.decisions(outputs), self.y, self.lengths)

    def agreement(self, found: Outputs, wanted: Outputs) -> float:
        """Share of equal decisions, 0-1."""
        return agreement(self.decisions(found), self.decisions(wanted), self.lengths)

    def decisions(self, outputs: Outputs) -> Labels:
        """What the judged output says, [N], or [N, T] of every step."""
        token = self.function.outputs[0].value.dtype == "token"
        return labels(outputs[self.function.name][0], self.threshold, token)


def judge_of(qmodel: QModel, data: Sequences, feeds: Mapping[str, Feed], threshold: float) -> Judge:
    """The judge of a model's answers to `data`; StepcellError for labels that no answer can be."""
    fed = by_function(qmodel.functions, data)
    function = judged(qmodel.functions, fed)
    y = fed[function.name].y
    check_labels(fed[function.name], function.outputs[0].value)
    is_classes = y is not None and y.dtype.kind in "iu"
    lengths = feeds[function.name].lengths
    return Judge(function, np.asarray(y, np.int64) if is_classes else None, lengths, threshold)


def in_order(qmodel: QModel, found: Mapping[str, Mapping[str, FloatArray]]) -> Outputs:
    """The outputs of every function without their names, inner axes flattened."""
    return {
        function.name: [
            np.asarray(array).reshape(*array.shape[: 1 if output.finished else 2], -1)
            for array, output in zip(found[function.name].values(), function.outputs, strict=True)
        ]
        for function in qmodel.functions
    }


def from_integers(
    qmodel: QModel, stored: Mapping[str, Mapping[str, IntArray]], feeds: Mapping[str, Feed]
) -> Outputs:
    """Integer outputs, laid out as `IntegerRun`'s, as real numbers."""
    return in_order(
        qmodel,
        {f.name: real_outputs(f, stored[f.name], feeds[f.name].lengths) for f in qmodel.functions},
    )


Errors = dict[str, list[float]]
"""By function, in the order of its outputs."""


def largest_errors(found: Outputs, wanted: Outputs, feeds: Mapping[str, Feed]) -> Errors:
    """The largest difference of each output, over sequences or over valid steps."""
    return _errors(found, wanted, feeds, lambda errors: float(errors.max(initial=0.0)))


def rms_errors(found: Outputs, wanted: Outputs, feeds: Mapping[str, Feed]) -> Errors:
    """The root mean square of the differences of each output, over sequences or over valid steps."""
    return _errors(found, wanted, feeds, lambda errors: float(np.sqrt(np.mean(errors**2))))


def _errors(
    found: Outputs, wanted: Outputs, feeds: Mapping[str, Feed], measure: Callable[[FloatArray], float]
) -> Errors:
    return {
        name: [
            measure(_valid(np.abs(a - b), feeds[name].lengths))
            for a, b in zip(arrays, wanted[name], strict=True)
        ]
        for name, arrays in found.items()
    }


def _valid(errors: FloatArray, lengths: NDArray[np.int64]) -> FloatArray:
    return errors[valid_steps(errors.shape, lengths)] if errors.ndim == 3 else errors
