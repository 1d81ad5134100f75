"""How far an integer model is from the float interpreter: on clips, and on long streams without a reset."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stepcell.ir import Model, recurrent_ops
from stepcell.ir.model import FloatArray
from stepcell.ir.qmodel import IntArray, QModel
from stepcell.ir.sequences import Sequences
from stepcell.reference.float_model import evaluate, run_float
from stepcell.reference.integer_model import run_integer
from stepcell.reference.integer_ops import quantize_input

LANES = 16
"""Streams: all clips in random order, joined end to end, cut into so many lanes."""
CHUNKS = 8
"""Clips run in groups of similar length."""
Trace = tuple[FloatArray, FloatArray]
"""Hidden states of all layers [N, T, H] and logits [N, T, C], real numbers."""


@dataclass(frozen=True)
class Fidelity:
    """Errors against float. States are hidden states of all layers; `first` and `last` fifth of a stream."""

    accuracy_float: float
    accuracy_integer: float
    flips: int
    clips: int
    margin: float
    """The largest difference of float's two best logits among the clips whose label flipped."""
    max_logit: float
    mean_logit: float
    state_rms: float
    state_size: float
    """RMS of the float states themselves."""
    stream_agreement: float
    stream_first: float
    stream_last: float
    saturations: int
    cells: int
    """Cell states that hit a limit on clips and streams, of so many."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What float computes on a data set: computed once for many integer models."""

    model: Model
    groups: tuple[Sequences, ...]
    stream: Sequences
    float_groups: tuple[Trace, ...]
    float_stream: Trace


def reference(model: Model, clips: Sequences) -> Reference:
    """Run the float interpreter over clips and streams."""
    groups = tuple(clips.take(at) for at in np.array_split(np.argsort(clips.lengths, kind="stable"), CHUNKS))
    stream = make_stream(clips)
    traces = tuple(_float_trace(model, group) for group in groups)
    return Reference(model, groups, stream, traces, _float_trace(model, stream))


def make_stream(clips: Sequences) -> Sequences:
    """[LANES, T]: every clip once, less a remainder."""
    order = np.random.default_rng(1).permutation(len(clips))
    joined = np.concatenate([clips.x[i, : clips.lengths[i]] for i in order])
    steps = len(joined) // LANES
    x = joined[: LANES * steps].reshape(LANES, steps, -1)
    return Sequences(x, np.full(LANES, steps))


def _hidden(model: Model) -> tuple[str, ...]:
    return tuple(op.h for op in recurrent_ops(model))


def _float_trace(model: Model, data: Sequences) -> Trace:
    names = _hidden(model)
    run = run_float(model, data.x, data.lengths, keep=names)
    values = {name: run.steps[name].reshape(-1, run.steps[name].shape[-1]) for name in names}
    assert model.main.finish is not None
    for op in model.main.finish.ops:
        evaluate(model, op, values)
    logits = values[model.main.outputs[0]].reshape(*data.x.shape[:2], -1)
    return np.concatenate([run.steps[name] for name in names], axis=-1), logits


def _integer_trace(
    qmodel: QModel, names: tuple[str, ...], data: Sequences
) -> tuple[FloatArray, IntArray, int, int]:
    x = quantize_input(data.x, qmodel.main.inputs[0].scale, qmodel.main.inputs[0].bits)
    run = run_integer(qmodel, x, data.lengths)
    scales = {state.value.name: state.value.scale for state in qmodel.states}
    states = np.concatenate([run.states[name] * scales[name] for name in names], axis=-1)
    cells = sum(run.states[name].shape[-1] for name in run.saturations) * int(data.lengths.sum())
    return states, run.output, sum(run.saturations.values()), cells


def measure(ref: Reference, qmodel: QModel, gain: FloatArray | float = 1.0) -> Fidelity:
    """Compare; `gain` is what the integer model's input was multiplied by, feature by feature."""
    names = _hidden(ref.model)
    clips = _Clips()
    for data, exact in zip(ref.groups, ref.float_groups, strict=True):
        trace = _integer_trace(qmodel, names, _scaled(data, gain))
        clips.add(data, exact, trace, qmodel.main.outputs[0].value.scale)
    states, outputs, saturated, cells = _integer_trace(qmodel, names, _scaled(ref.stream, gain))
    agreement = float((outputs.argmax(-1) == ref.float_stream[1].argmax(-1)).mean())
    errors = np.square(states - ref.float_stream[0]).mean(axis=(0, 2))
    fifth = len(errors) // 5
    first, last = (float(np.sqrt(part.mean())) for part in (errors[:fifth], errors[-fifth:]))
    return clips.result(agreement, first, last, saturated, cells)


def _scaled(data: Sequences, gain: FloatArray | float) -> Sequences:
    return Sequences(data.x * gain, data.lengths, data.y)


class _Clips:
    """Sums over groups of clips."""

    def __init__(self) -> None:
        self._float: list[FloatArray] = []
        self._integer: list[IntArray] = []
        self._labels: list[IntArray] = []
        self._scale = 1.0
        self._sums = np.zeros(5)  # squared error, squared size, values; saturations, cells

    def add(
        self, data: Sequences, exact: Trace, found: tuple[FloatArray, IntArray, int, int], scale: float
    ) -> None:
        assert data.y is not None
        ends = np.arange(len(data)), data.lengths - 1
        self._float.append(exact[1][ends])
        self._integer.append(found[1][ends])
        self._labels.append(data.y)
        self._scale = scale
        self._sums += np.array([*_squares(data, exact[0], found[0]), found[2], found[3]])

    def result(self, agreement: float, first: float, last: float, saturated: int, cells: int) -> Fidelity:
        exact, found, y = (np.concatenate(parts) for parts in (self._float, self._integer, self._labels))
        error = np.abs(found * self._scale - exact)
        flipped = exact.argmax(1) != found.argmax(1)
        best = np.sort(exact, axis=1)
        margins = (best[:, -1] - best[:, -2])[flipped]
        squared, size, count = self._sums[:3]
        return Fidelity(
            accuracy_float=float((exact.argmax(1) == y).mean()),
            accuracy_integer=float((found.argmax(1) == y).mean()),
            flips=int(flipped.sum()),
            clips=len(y),
            margin=float(margins.max(initial=0.0)),
            max_logit=float(error.max()),
            mean_logit=float(error.mean()),
            state_rms=float(np.sqrt(squared / count)),
            state_size=float(np.sqrt(size / count)),
            stream_agreement=agreement,
            stream_first=first,
            stream_last=last,
            saturations=int(self._sums[3]) + saturated,
            cells=int(self._sums[4]) + cells,
        )


def _squares(data: Sequences, exact: FloatArray, found: FloatArray) -> Iterator[float]:
    valid = np.arange(exact.shape[1]) < data.lengths[:, None]
    yield float(np.square(found - exact)[valid].sum())
    yield float(np.square(exact)[valid].sum())
    yield float(valid.sum() * exact.shape[2])
