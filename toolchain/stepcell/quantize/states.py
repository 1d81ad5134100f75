"""Formats of the states, before and after the operations of a step are quantized."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from stepcell.errors import StepcellError
from stepcell.ir.graph import reads
from stepcell.ir.model import Model, Stage, State, recurrent_ops
from stepcell.ir.ops import (
    RELU,
    Binary,
    Count,
    Gru,
    Lstm,
    Op,
    Recurrent,
    Rnn,
)
from stepcell.ir.qmodel import QOp, QState, QValue
from stepcell.quantize.attention import counts, memories, memory_format
from stepcell.quantize.calibrate import Ranges
from stepcell.quantize.context import Q15, Context, fraction_bits, is_running, quantize_array
from stepcell.quantize.rescale import rescaled
from stepcell.quantize.windows import frame_states

UNBOUNDED = 1e30
"""Running maxima start at the lowest float."""


def define_states(contexts: Sequence[Context]) -> None:
    """Give a format to every state that a step graph reads, running sums and maxima excepted.

    Hidden states are Q0.15, unless they start beyond 1 or another function puts them there; a cell state
    keeps as many fraction bits as its largest value on unreset streams leaves; a relu state fills its int16,
    because its int8 view has no bit to spare; any other state (an earlier frame, say) is int16 as calibrated.
    """
    for context in contexts:
        for op in _step_ops(context):
            if isinstance(op, Lstm | Gru | Rnn):
                _define(context, op.h, _hidden_scale(context, op))
            if isinstance(op, Lstm):
                _define(context, op.c, _power_of_two(context, op.c))
    ops = [(context, op) for context in contexts for op in _step_ops(context)]
    later = {is_running(op, context) for context, op in ops if isinstance(op, Binary)}
    later |= {op.x for _, op in ops if isinstance(op, Count)} | contexts[0].means
    needed = {name for _, op in ops for name in reads(op)}
    updated = {state for c in contexts for stage in c.function.stages for state, _ in stage.updates}
    later |= {name for context in contexts for name in frame_states(context.function)}
    later |= memories(contexts[0].model)
    for state in contexts[0].model.states:
        if (state.name in needed or state.name not in updated) and state.name not in later:
            contexts[0].define_state(_as_calibrated(contexts[0], state))


def _step_ops(context: Context) -> list[Op]:
    return [op for stage in context.function.stages for op in stage.ops]


def _as_calibrated(context: Context, state: State) -> QValue:
    if state.name in counts(context.model):
        return QValue(state.name, state.initial.shape, 32, 1.0)
    if state.dtype == "token":
        return QValue(state.name, state.initial.shape, 16, 1.0, "token")
    typical = max(context.ranges.typical[state.name], _largest_initial(state)) or 1.0
    if state.name in memories(context.model):
        return memory_format(context, state.name, typical / 32767)
    return QValue(state.name, state.initial.shape, 16, typical / 32767)


def _largest_initial(state: State) -> float:
    """The largest |number| that a sequence starts at; a maximum starts at none."""
    finite = np.abs(state.initial[np.abs(state.initial) < UNBOUNDED])
    return float(finite.max(initial=0.0))


def define_unread_states(context: Context, op: Op) -> None:
    """Give a format to what `op` reads of the states that only a later function changes."""
    for state in context.model.states:
        if state.name in reads(op) and state.name not in context.values:
            context.define_state(_as_calibrated(context, state))


def _hidden_scale(context: Context, op: Recurrent) -> float:
    if isinstance(op, Rnn) and op.gate == RELU:
        return _full_scale(context, op.h)
    largest = _largest(context, op.h)
    if largest <= 1.0:
        return Q15
    assert not isinstance(op, Gru)  # wide_states had it taken apart
    return _power_of_two(context, op.h)


def wide_states(model: Model, ranges: Callable[[], Mapping[str, Ranges]]) -> frozenset[str]:
    """Hidden states of LSTM, GRU and tanh RNN that leave -1..1: where they start, or as something sets them.

    `ranges` calibrates; it is called only where something else than its layer sets a state.
    """
    cells = [op for op in recurrent_ops(model) if not (isinstance(op, Rnn) and op.gate == RELU)]
    own = {op.h_next.name for op in cells}
    updates = (update for f in model.functions for stage in f.stages for update in stage.updates)
    set_elsewhere = {state for state, value in updates if value not in own}
    hidden = {op.h for op in cells}
    wide = {name for name in hidden if np.abs(model.state(name).initial).max(initial=0.0) > 1.0}
    if hidden & set_elsewhere:
        found = ranges()
        wide |= {name for name in hidden & set_elsewhere if any(r.peak[name] > 1.0 for r in found.values())}
    return frozenset(wide)


def _define(context: Context, name: str, scale: float) -> None:
    known = context.define_state(QValue(name, context.model.state(name).initial.shape, 16, scale))
    if known.scale != scale:
        raise StepcellError(
            f"{context.model.name}: layers of different kinds share the state '{name}'.",
            "give each kind of recurrent layer a state of its own.",
        )


def _largest(context: Context, name: str) -> float:
    """The largest |value| of calibration and of the initial state."""
    initial = context.model.state(name).initial
    return max(context.ranges.peak[name], float(np.abs(initial).max(initial=0.0)))


def _full_scale(context: Context, name: str) -> float:
    return (_largest(context, name) or 1.0) / 32767


def _power_of_two(context: Context, name: str) -> float:
    """2^-bits, with as many fraction bits as the largest |value| leaves."""
    largest = _largest(context, name)
    bits = context.formats.cell_bits.get(name, fraction_bits(largest))
    context.choices[name] = f"{bits} fraction bits: its magnitude reached {largest:.3g}"
    return 2.0**-bits


def settle_updates(context: Context, stage: Stage) -> tuple[list[QOp], tuple[tuple[str, str], ...]]:
    """(operations to append, updates): what a state becomes is brought to the state's format.

    A state that only `finish` reads takes the format of what updates it.
    """
    ops: list[QOp] = []
    updates: list[tuple[str, str]] = []
    for state, value in stage.updates:
        new = context.values[value]
        old = context.define_state(replace(new, name=state))
        if (new.bits, new.scale) != (old.bits, old.scale):
            name, rescale = rescaled(context, value, old.scale)
            ops += rescale
            updates.append((state, name))
        else:
            updates.append((state, value))
    return ops, tuple(updates)


def quantize_state(context: Context, state: State) -> QState:
    """The state with its initial value in integers; a running sum has to start at 0."""
    value = context.states.get(state.name) or _as_calibrated(context, state)
    initial = np.asarray(state.initial, np.float64)
    if value.bits == 32 and initial.any():
        raise StepcellError(
            f"{context.model.name}: the running sum '{state.name}' starts at "
            f"{initial.ravel()[0]:.3g}, not at 0.",
            "start it at 0; a mean over time cannot take in more.",
        )
    return QState(value, quantize_array(initial, value))
