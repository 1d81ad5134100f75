"""Lowering of one function: a step and its `read`, or the stages of a run over whole sequences."""

from dataclasses import dataclass, replace

from stepcell.ir.memory import most_steps
from stepcell.ir.qmodel import QFunction, QStage, QValue
from stepcell.lower.parts import C_BYTES, Body, Field
from stepcell.lower.plan import FunctionPlan, Port, Row, StagePlan
from stepcell.lower.ports import CTYPES, PARAMETERS, ports_of, prefix_of
from stepcell.lower.scope import Frame, Place, Scope, Shared
from stepcell.lower.steps import lower_ops


@dataclass(frozen=True, eq=False)
class Lowered:
    """A function without its self-test and its estimate, and what its stages leave in the state."""

    plan: FunctionPlan
    buffers: tuple[Field, ...]


@dataclass(frozen=True, eq=False)
class _Signature:
    """The C parameters of a function, by the names of the values in the model."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @property
    def reserved(self) -> frozenset[str]:
        """Names that local arrays cannot have."""
        return frozenset((*PARAMETERS, *(port.name for port in (*self.inputs, *self.outputs))))

    def frames(self, values: tuple[QValue, ...]) -> dict[str, Frame]:
        """Those of `values` that are inputs of the function."""
        of_source = {port.source: port.name for port in self.inputs}
        return {v.name: Frame(of_source[v.name], v) for v in values if v.name in of_source}


_Buffers = dict[str, tuple[Field, Row]]
"""By the value's name: the state's field for it, and a stage's view of one step."""


def lower_function(shared: Shared, function: QFunction, max_steps: int) -> Lowered:
    """The Plan of a function; `max_steps` bounds a run and means nothing to a step."""
    signature = _Signature(*ports_of(function))
    stages, buffers = (
        _lower_step(shared, function.stages[0], signature)
        if function.is_step
        else _lower_stages(shared, function, signature, max_steps)
    )
    finished = [port for port in signature.outputs if port.finished]
    plan = FunctionPlan(
        name=function.name,
        prefix=prefix_of(shared.qmodel, function),
        inputs=signature.inputs,
        outputs=signature.outputs,
        stages=stages,
        read=_lower_read(shared, function, signature) if finished else None,
        max_steps=None if function.is_step else max_steps,
        frames_per_step=function.frames_per_step,
        selftest=None,
        estimate=None,
        memory_steps=most_steps(function.all_ops),
    )
    return Lowered(plan, buffers)


_Stages = tuple[tuple[StagePlan, ...], tuple[Field, ...]]
"""The stages of a function, and the buffers for what later ones read."""


def _lower_step(shared: Shared, stage: QStage, signature: _Signature) -> _Stages:
    scope = Scope(shared, stage, signature.frames(stage.inputs), signature.reserved)
    each_step = tuple(port for port in signature.outputs if not port.finished)
    _lower_stage(scope, stage, {}, each_step)
    return (StagePlan(stage.name, False, (), scope.body()),), ()


def _lower_read(shared: Shared, function: QFunction, signature: _Signature) -> Body:
    scope = Scope(shared, reserved=signature.reserved)
    _states_in(scope)
    lower_ops(scope, function.finish, ())
    _write_outputs(scope, tuple(port for port in signature.outputs if port.finished))
    return scope.body()


def _lower_stages(shared: Shared, function: QFunction, signature: _Signature, max_steps: int) -> _Stages:
    buffers = _buffers(shared, function, signature.reserved, max_steps)
    stages = tuple(_lower_stage_of_run(shared, stage, signature, buffers) for stage in function.stages)
    return stages, tuple(field for field, _ in buffers.values())


def _buffers(shared: Shared, function: QFunction, reserved: frozenset[str], max_steps: int) -> _Buffers:
    """One for each value that a later stage reads; its steps are padded as vectors for kernels are."""
    read = {value.name for stage in function.stages for value in stage.inputs}
    found: _Buffers = {}
    for value in (value for stage in function.stages for value in stage.outputs if value.name in read):
        name = shared.field_name(value.name)
        stride = -(-value.size // shared.padding) * shared.padding
        ctype = CTYPES[value.bits]
        field = Field(name, ctype, max_steps * stride, 0, None, is_buffer=True)
        parameter = f"{name}_row" if name in reserved else name
        found[value.name] = (field, Row(parameter, ctype, f"s->{name}", stride, is_const=False))
    return found


def _lower_stage_of_run(shared: Shared, stage: QStage, signature: _Signature, buffers: _Buffers) -> StagePlan:
    """A function that gets a pointer to one step of everything that it reads and writes."""
    read = {v.name: buffers[v.name][1] for v in stage.inputs if v.name in buffers}
    kept = {v.name: buffers[v.name][1] for v in stage.outputs if v.name in buffers}
    reserved = signature.reserved | {row.name for row in (*read.values(), *kept.values())}
    scope = Scope(shared, stage, signature.frames(stage.inputs), reserved)
    for value in stage.inputs:
        if value.name in read:
            row = read[value.name]
            scope.places[value.name] = Place(row.name, value, row.stride, row.ctype)
    given = {value.name for value in stage.outputs}
    outputs = tuple(port for port in signature.outputs if not port.finished and port.source in given)
    _lower_stage(scope, stage, kept, outputs)
    inputs = tuple(port for port in signature.inputs if port.source in scope.frames)
    rows = (
        *(_row(port, is_const=True) for port in inputs),
        *(replace(row, is_const=True) for row in read.values()),
        *kept.values(),
        *(_row(port, is_const=False) for port in outputs),
    )
    return StagePlan(stage.name, stage.direction == "backward", rows, scope.body())


def _row(port: Port, is_const: bool) -> Row:
    """One step of a parameter of `run`."""
    return Row(port.name, port.ctype, port.name, port.count, is_const)


def _lower_stage(scope: Scope, stage: QStage, kept: dict[str, Row], outputs: tuple[Port, ...]) -> None:
    _states_in(scope)
    lower_ops(scope, stage.ops, stage.updates)
    for name, row in kept.items():
        _keep(scope, name, row)
    _write_outputs(scope, outputs)


def _states_in(scope: Scope) -> None:
    for state in scope.shared.qmodel.states:
        scope.places[state.value.name] = Place(
            f"s->{state.value.name}", state.value, state.value.size, CTYPES[state.value.bits]
        )


def _keep(scope: Scope, name: str, row: Row) -> None:
    """Into the buffer that a later stage reads, with zeros behind it."""
    place, unit = scope.place(name), C_BYTES[row.ctype]
    sizes = (place.value.size * unit, row.stride * unit)
    scope.padded_vector("keep", "sc_copy", *sizes, row.name, place.expression)


def _write_outputs(scope: Scope, outputs: tuple[Port, ...]) -> None:
    for port in outputs:
        place = scope.place(port.source)
        size = place.value.size * place.value.bits // 8
        scope.padded_vector("output", "sc_copy", size, size, port.name, place.expression)
