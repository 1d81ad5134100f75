"""Formats of the states, before and after the operations of a step are quantized."""

import numpy as np

from stepcell.errors import StepcellError
from stepcell.ir.model import State
from stepcell.ir.ops import RELU, Binary, Count, Gru, Lstm, Rnn, reads
from stepcell.ir.qmodel import QOp, QState, QValue
from stepcell.quantize.context import Q15, Context, fraction_bits, is_running, quantize_array
from stepcell.quantize.elementwise import rescaled


def define_states(context: Context) -> None:
    """Give a format to every state that the step graph reads, running sums and maxima excepted.

    Hidden states are Q0.15; a cell state keeps as many fraction bits as its largest value on unreset
    streams leaves; a relu state fills its int16, because its int8 view has no bit to spare; any other
    state (an earlier frame, say) is int16 as calibrated.
    """
    (stage,) = context.model.main.stages
    for op in stage.ops:
        if isinstance(op, Lstm | Gru | Rnn):
            relu = isinstance(op, Rnn) and op.gate == RELU
            _define(context, op.h, _full_scale(context, op.h) if relu else Q15)
        if isinstance(op, Lstm):
            _define(context, op.c, _power_of_two(context, op.c))
    running = {is_running(op, context) for op in stage.ops if isinstance(op, Binary)}
    counts = {op.x for op in stage.ops if isinstance(op, Count)}
    needed = {name for op in stage.ops for name in reads(op)}
    needed |= {state.name for state in context.model.states} - {name for name, _ in stage.updates}
    for state in context.model.states:
        name = state.name
        if name in needed and name not in (context.values.keys() | context.means | counts | running):
            context.values[name] = context.calibrated(state.value)


def _define(context: Context, name: str, scale: float) -> None:
    context.values[name] = QValue(name, context.model.state(name).initial.shape, 16, scale)


def _largest(context: Context, name: str) -> float:
    """The largest |value| of calibration and of the initial state."""
    initial = context.model.state(name).initial
    return max(context.ranges.peak[name], float(np.abs(initial).max(initial=0.0)))


def _full_scale(context: Context, name: str) -> float:
    return (_largest(context, name) or 1.0) / 32767


def _power_of_two(context: Context, name: str) -> float:
    """2^-bits, with as many fraction bits as the largest |value| leaves."""
    largest = _largest(context, name)
    bits = fraction_bits(largest)
    context.choices[name] = f"{bits} fraction bits: its magnitude reached {largest:.3g}"
    return 2.0**-bits


def settle_updates(context: Context) -> tuple[list[QOp], tuple[tuple[str, str], ...]]:
    """(operations to append, updates): what a state becomes is brought to the state's format.

    A state that only `finish` reads takes the format of what updates it.
    """
    ops: list[QOp] = []
    updates: list[tuple[str, str]] = []
    for state, value in context.model.main.stages[0].updates:
        new = context.values[value]
        old = context.values.setdefault(state, QValue(state, new.shape, new.bits, new.scale))
        if (new.bits, new.scale) != (old.bits, old.scale):
            name, rescale = rescaled(context, value, old.scale)
            ops += rescale
            updates.append((state, name))
        else:
            updates.append((state, value))
    return ops, tuple(updates)


def quantize_state(context: Context, state: State) -> QState:
    """The state with its initial value in integers; a running sum has to start at 0."""
    value = context.values.setdefault(state.name, context.calibrated(state.value))
    initial = np.asarray(state.initial, np.float64)
    if value.bits == 32 and initial.any():
        raise StepcellError(
            f"{context.model.name}: the running sum '{state.name}' starts at "
            f"{initial.ravel()[0]:.3g}, not at 0.",
            "start it at 0; a mean over time cannot take in more.",
        )
    return QState(value, quantize_array(initial, value))
