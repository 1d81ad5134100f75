"""Recurrent operations that no integer kernel runs, as steps of simpler ones: Dense, arithmetic, functions.

The kernels run Lstm(Sigmoid, Tanh, Tanh), Gru(Sigmoid, Tanh) and Rnn(Tanh or Relu). Peepholes, clip, a forget
gate coupled to the input gate, a projection and other activations become operations on the same states
(quantize/cells.py). In float nothing changes but rounding.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from stepcell.ir.graph import is_plain, parameters, writes
from stepcell.ir.model import FloatArray, Function, Mask, Model, Stage, all_ops
from stepcell.ir.ops import (
    SIGMOID,
    TANH,
    Gru,
    Lstm,
    Op,
    Recurrent,
    Rnn,
    Value,
)
from stepcell.ir.verify import verify
from stepcell.quantize.calibrate import Ranges
from stepcell.quantize.cells import Cell, is_within_one, take_apart

SATURATED = 16.0
"""Where a pre-activation (Q4.11) of the integer network saturates: a limit from here on does nothing."""
HEADROOM = 2.0
"""How far beyond calibration values inside of a cell may go; a kernel's accumulators have no limit."""


@dataclass(frozen=True, eq=False)
class Expansion:
    """The model without such operations, and what is known about the values of those that it had."""

    model: Model
    inner: frozenset[str] = frozenset()
    """Every value of those cells."""
    bounds: Mapping[str, float] = field(default_factory=dict)
    """Values and states that cannot exceed a magnitude."""
    preactivations: frozenset[str] = frozenset()
    """Values that go into sigmoids and tanhs only, once they are split into gates."""
    loops: tuple[tuple[str, str], ...] = ()
    """(state, value that it becomes): two names of one range."""


def expand(model: Model, wide: frozenset[str] = frozenset()) -> Expansion:
    """The model with every recurrent operation that no kernel runs taken apart.

    `wide` names hidden states that leave -1..1, because something else than their layer sets them: a GRU
    mixes what it computes with its state in one format, so that its kernel cannot run those.
    """
    bounded = _bounded_outputs(model, wide)
    weights, masks = dict(model.weights), dict(model.masks)
    cells: list[Cell] = []
    functions = []
    for function in model.functions:
        stages = []
        for stage in function.stages:
            plain = replace(stage, ops=tuple(without_idle_clip(model, op, bounded) for op in stage.ops))
            stages.append(_expanded(model, function, plain, wide, weights, masks, cells))
        functions.append(replace(function, stages=tuple(stages)))
    if not cells:
        return Expansion(replace(model, functions=tuple(functions)))
    used = {name for f in functions for name in _parameters(f)}
    made = replace(
        model,
        functions=tuple(functions),
        weights={name: array for name, array in weights.items() if name in used},
        masks={name: mask for name, mask in masks.items() if name in used},
    )
    return Expansion(
        verify(made),
        frozenset(value.name for cell in cells for op in cell.ops for value in writes(op)),
        {name: bound for cell in cells for name, bound in cell.bounds.items()},
        frozenset(name for cell in cells for name in cell.preactivations),
        tuple(loop for cell in cells for loop in cell.loops),
    )


def _expanded(
    model: Model,
    function: Function,
    stage: Stage,
    wide: frozenset[str],
    weights: dict[str, FloatArray],
    masks: dict[str, Mask],
    cells: list[Cell],
) -> Stage:
    """The stage; `weights` and `masks` grow, and so does the list of cells."""
    values = _values(model, function, stage)
    states = {value: state for state, value in stage.updates}
    ops: list[Op] = []
    for op in stage.ops:
        if not isinstance(op, Recurrent) or (has_kernel(op) and not (isinstance(op, Gru) and op.h in wide)):
            ops.append(op)
            continue
        cell = Cell(op.h_next.name, values, weights, masks)
        cell.loops += [(states[v.name], v.name) for v in writes(op) if v.name in states]
        if op.h not in wide and _starts_within_one(model, op.h) and is_within_one(op):
            cell.bounds |= dict.fromkeys((op.h, op.h_next.name), 1.0)
        take_apart(op, cell)
        ops += cell.ops
        cells.append(cell)
    return replace(stage, ops=tuple(ops))


def _values(model: Model, function: Function, stage: Stage) -> dict[str, Value]:
    made = (value for op in stage.ops for value in writes(op))
    known = (*(state.value for state in model.states), *function.inputs, *stage.inputs, *made)
    return {value.name: value for value in known}


def _parameters(function: Function) -> set[str]:
    finish = function.finish.ops if function.finish is not None else ()
    ops = (*(op for stage in function.stages for op in stage.ops), *finish)
    return {name for op in ops for name in parameters(op)}


