"""`qmodel_to_text`: a QModel as a page: formats, operations, and every number that is not an array."""

import dataclasses

from stepcell.ir.qmodel import QMatrix, QModel, QOp, QValue, q_reads, q_writes


def qmodel_to_text(model: QModel) -> str:
    """The whole integer model; real = stored * scale."""
    lines = [f"integer model {model.name}({_typed(model.input)}) -> {_typed(model.output)}"]
    lines += [f"  state {_typed(state.value)}" for state in model.states]
    lines += ["  step", *(f"    {line}" for op in model.ops for line in _op(op))]
    lines += [f"    {state}' = {value}" for state, value in model.updates]
    if model.finish:
        lines += ["  finish", *(f"    {line}" for op in model.finish for line in _op(op))]
    lines += [f"  left to the caller: {model.left_to_caller}"] if model.left_to_caller else []
    lines += [f"  {what}: {why}" for what, why in model.choices.items()]
    return "\n".join(lines) + "\n"


def _typed(value: QValue) -> str:
    shape = "x".join(str(axis) for axis in value.shape) or "scalar"
    return f"{value.name}: int{value.bits}[{shape}] * {value.scale:.6g}"


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
