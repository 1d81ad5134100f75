"""`verify`: is this Model well formed? `verify_lowerable`: can this version lower it?"""

import numpy as np

from stepcell.errors import StepcellError
from stepcell.ir.model import Function, Model, Stage, all_ops
from stepcell.ir.ops import (
    RELU,
    SIGMOID,
    TANH,
    Activate,
    Binary,
    Concat,
    Dense,
    Embed,
    Gru,
    Lstm,
    Mean,
    Op,
    Recurrent,
    Rnn,
    Take,
    Value,
    matrices,
    parameters,
    reads,
    writes,
)

_GATES = {"Lstm": 4, "Gru": 3, "Rnn": 1}


def verify(model: Model) -> Model:
    """Return the model if it is well formed, so that a pass can end with it.

    Every value is defined once and before it is read, shapes fit their parameters, updates fit
    their states, masks fit their weights, and every parameter is finite.

    Raises StepcellError for a parameter with NaN or infinity (the user's file has it);
    ValueError for anything else (a pass built a wrong model).
    """
    for name, array in model.weights.items():
        if not np.isfinite(array).all():
            raise StepcellError(
                f"{model.name}: '{name}' holds {np.sum(~np.isfinite(array))} NaN or infinite numbers.",
                "retrain the model or clip its weights; integers cannot hold them.",
            )
    for name, mask in model.masks.items():
        _require(mask.keep.shape == model.weights[name].shape, f"mask of {name} has another shape")
        _require(not model.weights[name][~mask.keep].any(), f"{name} is not zero where its mask is")
    for function in model.functions:
        _verify_function(model, function)
    return model


def _verify_function(model: Model, function: Function) -> None:
    streamed = {value.name: value for value in function.inputs}
    for stage in function.stages:
        _verify_stage(model, stage, streamed)
    finished: dict[str, Value] = {}
    if function.finish is not None:
        finished = {state.name: state.value for state in model.states}
        for op in function.finish.ops:
            _define(model, op, finished)
        for name in function.finish.outputs:
            _require(name in finished, f"finish yields {name}, which nothing defines")
    for name in function.outputs:
        _require(name in streamed or name in finished, f"output {name} is not defined")


def _verify_stage(model: Model, stage: Stage, streamed: dict[str, Value]) -> None:
    values = {state.name: state.value for state in model.states}
    for value in stage.inputs:
        _require(value.name in streamed, f"stage {stage.name} reads the unknown sequence {value.name}")
        values[value.name] = value
    for op in stage.ops:
        _define(model, op, values)
    for state, update in stage.updates:
        shape = model.state(state).initial.shape
        _require(values[update].shape == shape, f"state {state} {shape} becomes {values[update]}")
    for name in stage.outputs:
        streamed[name] = values[name]


def _define(model: Model, op: Op, values: dict[str, Value]) -> None:
    for name in reads(op):
        _require(name in values, f"{type(op).__name__} reads {name} before it is defined")
    for name in parameters(op):
        _require(name in model.weights, f"{type(op).__name__} uses the unknown parameter {name}")
    _verify_shapes(model, op, values)
    for value in writes(op):
        _require(value.name not in values, f"{value.name} is defined twice")
        values[value.name] = value


def _verify_shapes(model: Model, op: Op, values: dict[str, Value]) -> None:
    weights = model.weights
    match op:
        case Lstm() | Gru() | Rnn():
            _verify_recurrent(model, op, values[op.x])
        case Dense():
            rows, cols = weights[op.weights].shape
            _require(values[op.x].shape[-1:] == (cols,), f"{op.weights} has {cols} columns, {op.x} does not")
            _require(weights[op.bias].shape == (rows,), f"{op.bias} is not [{rows}]")
            _require(op.y.shape == (*values[op.x].shape[:-1], rows), f"{op.y} is not [..., {rows}]")
        case Binary():
            shape = np.broadcast_shapes(values[op.a].shape, values[op.b].shape)
            _require(shape == op.y.shape, f"{op.y} should be {shape}")
        case Take():
            _require(len(op.indices) == op.y.size, f"{op.y} takes {len(op.indices)} elements")
            _require(max(op.indices, default=0) < values[op.x].size, f"{op.y} takes beyond {op.x}")
        case Concat():
            _require(sum(values[x].size for x in op.xs) == op.y.size, f"{op.y} is not its parts")
        case Embed():
            _require(values[op.token].dtype == "token", f"{op.token} is not a token")
        case Activate():
            _require(values[op.x].shape == op.y.shape, f"{op.y} has another shape than {op.x}")
        case Mean():
            _require(values[op.total].shape == op.y.shape, f"{op.y} has another shape than {op.total}")
        case _:
            pass


