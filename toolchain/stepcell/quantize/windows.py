"""Quantization of layers over windows: Conv, Dense over several vectors; and the frames that states keep."""

from math import log10, prod

import numpy as np

from stepcell.errors import StepcellError
from stepcell.ir.graph import reads
from stepcell.ir.model import FloatArray, Function, Mask
from stepcell.ir.ops import (
    Concat,
    Conv,
    Dense,
    Op,
    Take,
)
from stepcell.ir.qmodel import QConv, QValue
from stepcell.ir.window import Window, window_indices, window_of
from stepcell.quantize.context import Q4_11, Context, function_ops
from stepcell.quantize.matrices import input_of_matrix, quantize_matrix
from stepcell.quantize.requantize import prove_accumulators_fit, requant

VIEW_DECIBELS = 40.0
"""A layer over windows reads the int8 view of int16 values where that costs its sums no more than this."""


def quantize_windows(context: Context, op: Conv | Dense) -> QConv:
    """Reads int16 values as they are, or by their int8 view where calibration shows that to be enough."""
    weights, x = context.model.weights[op.weights], context.values[op.x]
    window = _window(op, x.shape, weights.shape)
    depthwise = isinstance(op, Conv) and op.groups > 1
    rows = weights.reshape(len(weights), -1)
    bias, mask = context.model.weights[op.bias], _as_rows(context.model.masks.get(op.weights))
    exact = not _view_is_enough(context, op, window, rows, depthwise)
    matrix, q_bias, scales = quantize_matrix(rows, bias, mask, x, exact=exact)
    try:
        bound = prove_accumulators_fit(op.y.name, matrix, q_bias)
    except StepcellError as overflow:
        context.choices[op.y.name] = f"reads the int8 view: {overflow.message}"
        matrix, q_bias, scales = quantize_matrix(rows, bias, mask, x, exact=False)
        bound = prove_accumulators_fit(op.y.name, matrix, q_bias)
    y = context.calibrated(op.y)
    if op.y.name in context.table_arguments:
        y = QValue(op.y.name, op.y.shape, 16, Q4_11)
    numbers = requant(op.y.name, bound, scales, y.scale)
    return QConv(op.x, y, matrix, q_bias, numbers, relu=False, window=window, depthwise=depthwise)


def _window(op: Conv | Dense, shape: tuple[int, ...], weights: tuple[int, ...]) -> Window:
    """Of a Dense: one vector at each position."""
    if isinstance(op, Conv):
        return window_of(op, shape, weights)
    return Window((prod(shape[:-1]),), shape[-1], (1,), (1,), (1,), ((0, 0),))


def _as_rows(mask: Mask | None) -> Mask | None:
    return None if mask is None else Mask(mask.keep.reshape(len(mask.keep), -1), mask.block)


def _view_is_enough(
    context: Context, op: Conv | Dense, window: Window, rows: FloatArray, depthwise: bool
) -> bool:
    """Whether the view of an int16 input keeps the signal VIEW_DECIBELS above what rounding it adds."""
    x = context.values[op.x]
    if x.bits == 8 or context.activations != "int8" or op.x not in context.ranges.samples:
        return False
    sample = context.ranges.samples[op.x]
    _, _, unit = input_of_matrix(x, exact=False)
    seen = np.clip(np.floor(sample / unit + 0.5), -128, 127) * unit
    sums = _sums(sample, window, rows, depthwise)
    noise = float(np.mean((_sums(seen, window, rows, depthwise) - sums) ** 2))
    signal = float(np.mean(sums**2))
    if noise == 0.0 or signal == 0.0:
        return noise == 0.0
    decibels = 10 * log10(signal / noise)
    reads_as = "its int8 view" if decibels >= VIEW_DECIBELS else "int16"
    context.choices[f"{op.y.name}.input"] = (
        f"{reads_as}: the view of {op.x} would leave {decibels:.1f} dB between sums and their error; "
        f"{VIEW_DECIBELS:g} are asked for"
    )
    return decibels >= VIEW_DECIBELS


def _sums(x: FloatArray, window: Window, rows: FloatArray, depthwise: bool) -> FloatArray:
    """x [N, ...] -> the accumulators, without the bias."""
    indices = window_indices(window)
    flat = x.reshape(len(x), -1)
    read = np.where(indices < 0, 0.0, flat[:, np.maximum(indices, 0)])
    if depthwise:
        return np.asarray(np.einsum("npkc,ck->npc", read, rows))
    return np.asarray(read.reshape(*read.shape[:2], -1) @ rows.T)


def frame_states(function: Function) -> frozenset[str]:
    """States that keep frames for a window: they become part of what they and new frames are joined to."""
    ops = function_ops(function)
    made = {op.y.name: op for op in ops if isinstance(op, Take | Concat)}
    found = set()
    for stage in function.stages:
        for state, update in stage.updates:
            newest = made.get(update)
            joined = made.get(newest.x) if isinstance(newest, Take) else None
            readers = [op for op in ops if state in reads(op)]
            plain = all(isinstance(op, Concat | Take) for op in readers)
            if plain and isinstance(joined, Concat) and state in joined.xs:
                found.add(state)
    return frozenset(found)


def define_frames(context: Context, op: Op) -> None:
    """Earlier frames have the format of those that they are joined to."""
    if not isinstance(op, Concat):
        return
    states = [x for x in op.xs if x in frame_states(context.function) and x not in context.values]
    formats = {(v.bits, v.scale) for v in (context.values.get(x) for x in op.xs) if v is not None}
    if not states or len(formats) != 1:
        return
    ((bits, scale),) = formats
    for name in states:
        context.define_state(QValue(name, context.model.state(name).initial.shape, bits, scale))
