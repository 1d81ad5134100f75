"""Can a stage run over whole sequences, one operation after the other, instead of step by step?"""

from stepcell.ir.factors import factors_of
from stepcell.ir.graph import factor_of, reads, writes
from stepcell.ir.model import Function, Stage
from stepcell.ir.ops import (
    Append,
    Attend,
    Binary,
    Count,
    Dense,
    Lstm,
    Op,
    Recurrent,
)
from stepcell.train.fused import has_kernel


def is_fusable(stage: Stage, function: Function) -> bool:
    """Whether every state that the stage carries stays inside one torch kernel or one running sum or maximum.

    Then every operation can see all steps at once. A state that the stage does not update is constant.
    """
    delays = _carried(stage).intersection(value for _, value in stage.updates)
    return not delays and all(_op_fusable(op, stage, function) for op in stage.ops)


def is_accumulator(op: Op, stage: Stage) -> bool:
    """Whether the op is s' = s + x, s' = max(s, x) or s' = s + 1 of a state s that nothing else reads.

    Appending to a memory is one, too, where nothing reads it before it is full.
    """
    match op:
        case Binary():
            carried = [name for name in (op.a, op.b) if (name, op.y.name) in stage.updates]
            return op.operator in ("add", "max") and len(carried) == 1 and _only_reader(op, carried[0], stage)
        case Append():
            stored = (op.memory, op.y.name) in stage.updates and _only_reader(op, op.memory, stage)
            return stored and not any(op.y.name in reads(other) for other in stage.ops)
        case Count():
            return (op.x, op.y.name) in stage.updates and _only_reader(op, op.x, stage)
        case _:
            return False


def _op_fusable(op: Op, stage: Stage, function: Function) -> bool:
    if isinstance(op, Recurrent):
        return _recurrent_fusable(op, stage, function)
    if isinstance(op, Attend) and {op.keys, op.values, op.count} & {
        v.name for o in stage.ops for v in writes(o)
    }:
        return False
    if isinstance(op, Dense) and any(op == factor for factor in factors_of(stage).values()):
        return True  # its layer says whether
    return is_accumulator(op, stage) or not _carried(stage).intersection(reads(op))


def _recurrent_fusable(op: Recurrent, stage: Stage, function: Function) -> bool:
    factor = factor_of(op, stage.ops)
    alone = _only_reader(op, op.h, stage) if factor is None else _in_factors(op, factor, stage, function)
    own = (op.h, op.h_next.name) in stage.updates and alone
    if isinstance(op, Lstm):
        own = own and (op.c, op.c_next.name) in stage.updates and _cell_is_private(op, stage, function)
    return own and has_kernel(op) and op.x not in _carried(stage)


def _in_factors(op: Recurrent, factor: Dense, stage: Stage, function: Function) -> bool:
    """Whether nothing but the layer reads h, and what a factor makes of it."""
    readers = [other for other in stage.ops if {op.h, factor.y.name}.intersection(reads(other))]
    leaving = {*stage.outputs, *function.outputs, *(value for _, value in stage.updates)}
    return readers == [factor, op] and factor.y.name not in leaving


def _cell_is_private(op: Lstm, stage: Stage, function: Function) -> bool:
    """The kernel returns h of every step but c of the last one only: padding, in a ragged batch."""
    finish = function.finish
    later = [name for other in (finish.ops if finish else ()) for name in reads(other)]
    for other in function.stages:
        later += [name for o in other.ops if other is not stage for name in reads(o)]
    later += [name for other in stage.ops for name in reads(other) if name == op.c_next.name]
    leaving = {*later, *(finish.outputs if finish else ()), *stage.outputs, *function.outputs}
    updates = [state for state, value in stage.updates if value == op.c_next.name]
    return updates == [op.c] and _only_reader(op, op.c, stage) and not leaving & {op.c, op.c_next.name}


def _carried(stage: Stage) -> set[str]:
    return {state for state, _ in stage.updates}


def _only_reader(op: Op, state: str, stage: Stage) -> bool:
    """Whether no other operation reads a state; that appending needs the count is no matter."""
    readers = [other for other in stage.ops for name in reads(other) if name == state]
    return [other for other in readers if not isinstance(other, Append) or state == other.memory] == [op]