def _verify_recurrent(model: Model, op: Recurrent, x: Value) -> None:
    (hidden,) = op.c_next.shape if isinstance(op, Lstm) else op.h_next.shape
    rows = _GATES[type(op).__name__] * hidden
    cols = model.state(op.h).initial.size
    expected = {
        op.input_weights: (rows, x.size),
        op.recurrent_weights: (rows, cols),
        op.input_bias: (rows,),
        op.recurrent_bias: (rows,),
    }
    for name, shape in expected.items():
        _require(model.weights[name].shape == shape, f"{name} {model.weights[name].shape} should be {shape}")


def _require(condition: bool, complaint: str) -> None:
    if not condition:
        raise ValueError(f"malformed model: {complaint}")


def verify_lowerable(model: Model) -> Model:
    """Return the model if this version can turn it into C; else refuse, naming what it cannot."""
    if len(model.functions) != 1:
        names = ", ".join(function.name for function in model.functions)
        _refuse(model, f"it has the functions {names}", "export one function for now.")
    (function,) = model.functions
    if len(function.stages) != 1:
        names = ", ".join(stage.name for stage in function.stages)
        _refuse(
            model, f"it runs over the sequence {len(function.stages)} times ({names})", "use one direction."
        )
    (stage,) = function.stages
    if stage.direction != "forward":
        _refuse(model, f"stage {stage.name} runs backwards", "train a forward model to stream it.")
    if stage.frames_per_step != 1:
        _refuse(
            model, f"stage {stage.name} takes {stage.frames_per_step} frames a step", "remove the stride."
        )
    if len(function.inputs) != 1 or len(function.outputs) != 1:
        _refuse(model, "it has several inputs or outputs", "keep one of each for now.")
    if any(value.dtype == "token" for value in function.inputs):
        _refuse(model, "its input is integer tokens", "feed the embedding's output instead.")
    for op in all_ops(model):
        _verify_op_lowerable(model, op)
    return model


def _verify_op_lowerable(model: Model, op: Op) -> None:
    name = writes(op)[0].name
    match op:
        case Lstm() if op.gates != (SIGMOID, TANH, TANH):
            _refuse(
                model, f"LSTM '{name}' has the activations {_names(op.gates)}", "use Sigmoid, Tanh, Tanh."
            )
        case Lstm() if op.peepholes or op.projection or op.input_forget:
            _refuse(model, f"LSTM '{name}' has peepholes, a projection or input_forget", "use a plain LSTM.")
        case Gru() if op.gates != (SIGMOID, TANH):
            _refuse(model, f"GRU '{name}' has the activations {_names(op.gates)}", "use Sigmoid and Tanh.")
        case Rnn() if op.gate not in (TANH, RELU):
            _refuse(model, f"RNN '{name}' has the activation {op.gate.function}", "use Tanh or Relu.")
        case Embed():
            _refuse(model, f"'{name}' is an embedding", "feed its output instead.")
        case _:
            pass
    if isinstance(op, Recurrent) and op.clip is not None:
        _refuse(model, f"'{name}' clips its gates at {op.clip}", "export without clip.")
    for matrix in matrices(op):
        if model.weights[matrix].ndim != 2:
            _refuse(model, f"'{matrix}' has {model.weights[matrix].ndim} axes", "use a matrix.")


def _names(gates: tuple[object, ...]) -> str:
    return ", ".join(getattr(gate, "function", "?") for gate in gates)


def _refuse(model: Model, what: str, hint: str) -> None:
    raise StepcellError(f"{model.name}: {what}, which this version does not lower to C.", hint)
