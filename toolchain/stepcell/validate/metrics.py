"""How good a model is, float and in integers: what compression is judged by after every pass."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from stepcell.ir.model import FloatArray, Model
from stepcell.ir.qmodel import QModel
from stepcell.ir.sequences import Sequences, by_function
from stepcell.reference.float_model import run_float_functions
from stepcell.reference.integer_data import quantize_sequences
from stepcell.reference.integer_model import run_functions
from stepcell.validate.judge import Judge, Outputs, from_integers, in_order, judge_of
from stepcell.validate.labels import Labels, valid_steps

Metric = Callable[[FloatArray, Sequences], Mapping[str, float]]


@dataclass(frozen=True)
class Judgement:
    """Numbers by name, the first the one to watch; how often the source decides the same, 0-1."""

    numbers: Mapping[str, float]
    label_agreement: float


class Yardstick:
    """Judges models that were made of `source` on one set of data."""

    def __init__(
        self,
        source: Model,
        qmodel: QModel,
        data: Sequences,
        metric: Metric | None = None,
        threshold: float = 0.5,
    ) -> None:
        """`qmodel` is any of the source's: it says which outputs there are.

        metric: None for accuracy and macro precision of classes, mean squared error of float targets; without
        labels there are no numbers. threshold: of a single output, above which it says 1.
        Raises StepcellError for labels that no answer can be.
        """
        self._qmodel, self._data, self._metric = qmodel, data, metric
        self._judge = judge_of(qmodel, data, quantize_sequences(qmodel, data), threshold)
        self._source = self._run(source)

    def floats(self, model: Model) -> Judgement:
        """The float model."""
        return self._judgement(self._run(model))

    def integers(self, qmodel: QModel) -> Judgement:
        """The integer reference, which the C equals."""
        feeds = quantize_sequences(qmodel, self._data)
        runs = run_functions(qmodel, feeds)
        return self._judgement(
            from_integers(qmodel, {name: run.outputs for name, run in runs.items()}, feeds)
        )

    def _run(self, model: Model) -> Outputs:
        runs = run_float_functions(model, self._data)
        return in_order(self._qmodel, {f.name: runs[f.name].outputs(f) for f in model.functions})

    def _judgement(self, outputs: Outputs) -> Judgement:
        name = self._judge.function.name
        own, data = outputs[name][0], by_function(self._qmodel.functions, self._data)[name]
        numbers = _usual(self._judge, own, outputs, data) if self._metric is None else self._metric(own, data)
        return Judgement(dict(numbers), self._judge.agreement(outputs, self._source))


def macro_precision(found: Labels, wanted: Labels) -> float:
    """Mean over the classes that occur of the share of right ones among what was called so, 0-1.

    [M] each; a class that nothing was called has precision 0.
    """
    classes = np.unique(np.concatenate([found, wanted]))
    right = [np.mean(wanted[found == c] == c) if (found == c).any() else 0.0 for c in classes]
    return float(np.mean(right))


def _usual(judge: Judge, own: FloatArray, outputs: Outputs, data: Sequences) -> Mapping[str, float]:
    accuracy = judge.accuracy(outputs)
    if judge.y is not None and accuracy is not None:
        found, wanted = judge.decisions(outputs), judge.y
        if wanted.ndim > 1:
            valid = valid_steps(wanted.shape, judge.lengths)
            found, wanted = found[valid], wanted[valid]
        return {"accuracy": accuracy, "macro_precision": macro_precision(found, wanted)}
    if data.y is None:
        return {}
    error = (own.reshape(data.y.shape) - data.y) ** 2
    if data.y_per_step:
        error = error[valid_steps(error.shape, judge.lengths)]
    return {"mean_squared_error": float(error.mean())}
