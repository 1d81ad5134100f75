"""From QModel to Plan: packed tables, a static memory plan and the calls of each generated function."""

import numpy as np

from stepcell.ir.qmodel import QModel, QState
from stepcell.lower.estimate import estimate
from stepcell.lower.plan import C_BYTES, Body, Field, Plan, Port
from stepcell.lower.scope import CTYPES, Place, Scope, Shared
from stepcell.lower.selftest import make_selftest, selftest_frames
from stepcell.lower.steps import lower_ops
from stepcell.target.model import Core


def lower(qmodel: QModel, core: Core, banner: tuple[str, ...] = ()) -> Plan:
    """Every number of the generated C for `core`. `banner` goes into the header as it is."""
    fields, state_bytes = _state_fields(qmodel)
    shared = Shared(qmodel, core.costs)
    step = _lower_step(shared)
    read = _lower_read(shared) if qmodel.output_is_finished else None
    return Plan(
        name=qmodel.name,
        core=core.name,
        input=Port("x", CTYPES[qmodel.input.bits], qmodel.input.size, qmodel.input.scale),
        output=Port("y", CTYPES[qmodel.output.bits], qmodel.output.size, qmodel.output.scale),
        left_to_caller=qmodel.left_to_caller,
        state=fields,
        state_bytes=state_bytes,
        tables=tuple(shared.tables),
        descriptors=tuple(shared.descriptors),
        step=step,
        read=read,
        selftest=make_selftest(qmodel, fields, selftest_frames(qmodel)),
        estimate=estimate(core, (step, *([read] if read is not None else []))),
        banner=banner,
        choices={**qmodel.choices, **shared.choices},
    )


def _state_fields(qmodel: QModel) -> tuple[tuple[Field, ...], int]:
    """Members of the state struct, the widest first, so that it needs no padding inside."""
    fields: list[Field] = []
    offset = 0
    for state in sorted(qmodel.states, key=lambda s: -s.value.bits):
        ctype = CTYPES[state.value.bits]
        fields.append(Field(state.value.name, ctype, state.value.size, offset, _initial(state)))
        offset += fields[-1].bytes
    alignment = max((C_BYTES[field.ctype] for field in fields), default=1)
    return tuple(fields), -(-offset // alignment) * alignment


def _initial(state: QState) -> np.ndarray | None:
    return state.initial.reshape(-1) if state.initial.any() else None


def _states_in(scope: Scope) -> None:
    for state in scope.shared.qmodel.states:
        scope.places[state.value.name] = Place(f"s->{state.value.name}", state.value, state.value.size)


def _lower_step(shared: Shared) -> Body:
    qmodel = shared.qmodel
    scope = Scope(shared)
    _states_in(scope)
    frame = scope.local(qmodel.input, "frame")
    scope.copy("frame", frame, "x", comment="x may lie anywhere, and is free once it is copied")
    scope.places[qmodel.input.name] = frame
    lower_ops(scope, qmodel.ops, qmodel.updates)
    if not qmodel.output_is_finished:
        _write_output(scope)
    return scope.body()


def _lower_read(shared: Shared) -> Body:
    scope = Scope(shared)
    _states_in(scope)
    lower_ops(scope, shared.qmodel.finish, ())
    _write_output(scope)
    return scope.body()


def _write_output(scope: Scope) -> None:
    place = scope.places[scope.shared.qmodel.output.name]
    size = place.value.size * place.value.bits // 8
    scope.padded_vector("output", "sc_copy", size, size, "y", place.expression)
