"""`verify`: is this Model well formed? `verify_lowerable`: can this version lower it?"""

import math

import numpy as np

from stepcell.errors import StepcellError
from stepcell.ir.graph import matrices, parameters, reads, recurrent_operand, writes
from stepcell.ir.model import Function, Model, Stage, all_ops
from stepcell.ir.ops import (
    Activate,
    Append,
    ArgMax,
    Attend,
    Binary,
    Concat,
    Conv,
    Count,
    Dense,
    Embed,
    Gru,
    Lstm,
    Mean,
    Normalize,
    Op,
    Recurrent,
    Reduce,
    Rnn,
    Take,
    Value,
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
    _verify_names(function)
    _verify_frames(function)
    _verify_memories(model, function)


def _verify_names(function: Function) -> None:
    """A name means one thing in a function, so that calibration and formats can go by name."""
    finish = function.finish.ops if function.finish is not None else ()
    owner: dict[str, Op] = {}
    for op in (*(op for stage in function.stages for op in stage.ops), *finish):
        for value in writes(op):
            _require(owner.setdefault(value.name, op) == op, f"{value.name} means two things")
    updated = [state for stage in function.stages for state, _ in stage.updates]
    _require(len(updated) == len(set(updated)), f"{function.name} updates a state in two stages")
    _require(len(set(function.outputs)) == len(function.outputs), f"{function.name} gives an output twice")


def _verify_memories(model: Model, function: Function) -> None:
    """A memory starts empty, and the stage that appends to it stores it and counts its rows."""
    for op in function.finish.ops if function.finish is not None else ():
        _require(not isinstance(op, Append), "finish appends to a memory, which only a stage can")
    for stage in function.stages:
        counted = {op.y.name: op.x for op in stage.ops if isinstance(op, Count)}
        for op in (op for op in stage.ops if isinstance(op, Append)):
            updates = dict(stage.updates)
            _require(updates.get(op.memory) == op.y.name, f"{op.memory} does not become {op.y}")
            _require(op.count in updates, f"stage {stage.name} does not count the rows of {op.memory}")
            _require(counted.get(updates[op.count]) == op.count, f"{op.count} does not count steps")
            empty = not model.state(op.memory).initial.any() and not model.state(op.count).initial.any()
            _require(empty, f"the memory {op.memory} does not start empty")


def _verify_frames(function: Function) -> None:
    """Whatever reads an input of the function takes equally many frames of it."""
    inputs, frames = {value.name for value in function.inputs}, function.frames_per_step
    for stage in function.stages:
        same = stage.frames_per_step == frames or inputs.isdisjoint(v.name for v in stage.inputs)
        _require(same, f"stage {stage.name} takes {stage.frames_per_step} frames a step, not {frames}")
    for value in function.inputs if frames != 1 else ():
        _require(value.shape[:1] == (frames,), f"{value} does not begin with {frames} frames")


def _verify_stage(model: Model, stage: Stage, streamed: dict[str, Value]) -> None:
    values = {state.name: state.value for state in model.states}
    for value in stage.inputs:
        _require(value.name in streamed, f"stage {stage.name} reads the unknown sequence {value.name}")
        values[value.name] = value
    for op in stage.ops:
        _define(model, op, values)
    for op in (op for op in stage.ops if isinstance(op, Recurrent) and op.recurrent_input is not None):
        factors = [o for o in stage.ops if isinstance(o, Dense) and o.y.name == op.recurrent_input]
        _require([o.x for o in factors] == [op.h], f"{op.recurrent_input} is no Dense of {op.h}")
        reset_first = isinstance(op, Gru) and not op.linear_before_reset
        _require(not reset_first, f"{op.h_next} resets h before a matrix in factors")
    for state, update in stage.updates:
        shape = model.state(state).initial.shape
        _require(values[update].shape == shape, f"state {state} {shape} becomes {values[update]}")
    states = {state.name for state in model.states}
    for name in stage.outputs:
        _require(name not in states, f"{stage.name} yields the state {name}, not the value that it becomes")
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


def _verify_shapes(  # noqa: C901, PLR0912  # one short case an operation
    model: Model, op: Op, values: dict[str, Value]
) -> None:
    weights = model.weights
    match op:
        case Lstm() | Gru() | Rnn():
            _verify_recurrent(model, op, values)
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
        case Reduce():
            _require(values[op.x].shape[:-1] == op.y.shape, f"{op.y} is not {op.x} without its last axis")
        case ArgMax():
            _require(values[op.x].shape[:-1] == op.y.shape, f"{op.y} is not {op.x} without its last axis")
            _require(op.y.dtype == "token", f"{op.y} is not a token")
        case Normalize():
            _require(values[op.x].shape == op.y.shape, f"{op.y} has another shape than {op.x}")
            _require(weights[op.gain].shape == op.y.shape[-1:], f"{op.gain} does not fit {op.y}")
            _require(weights[op.bias].shape == op.y.shape[-1:], f"{op.bias} does not fit {op.y}")
        case Conv():
            _require(op.y.shape == conv_shape(op, values[op.x], weights[op.weights].shape), f"{op.y} is odd")
            _require(weights[op.bias].shape == op.y.shape[-1:], f"{op.bias} does not fit {op.y}")
        case Append():
            memory, x = values[op.memory], values[op.x]
            _require(memory.shape == op.y.shape, f"{op.y} has another shape than {op.memory}")
            _require(memory.shape[1:] == x.shape, f"{op.x} is no row of {op.memory}")
            _require_count(values[op.count])
        case Attend():
            keys, rows = values[op.keys], values[op.values]
            _require(keys.shape[1:] == values[op.query].shape, f"{op.query} is no row of {op.keys}")
            _require(rows.shape[1:] == op.y.shape, f"{op.y} is no row of {op.values}")
            _require(keys.shape[:1] == rows.shape[:1], f"{op.keys} has not as many rows as {op.values}")
            _require(math.isfinite(op.scale), f"{op.y} scales its scores by {op.scale}")
            _require_count(values[op.count])
        case Activate():
            _require(values[op.x].shape == op.y.shape, f"{op.y} has another shape than {op.x}")
        case Mean():
            _require(values[op.total].shape == op.y.shape, f"{op.y} has another shape than {op.total}")
        case _:
            pass


def _require_count(count: Value) -> None:
    _require(count.shape == () and count.dtype == "token", f"{count} is not a number of steps")


def conv_shape(op: Conv, x: Value, weights: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a convolution's result: [*positions, outputs]."""
    outputs, *kernel, channels = weights
    _require(
        channels * op.groups == x.shape[-1] and outputs % op.groups == 0, f"{op.weights} does not fit {op.x}"
    )
    spans = zip(x.shape[:-1], kernel, op.strides, op.dilations, op.pads, strict=True)
    positions = (
        (size + sum(pad) - (taps - 1) * dilation - 1) // stride + 1
        for size, taps, stride, dilation, pad in spans
    )
    return (*positions, outputs)


def _verify_recurrent(model: Model, op: Recurrent, values: dict[str, Value]) -> None:
    (hidden,) = op.c_next.shape if isinstance(op, Lstm) else op.h_next.shape
    rows = _GATES[type(op).__name__] * hidden
    cols = model.state(op.h).initial.size
    expected = {
        op.input_weights: (rows, values[op.x].size),
        op.recurrent_weights: (rows, values[recurrent_operand(op)].size),
        op.input_bias: (rows,),
        op.recurrent_bias: (rows,),
    }
    if isinstance(op, Lstm) and op.peepholes:
        expected[op.peepholes] = (3 * hidden,)
    if isinstance(op, Lstm) and op.projection:
        expected[op.projection] = (cols, hidden)
    for name, shape in expected.items():
        _require(model.weights[name].shape == shape, f"{name} {model.weights[name].shape} should be {shape}")


def _require(condition: bool, complaint: str) -> None:
    if not condition:
        raise ValueError(f"malformed model: {complaint}")


def verify_lowerable(model: Model) -> Model:
    """Return the model if this version can turn it into C; else refuse, naming what it cannot."""
    for function in model.functions:
        if not function.inputs:
            _refuse(model, f"the function '{function.name}' has no input", "give it one of every step.")
        passed = next((v.name for v in function.inputs if v.name in function.outputs), None)
        if passed is not None:
            _refuse(model, f"the input '{passed}' is an output as it is", "leave that output out.")
    for op in all_ops(model):
        _verify_op_lowerable(model, op)
    return model


def _verify_op_lowerable(model: Model, op: Op) -> None:
    name = writes(op)[0].name
    match op:
        case Conv() if len(op.strides) > 2 or op.groups not in (1, op.y.shape[-1]):
            _refuse(model, f"'{name}' slides over {len(op.strides)} axes in {op.groups} groups", "split it.")
        case _:
            pass
    for matrix in matrices(op):
        if model.weights[matrix].ndim != 2 and not isinstance(op, Conv):
            _refuse(model, f"'{matrix}' has {model.weights[matrix].ndim} axes", "use a matrix.")


def _refuse(model: Model, what: str, hint: str) -> None:
    raise StepcellError(f"{model.name}: {what}, which this version does not lower to C.", hint)
