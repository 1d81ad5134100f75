"""Post-training quantization: a float Model and calibration data to a QModel."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

from stepcell.ir.graph import matrices as matrices_of
from stepcell.ir.model import Model, recurrent_ops
from stepcell.ir.qmodel import QModel
from stepcell.ir.sequences import Sequences
from stepcell.ir.verify import verify_lowerable
from stepcell.quantize.bias_correction import correct_biases
from stepcell.quantize.calibrate import Ranges, calibrate
from stepcell.quantize.calibrators import Calibrator
from stepcell.quantize.choose import Chosen, choose_formats
from stepcell.quantize.context import Activations, Formats, WeightChoice, Weights, make_contexts
from stepcell.quantize.delta import hold_inputs
from stepcell.quantize.expand import Expansion, expand, known_ranges, without_idle_cell_clip
from stepcell.quantize.operations import quantize_model
from stepcell.quantize.states import wide_states
from stepcell.quantize.tflite import quantize_as_source


@dataclass(frozen=True, eq=False)
class Settled:
    """What calibration settles: all that a QModel has besides what follows from its weights."""

    before: Callable[[], Mapping[str, Ranges]]
    """Ranges of the model as it was trained; called only for a model that may have to be taken apart."""
    ranges: Mapping[str, Ranges]
    """By function, of the values of the model with recurrent operations taken apart."""
    chosen: Chosen
    activations: Activations
    weights: Weights
    delta: int | None


def quantize(
    model: Model,
    calibration: Sequences,
    activations: Activations = "int8",
    percentile: float = 100.0,
    weights: WeightChoice = "int8",
    delta: int | None = None,
    *,
    calibrator: Calibrator = "minmax",
    bias_correction: bool = False,
) -> QModel:
    """The integer model, by docs/numerics.md.

    calibration: sequences of real inputs; they run both reset and as unreset streams.
    activations: what recurrent layers read as input; auto: int8, and int16 for inputs and layers where that
    lowers the error of the outputs much (quantize/choose.py). percentile: of |value|, for every scale that
    is not a hidden or cell state's; calibrator: what else may choose it (quantize/calibrators.py).
    weights: what recurrent layers' matrices hold. bias_correction: biases take in the mean error of their
    rows (quantize/bias_correction.py).
    delta: recurrent layers take in only what changed by more than so many int8 units (quantize/delta.py).
    A model of an already quantized source keeps the source's own integers; nothing is calibrated then.
    Raises StepcellError for what cannot be lowered, and for rows whose accumulator could overflow.
    """
    verify_lowerable(model)
    if model.quantized:
        changed = activations not in ("auto", "int8") or (weights, percentile, delta) != ("int8", 100.0, None)
        return quantize_as_source(model, changed or calibrator != "minmax" or bias_correction)
    settled = settle(model, calibration, activations, percentile, weights, delta, calibrator=calibrator)
    if bias_correction:
        model = correct_biases(model, quantize_settled(model, settled), calibration)
    return quantize_settled(model, settled)


def settle(
    model: Model,
    calibration: Sequences,
    activations: Activations = "int8",
    percentile: float = 100.0,
    weights: WeightChoice = "int8",
    delta: int | None = None,
    *,
    calibrator: Calibrator = "minmax",
) -> Settled:
    """Calibrate, once: `quantize_settled` then takes milliseconds, for these weights or others.

    The arguments are those of `quantize`.
    """
    before = cache(lambda: calibrate(model, calibration, percentile, calibrator))
    expansion = _expansion(model, before)
    settled = Settled(
        before,
        calibrate(expansion.model, calibration, percentile, calibrator),
        Chosen(Formats(), {}),
        "int8" if activations == "auto" else activations,
        "int4" if weights == "auto" else weights,
        delta,
    )
    matrices = [name for op in recurrent_ops(expansion.model) for name in matrices_of(op)]
    chosen = choose_formats(
        expansion.model,
        calibration,
        lambda formats: _quantize_expanded(expansion, replace(settled, chosen=Chosen(formats, {}))),
        widen=activations == "auto" and delta is None,
        matrices=tuple(dict.fromkeys(matrices)) if weights == "auto" else (),
    )
    return replace(settled, chosen=chosen)


def quantize_settled(model: Model, settled: Settled) -> QModel:
    """The integer model with the scales and formats of `settle`; the model's weights may have changed since.

    Raises StepcellError for rows whose accumulator could overflow.
    """
    qmodel = _quantize_expanded(_expansion(model, settled.before), settled)
    qmodel = replace(qmodel, choices={**qmodel.choices, **settled.chosen.reasons})
    return qmodel if settled.delta is None else hold_inputs(qmodel, settled.delta)


def _expansion(model: Model, ranges: Callable[[], Mapping[str, Ranges]]) -> Expansion:
    """The model with the recurrent operations that no kernel runs taken apart."""
    model = without_idle_cell_clip(model, ranges)
    return expand(model, wide_states(model, ranges))


def _quantize_expanded(expansion: Expansion, settled: Settled) -> QModel:
    ranges = known_ranges(expansion, settled.ranges)
    formats = settled.chosen.formats
    contexts = make_contexts(expansion.model, ranges, settled.activations, settled.weights, formats)
    return quantize_model(expansion.model, contexts)
