"""`qmodel_to_text`: a QModel as a page: formats, operations, and every number that is not an array."""

import dataclasses

from stepcell.ir.qmodel import QFunction, QMatrix, QModel, QOp, QStage, QValue, q_reads, q_writes
from stepcell.ir.window import Window


def qmodel_to_text(model: QModel) -> str:
    """The whole integer model; real = stored * scale."""
    lines = [f"integer model {model.name}"]
    lines += [f"  state {_typed(state.value)}" for state in model.states]
    lines += [line for function in model.functions for line in _function(function)]
    lines += [f"  {what}: {why}" for what, why in model.choices.items()]
    return "\n".join(lines) + "\n"


def _function(function: QFunction) -> list[str]:
    inputs = ", ".join(_typed(value) for value in function.inputs)
    outputs = ", ".join(_typed(output.value) for output in function.outputs)
    lines = [f"  function {function.name}({inputs}) -> {outputs}"]
    if function.frames_per_step != 1:
        lines.append(f"    {function.frames_per_step} frames a step")
    for stage in function.stages:
        lines += _stage(stage)
    if function.finish:
        lines += ["    finish", *(f"      {line}" for op in function.finish for line in _op(op))]
    for output in function.outputs:
        if output.left_to_caller is not None:
            lines.append(f"    left to the caller: {output.left_to_caller} of {output.value.name}")
    return lines


def _stage(stage: QStage) -> list[str]:
    inputs = ", ".join(value.name for value in stage.inputs)
    lines = [f"    stage {stage.name}({inputs}) {stage.direction}"]
    lines += [f"      {line}" for op in stage.ops for line in _op(op)]
    lines += [f"      {state}' = {value}" for state, value in stage.updates]
    if stage.outputs:
        lines.append(f"      yield {', '.join(value.name for value in stage.outputs)}")
    return lines


def _typed(value: QValue) -> str:
    shape = "x".join(str(axis) for axis in value.shape) or "scalar"
    if value.dtype == "token":
        return f"{value.name}: token int{value.bits}[{shape}]"
    zero = f" less {value.zero_point}" if value.zero_point else ""
    return f"{value.name}: int{value.bits}[{shape}]{zero} * {value.scale:.6g}"


def _op(op: QOp) -> list[str]:
    """The operation on one line, then a line for each of its matrices and groups of numbers."""
    results = ", ".join(_typed(value) for value in q_writes(op))
    fields = {f.name: getattr(op, f.name) for f in dataclasses.fields(op)}
    plain = {name: value for name, value in fields.items() if isinstance(value, bool | int)}
    operands = [*q_reads(op), *(f"{name}={value}" for name, value in plain.items())]
    lines = [f"{results} = {type(op).__name__[1:].lower()}({', '.join(operands)})"]
    for name, value in fields.items():
        if isinstance(value, QMatrix):
            lines.append(f"  {name}: {_matrix(value)}")
        elif isinstance(value, Window):
            parts = (f"{f.name} {getattr(value, f.name)}" for f in dataclasses.fields(value))
            lines.append(f"  {name}: {', '.join(parts)}")
        elif dataclasses.is_dataclass(value) and not isinstance(value, QValue):
            shifts = [
                f"{f.name}={getattr(value, f.name)}" for f in dataclasses.fields(value) if f.type is int
            ]
            lines.append(f"  {name}: {', '.join(shifts)}")
    return lines


def _matrix(matrix: QMatrix) -> str:
    rows, cols = matrix.weights.shape
    reads = "the int8 view" if matrix.reads_view else f"|input| <= {matrix.input_bound}"
    return f"int8[{rows}x{cols}], density {matrix.density:.3f}, reads {reads}"