def _starts_within_one(model: Model, name: str) -> bool:
    return all(np.abs(s.initial).max(initial=0.0) <= 1.0 for s in model.states if s.name == name)


def has_kernel(op: Recurrent) -> bool:
    """Whether the integer kernels run the operation as it is."""
    return is_plain(op)


def _bounded_outputs(model: Model, wide: frozenset[str]) -> frozenset[str]:
    """What recurrent operations give at every step, where that lies within -1..1."""
    ops = (op for f in model.functions for stage in f.stages for op in stage.ops)
    cells = [op for op in ops if isinstance(op, Recurrent)]
    own = (op for op in cells if op.h not in wide and _starts_within_one(model, op.h))
    within = (op for op in own if is_within_one(op))
    return frozenset(op.h_next.name for op in within)


def without_idle_clip(model: Model, op: Op, bounded: frozenset[str]) -> Op:
    """The operation without its clip, if that cannot act in integers, whatever the input is.

    `bounded` names values within -1..1, whose layers have pre-activations that their weights bound.
    """
    if not isinstance(op, Recurrent) or op.clip is None:
        return op
    gates = (op.gate,) if isinstance(op, Rnn) else op.gates[:2]
    saturates = all(gate in (SIGMOID, TANH) for gate in gates) and op.clip >= SATURATED
    return replace(op, clip=None) if saturates or _largest(model, op, bounded) <= op.clip else op


def without_idle_cell_clip(model: Model, ranges: Callable[[], Mapping[str, Ranges]]) -> Model:
    """The model without limits of cells that calibration never reaches; kernels' cells saturate beyond it."""
    if not any(isinstance(op, Lstm) and op.cell_clip is not None for op in all_ops(model)):
        return model
    found = ranges()
    functions = []
    for function in model.functions:
        peaks = found[function.name].peak
        stages = (
            replace(stage, ops=tuple(_without_cell_clip(op, peaks) for op in stage.ops))
            for stage in function.stages
        )
        functions.append(replace(function, stages=tuple(stages)))
    return replace(model, functions=tuple(functions))


def _without_cell_clip(op: Op, peaks: Mapping[str, float]) -> Op:
    if not isinstance(op, Lstm) or op.cell_clip is None or peaks[op.c] >= op.cell_clip:
        return op
    return replace(op, cell_clip=None)


def _largest(model: Model, op: Recurrent, bounded: frozenset[str]) -> float:
    """A bound of every |pre-activation|; infinite where nothing bounds the input, the state or the cell."""
    peepholes = isinstance(op, Lstm) and op.peepholes is not None
    in_factors = op.recurrent_input is not None
    if op.x not in bounded or op.h_next.name not in bounded or peepholes or in_factors:
        return float("inf")
    weights = model.weights
    rows = (np.abs(weights[name]).sum(axis=1) for name in (op.input_weights, op.recurrent_weights))
    biases = (np.abs(weights[name]) for name in (op.input_bias, op.recurrent_bias))
    return float(np.max(sum((*rows, *biases), np.zeros(())), initial=0.0))


def known_ranges(expansion: Expansion, ranges: Mapping[str, Ranges]) -> dict[str, Ranges]:
    """The ranges of calibration, by function, with what is known in their place.

    A bound of one becomes Q0.15, what goes into sigmoids and tanhs Q4.11; a state without a bound and what it
    becomes share a power of two above the largest value seen.
    """
    fixed = dict(expansion.bounds)
    fixed |= dict.fromkeys(expansion.preactivations, SATURATED)
    for names in expansion.loops:
        if not fixed.keys() >= set(names):
            fixed |= dict.fromkeys(names, 2.0 ** np.ceil(np.log2(_seen(expansion.model, names, ranges))))
    return {name: _with_bounds(found, expansion.inner, fixed) for name, found in ranges.items()}


def _seen(model: Model, names: tuple[str, str], ranges: Mapping[str, Ranges]) -> float:
    """The largest magnitude of a state, its initial value and what it becomes; 1 for nothing but zeros."""
    peaks = [found.peak[name] for found in ranges.values() for name in names if name in found.peak]
    return max(*peaks, float(np.abs(model.state(names[0]).initial).max(initial=0.0))) or 1.0


def _with_bounds(ranges: Ranges, inner: frozenset[str], fixed: Mapping[str, float]) -> Ranges:
    largest = 32767 / 32768  # of a power of two is what the scale of that power of two holds
    typical = {name: found * HEADROOM if name in inner else found for name, found in ranges.typical.items()}
    typical |= {name: bound * largest for name, bound in fixed.items() if name in typical}
    return replace(ranges, typical=typical)
