"""From QModel to Plan: packed tables, a static memory plan and the calls of each generated function."""

from dataclasses import replace

from stepcell.errors import StepcellError
from stepcell.ir.memory import most_steps, stage_ops
from stepcell.ir.model import Model
from stepcell.ir.qmodel import IntArray, QFunction, QModel
from stepcell.lower.estimate import estimate
from stepcell.lower.formats import Optimize
from stepcell.lower.merge import share_tables
from stepcell.lower.parts import C_BYTES, Field
from stepcell.lower.plan import FunctionPlan, Plan, SelfTest
from stepcell.lower.ports import CTYPES
from stepcell.lower.scope import Shared
from stepcell.lower.selftest import make_selftests
from stepcell.lower.stages import Lowered, lower_function
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
    max_steps: int | None = None,
) -> Plan:
    """Every number of the generated C for `core`. `banner` goes into the header as it is.

    `form` is the format of recurrent layers' matrices, even where that is slower or bigger than dense.
    `max_steps` bounds the sequences of functions that need whole ones; a memory bounds them, too.
    Raises StepcellError where the core has no kernel of that format, or `max_steps` is missing.
    """
    check_max_steps(qmodel, max_steps)
    shared = Shared(qmodel, core, optimize, form)
    bounds = [_bound(function, max_steps) for function in qmodel.functions]
    pairs = zip(qmodel.functions, bounds, strict=True)
    lowered = [lower_function(shared, function, bound or 0) for function, bound in pairs]
    buffers = [buffer for function in lowered for buffer in function.buffers]
    fields, state_bytes = _state_fields(qmodel, shared.sums, buffers)
    shortest = min((bound for bound in bounds if bound is not None), default=None)
    selftests = make_selftests(qmodel, fields, shared.sums, shortest)
    return share_tables(
        Plan(
            name=qmodel.name,
            core=core.name,
            kernel_folder=core.kernel_folder,
            functions=tuple(_function(core, *pair) for pair in zip(lowered, selftests, strict=True)),
            state=fields,
            state_bytes=state_bytes,
            tables=tuple(shared.tables),
            descriptors=tuple(shared.descriptors),
            shifts=tuple(sorted(shared.shifts)),
            banner=banner,
            choices={**qmodel.choices, **shared.choices},
        )
    )


def check_max_steps(model: Model | QModel, max_steps: int | None, longest: int | None = None) -> None:
    """StepcellError where a function needs whole sequences and nobody said how long those may be.

    `longest`: steps of the longest sequence that was seen, for the hint.
    """
    whole = [f.name for f in model.functions if not f.is_step and most_steps(stage_ops(f)) is None]
    if whole and max_steps is None:
        of = "the model" if len(model.functions) == 1 else f"its function '{whole[0]}'"
        raise StepcellError(
            f"{model.name}: {of} reads whole sequences (it runs backwards, or in several stages), and "
            "nothing says how long they may be.",
            f"add --max-steps {longest or 'N'}"
            + (f": the longest calibration sequence has {longest} steps." if longest else "."),
        )


def _bound(function: QFunction, max_steps: int | None) -> int | None:
    """How long a sequence of a function may be."""
    bounds = (max_steps, most_steps(function.all_ops))
    return min((bound for bound in bounds if bound is not None), default=None)


def _function(core: Core, lowered: Lowered, selftest: SelfTest) -> FunctionPlan:
    plan = replace(lowered.plan, selftest=selftest)
    return replace(plan, estimate=estimate(core, plan))


def _state_fields(qmodel: QModel, sums: list[Sums], buffers: list[Field]) -> tuple[tuple[Field, ...], int]:
    """Members of the state struct, the widest first, so that it needs no padding inside.

    Of the same width, whole words come first: kernels read those where they lie, and read by words. So they
    do with buffers, which are whole words each.
    """
    members = [_member(s.value.name, CTYPES[s.value.bits], s.initial) for s in qmodel.states]
    members += [_member(of_layer.name, "int32_t", of_layer.before()) for of_layer in sums]
    members = sorted(members, key=lambda field: (-C_BYTES[field.ctype], field.bytes % 8 != 0))
    wide = [field for field in members if C_BYTES[field.ctype] == ALIGNMENT]
    fields: list[Field] = []
    offset = 0
    for member in (*wide, *buffers, *members[len(wide) :]):
        fields.append(replace(member, offset=offset))
        offset += member.bytes
    return tuple(fields), max(1, -(-offset // ALIGNMENT)) * ALIGNMENT  # C has no empty structs


def _member(name: str, ctype: str, initial: IntArray) -> Field:
    return Field(name, ctype, initial.size, 0, initial.reshape(-1) if initial.any() else None)
