"""`to_text`: a Model as a page that a person can read and a diff can compare."""

from math import prod

from stepcell.ir.graph import matrices, parameters, reads, writes
from stepcell.ir.model import Function, Model, Stage, all_ops
from stepcell.ir.ops import (
    Attend,
    Conv,
    Dense,
    Gate,
    Lstm,
    Op,
    Value,
)


def to_text(model: Model) -> str:
    """The whole model: states, functions with their operations, weights with shape and density."""
    lines = [f"model {model.name}"]
    if model.source is not None:
        lines.append(f"  source {model.source.file} ({model.source.kind}, sha256 {model.source.sha256[:12]})")
        if model.source.judge:
            lines.append(f"  checked against {model.source.judge}")
    if model.quantized:
        lines.append("  integers are the source's own")
    lines += [f"  state {_typed(state.value)}" for state in model.states]
    for function in model.functions:
        lines += _function(function)
    lines += ["  weights"] + [_weight(model, name) for name in model.weights]
    return "\n".join(lines) + "\n"


def _function(function: Function) -> list[str]:
    inputs = ", ".join(_typed(value) for value in function.inputs)
    lines = [f"  function {function.name}({inputs}) -> {', '.join(function.outputs)}"]
    for stage in function.stages:
        lines += _stage(stage)
    if function.finish is not None:
        lines.append(f"    finish -> {', '.join(function.finish.outputs)}")
        lines += [f"      {op_text(op)}" for op in function.finish.ops]
    return lines


def _stage(stage: Stage) -> list[str]:
    inputs = ", ".join(value.name for value in stage.inputs)
    stride = f", {stage.frames_per_step} frames a step" if stage.frames_per_step != 1 else ""
    lines = [f"    stage {stage.name}({inputs}) {stage.direction}{stride}"]
    lines += [f"      {op_text(op)}" for op in stage.ops]
    lines += [f"      {state}' = {value}" for state, value in stage.updates]
    if stage.outputs:
        lines.append(f"      yield {', '.join(stage.outputs)}")
    return lines


def op_text(op: Op) -> str:
    """One operation on one line: results, name, operands, parameters, settings."""
    operands = [*reads(op), *parameters(op), *_settings(op)]
    results = ", ".join(_typed(value) for value in writes(op))
    return f"{results} = {type(op).__name__.lower()}({', '.join(operands)})"


def _settings(op: Op) -> list[str]:
    shown = (
        *("linear_before_reset", "clip", "input_forget", "operator", "function", "alpha", "beta"),
        *("kind", "epsilon", "scale"),
    )
    settings = [f"{name}={getattr(op, name)}" for name in shown if getattr(op, name, None) is not None]
    gates = getattr(op, "gates", None) or ((op.gate,) if hasattr(op, "gate") else ())
    settings += [_gate(gate) for gate in gates]
    if isinstance(op, Conv):
        settings += [f"{name}={getattr(op, name)}" for name in ("strides", "dilations", "pads", "groups")]
    indices = getattr(op, "indices", None)
    return settings if indices is None else [*settings, f"{len(indices)} indices"]


def _gate(gate: Gate) -> str:
    numbers = [f"{number:g}" for number in (gate.alpha, gate.beta) if number is not None]
    return f"{gate.function}({', '.join(numbers)})" if numbers else gate.function


def _typed(value: Value) -> str:
    shape = "x".join(str(axis) for axis in value.shape) or "scalar"
    return f"{value.name}: {value.dtype}[{shape}]"


def _weight(model: Model, name: str) -> str:
    array = model.weights[name]
    shape = "x".join(str(axis) for axis in array.shape)
    mask = model.masks.get(name)
    note = "" if mask is None else f"  density {mask.keep.mean():.3f} {mask.block}"
    return f"    {name} [{shape}]{note}"


def macs_per_step(model: Model) -> int:
    """Multiply-accumulates of one step, matrices dense and memories full, `finish` not counted."""
    return _macs(model, [op for function in model.functions for stage in function.stages for op in stage.ops])


def macs_at_end(model: Model) -> int:
    """Multiply-accumulates of `finish`, once a sequence, with every memory full."""
    return _macs(model, [op for function in model.functions if function.finish for op in function.finish.ops])


def _macs(model: Model, ops: list[Op]) -> int:
    projections = [op.projection for op in ops if isinstance(op, Lstm) and op.projection]
    once = sum(model.weights[name].size for name in projections)
    once += sum(_attention(model, op) for op in ops if isinstance(op, Attend))
    return once + sum(model.weights[name].size * _times(op) for op in ops for name in matrices(op))


def _attention(model: Model, op: Attend) -> int:
    """Scores and means over all rows."""
    return _value(model, op.keys).size + _value(model, op.values).size


def _value(model: Model, name: str) -> Value:
    """A state or a value of any function; names that functions share have equal shapes in each."""
    values = [*(state.value for state in model.states), *(v for op in all_ops(model) for v in writes(op))]
    inputs = (value for function in model.functions for value in function.inputs)
    return next(value for value in (*values, *inputs) if value.name == name)


def _times(op: Op) -> int:
    """How often a step uses the matrix: once for each position of a window, or vector."""
    if not isinstance(op, Conv | Dense):
        return 1
    return prod(op.y.shape[:-1])


def parameter_count(model: Model) -> int:
    """How many numbers the model holds, pruned ones included."""
    return sum(array.size for array in model.weights.values())
