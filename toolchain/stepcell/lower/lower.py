"""From QModel to Plan: packed tables, a static memory plan and the calls of each generated function."""

from dataclasses import replace

from stepcell.ir.qmodel import IntArray, QModel
from stepcell.lower.estimate import estimate
from stepcell.lower.formats import Optimize
from stepcell.lower.plan import C_BYTES, Body, Field, Plan, Port
from stepcell.lower.scope import CTYPES, Place, Scope, Shared
from stepcell.lower.selftest import make_selftest, selftest_frames
from stepcell.lower.steps import lower_ops
from stepcell.lower.sums import Sums
from stepcell.target.model import Core

ALIGNMENT = 4
"""Of the state and of every vector that a kernel reads: SC_ALIGNED in stepcell.h."""


def lower(
    qmodel: QModel,
    core: Core,
    banner: tuple[str, ...] = (),
    optimize: Optimize = "size",
    form: str | None = None,
) -> Plan:
    """Every number of the generated C for `core`. `banner` goes into the header as it is.

    `form` is the format of recurrent layers' matrices, even where that is slower or bigger than dense.
    Raises StepcellError where the core has no kernel of that format.
    """
    shared = Shared(qmodel, core, optimize, form)
    step = _lower_step(shared)
    read = _lower_read(shared) if qmodel.output_is_finished else None
    fields, state_bytes = _state_fields(qmodel, shared.sums)
    return Plan(
        name=qmodel.name,
        core=core.name,
        kernel_folder=core.kernel_folder,
        input=Port("x", CTYPES[qmodel.input.bits], qmodel.input.size, qmodel.input.scale),
        output=Port("y", CTYPES[qmodel.output.bits], qmodel.output.size, qmodel.output.scale),
        left_to_caller=qmodel.left_to_caller,
        state=fields,
        state_bytes=state_bytes,
        tables=tuple(shared.tables),
        descriptors=tuple(shared.descriptors),
        step=step,
        read=read,
        selftest=make_selftest(qmodel, fields, shared.sums, selftest_frames(qmodel)),
        estimate=estimate(core, (step, *([read] if read is not None else []))),
        banner=banner,
        choices={**qmodel.choices, **shared.choices},
    )


def _state_fields(qmodel: QModel, sums: list[Sums]) -> tuple[tuple[Field, ...], int]:
    """Members of the state struct, the widest first, so that it needs no padding inside.

    Of the same width, whole words come first: kernels read those where they lie, and read by words.
    """
    members = [_member(s.value.name, CTYPES[s.value.bits], s.initial) for s in qmodel.states]
    members += [_member(of_layer.name, "int32_t", of_layer.before()) for of_layer in sums]
    fields: list[Field] = []
    offset = 0
    for member in sorted(members, key=lambda field: (-C_BYTES[field.ctype], field.bytes % 8 != 0)):
        fields.append(replace(member, offset=offset))
        offset += member.bytes
    return tuple(fields), -(-offset // ALIGNMENT) * ALIGNMENT


def _member(name: str, ctype: str, initial: IntArray) -> Field:
    return Field(name, ctype, initial.size, 0, initial.reshape(-1) if initial.any() else None)


def _states_in(scope: Scope) -> None:
    for state in scope.shared.qmodel.states:
        scope.places[state.value.name] = Place(
            f"s->{state.value.name}", state.value, state.value.size, CTYPES[state.value.bits]
        )


def _lower_step(shared: Shared) -> Body:
    qmodel = shared.qmodel
    scope = Scope(shared)
    _states_in(scope)
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
    place = scope.place(scope.shared.qmodel.output.name)
    size = place.value.size * place.value.bits // 8
    scope.padded_vector("output", "sc_copy", size, size, "y", place.expression)
