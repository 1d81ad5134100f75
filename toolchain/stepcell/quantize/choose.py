"""Formats that no rule gives: chosen by the error that the integer model's outputs then have.

A cell state that counts may grow without bound, where its tanh has long been 1: bits for its magnitude are
taken from every other cell of the layer. An input of many orders of magnitude, such as the spectrum of
speech, does not fit int8. Both are tried on part of the calibration data.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from stepcell.ir.model import Model
from stepcell.ir.qmodel import QLstm, QModel
from stepcell.ir.sequences import Sequences
from stepcell.quantize.context import Formats
from stepcell.reference.float_model import run_float_functions
from stepcell.reference.integer_data import quantize_sequences, real_outputs
from stepcell.reference.integer_model import run_functions

SATURATED_BITS = 9
"""Fraction bits of a cell state that saturates at 64; its tanh is 1 in any format from 16 on."""
WORTHWHILE = 2.0
"""An int16 input has to lower the error by this factor: it costs RAM, and on some cores instructions."""
NOTICEABLE = 0.02
"""Of an output's deviation: what int8 inputs cost below this is never worth int16."""
STEPS, SEQUENCES = 2048, 16


Build = Callable[[Formats], QModel]


@dataclass(frozen=True, eq=False)
class _Found:
    """The best formats so far, what they make, its error, and why each was chosen."""

    formats: Formats
    qmodel: QModel
    error: float
    reasons: Mapping[str, str]


def choose_formats(model: Model, data: Sequences, build: Build, widen: bool) -> QModel:
    """The integer model in the formats that leave the least error. widen: try int16 inputs, too."""
    plain = build(Formats())
    coarse = [c for c, bits in _cell_bits(plain).items() if bits < SATURATED_BITS]
    narrow = [v.name for f in plain.functions for v in f.inputs if v.bits == 8 and widen]
    if not coarse and not narrow:
        return plain
    part = _excerpt(model, data)
    best = _Found(Formats(), plain, _error(model, plain, part), {})
    for cell in coarse:
        tried = replace(best.formats, cell_bits={**best.formats.cell_bits, cell: SATURATED_BITS})
        what = f"{SATURATED_BITS} fraction bits, saturating"
        best = _better(model, part, build, best, tried, (cell, what), factor=1.0)
    for name in narrow if best.error > NOTICEABLE else ():
        tried = replace(best.formats, wide=best.formats.wide | {name})
        best = _better(model, part, build, best, tried, (name, "int16"), factor=WORTHWHILE)
    return replace(best.qmodel, choices={**best.qmodel.choices, **best.reasons})


def _better(
    model: Model,
    part: Sequences,
    build: Build,
    known: _Found,
    tried: Formats,
    what: tuple[str, str],
    factor: float,
) -> _Found:
    """With the formats `tried`, if they lower the error by more than `factor`; else what is known."""
    qmodel = build(tried)
    error = _error(model, qmodel, part)
    if not error * factor < known.error:
        return known
    name, how = what
    why = f"{how}: the error of the outputs fell from {known.error:.2g} to {error:.2g} of their deviation"
    return _Found(tried, qmodel, error, {**known.reasons, name: why})


def _cell_bits(qmodel: QModel) -> dict[str, int]:
    return {op.c: op.cell_bits for op in qmodel.all_ops if isinstance(op, QLstm)}


def _excerpt(model: Model, data: Sequences) -> Sequences:
    """Some sequences of the data, their first steps."""
    some = data.take(np.linspace(0, len(data) - 1, min(SEQUENCES, len(data))).astype(np.int64))
    if len(model.functions) != 1 or not model.main.is_step:
        return some
    frames = model.main.frames_per_step * max(1, STEPS // len(some))
    return Sequences(
        some.x[:, :frames],
        np.minimum(some.lengths, frames),
        more={name: array[:, :frames] for name, array in some.more.items()},
        frames_per_step=some.frames_per_step,
    )


def _error(model: Model, qmodel: QModel, data: Sequences) -> float:
    """Root mean square of the outputs' errors, each against its own deviation."""
    floats = run_float_functions(model, data)
    feeds = quantize_sequences(qmodel, data)
    runs = run_functions(qmodel, feeds)
    squares = []
    for f, q in zip(model.functions, qmodel.functions, strict=True):
        mine = real_outputs(q, runs[q.name].outputs, feeds[q.name].lengths)
        for wanted, found in zip(floats[f.name].outputs(f).values(), mine.values(), strict=True):
            deviation = float(np.std(wanted)) or 1.0
            squares.append(float(np.mean(((found.reshape(wanted.shape) - wanted) / deviation) ** 2)))
    return float(np.sqrt(np.mean(squares)))
