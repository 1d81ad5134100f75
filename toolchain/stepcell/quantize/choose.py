"""Formats that no rule gives: chosen by the error that the integer model's outputs then have.

A cell state that counts may grow without bound, where its tanh has long been 1: bits for its magnitude are
taken from every other cell of the layer. An input of many orders of magnitude, such as the spectrum of
speech, does not fit int8, nor may what attention compares, or h where its int8 view feeds back. Of weights,
some matrices bear 4 bits and others do not. All are tried on part of the calibration data.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stepcell.ir.model import Model
from stepcell.ir.qmodel import QAppend, QGru, QLstm, QModel, QRnn
from stepcell.ir.sequences import Sequences
from stepcell.quantize.context import Formats
from stepcell.reference.float_model import run_float_functions
from stepcell.reference.integer_data import quantize_sequences, real_outputs
from stepcell.reference.integer_model import run_functions

SATURATED_BITS = 9
"""Fraction bits of a cell state that saturates at 64; its tanh is 1 in any format from 16 on."""
WORTHWHILE = 2.0
"""An int16 input or memory has to lower the error by this factor: it costs RAM, and often instructions."""
NOTICEABLE = 0.02
"""Of an output's deviation: what int8 costs below this is never worth int16."""
ENOUGH = 0.05
"""Of an output's deviation: what int4 weights may leave. 0.03 to 0.04 flips no label of FSDD's GRU-128."""
STEPS, SEQUENCES = 2048, 16


Build = Callable[[Formats], QModel]


@dataclass(frozen=True, eq=False)
class Chosen:
    """Formats that no rule gives, and why each was chosen, by what it is the format of."""

    formats: Formats
    reasons: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class _Found:
    """The best formats so far, the error that they leave, and why each was chosen."""

    formats: Formats
    error: float
    reasons: Mapping[str, str]


def choose_formats(
    model: Model, data: Sequences, build: Build, widen: bool, matrices: Sequence[str] = ()
) -> Chosen:
    """The formats that leave the least error. widen: try int16 where int8 would do.

    matrices: those that `build` gives int4 weights, and that may have int8.
    """
    plain = build(Formats())
    coarse = [c for c, bits in _cell_bits(plain).items() if bits < SATURATED_BITS]
    narrow = _narrow(plain) if widen else []
    layers = _viewing(plain) if widen else []
    if not coarse and not narrow and not layers and not matrices:
        return Chosen(Formats(), {})
    part = _excerpt(model, data)

    def error(formats: Formats) -> float:
        return _error(model, build(formats), part)

    best = _Found(Formats(), _error(model, plain, part), {})
    for cell in coarse:
        tried = replace(best.formats, cell_bits={**best.formats.cell_bits, cell: SATURATED_BITS})
        what = f"{SATURATED_BITS} fraction bits, saturating"
        best = _better(error, best, tried, (cell, what), factor=1.0)
    if matrices:
        best = _mixed(error, best, matrices)
    for name in narrow if best.error > NOTICEABLE else ():
        tried = replace(best.formats, wide=best.formats.wide | {name})
        best = _better(error, best, tried, (name, "int16"), factor=WORTHWHILE)
    if layers and best.error > NOTICEABLE:
        best = _exact(error, best, layers)
    return Chosen(best.formats, best.reasons)


def _mixed(error: Callable[[Formats], float], known: _Found, matrices: Sequence[str]) -> _Found:
    """int8 weights for the matrices that need them most, until the error is near that of int8 everywhere."""
    enough = max(WORTHWHILE * error(replace(known.formats, fine=frozenset(matrices))), ENOUGH)
    found = known
    for name in _by_sensitivity(matrices, [error(_finer(known.formats, m)) for m in matrices]):
        if found.error <= enough:
            break
        formats = _finer(found.formats, name)
        found = _Found(formats, error(formats), known.reasons)
    why = (
        f"int8 weights: int4 everywhere left an error of {known.error:.2g} of the outputs' deviation, "
        f"this and the others named leave {found.error:.2g}; {enough:.2g} is enough"
    )
    return replace(found, reasons={**known.reasons, **dict.fromkeys(sorted(found.formats.fine), why)})


def _finer(formats: Formats, matrix: str) -> Formats:
    return replace(formats, fine=formats.fine | {matrix})


def _exact(error: Callable[[Formats], float], known: _Found, layers: Sequence[str]) -> _Found:
    """int16 states for the fewest layers, the most sensitive first, that lower the error by WORTHWHILE."""
    if not error(replace(known.formats, exact=frozenset(layers))) * WORTHWHILE < known.error:
        return known
    found = known
    for name in _by_sensitivity(layers, [error(_more_exact(known.formats, layer)) for layer in layers]):
        found = _better(error, found, _more_exact(found.formats, name), (name, "reads int16 states"), 1.0)
        if found.error * WORTHWHILE < known.error:
            return found
    return known


def _more_exact(formats: Formats, layer: str) -> Formats:
    return replace(formats, exact=formats.exact | {layer})


def _by_sensitivity(names: Sequence[str], errors: Sequence[float]) -> list[str]:
    """Those first whose change alone leaves the least error."""
    return [name for _, name in sorted(zip(errors, names, strict=True))]


def _better(
    error: Callable[[Formats], float], known: _Found, tried: Formats, what: tuple[str, str], factor: float
) -> _Found:
    """With the formats `tried`, if they lower the error by more than `factor`; else what is known."""
    left = error(tried)
    if not left * factor < known.error:
        return known
    name, how = what
    why = f"{how}: the error of the outputs fell from {known.error:.2g} to {left:.2g} of their deviation"
    return _Found(tried, left, {**known.reasons, name: why})


def _viewing(qmodel: QModel) -> list[str]:
    """The recurrent layers, by what they make of h, that read it by its int8 view."""
    cells = (op for op in qmodel.all_ops if isinstance(op, QLstm | QGru | QRnn))
    return [op.h_next.name for op in cells if op.recurrent.reads_view]


def _narrow(qmodel: QModel) -> list[str]:
    """The inputs and memories of int8."""
    inputs = [v.name for f in qmodel.functions for v in f.inputs if v.bits == 8]
    appended = {op.memory for op in qmodel.all_ops if isinstance(op, QAppend) and op.y.bits == 8}
    return [*inputs, *sorted(appended)]


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
