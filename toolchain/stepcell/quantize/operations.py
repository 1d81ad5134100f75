"""Every operation of a Model in integers, once ranges and formats are settled: one case each."""

from collections.abc import Mapping
from typing import TypeGuard

from stepcell.errors import StepcellError
from stepcell.ir.graph import reads, writes
from stepcell.ir.model import Function, Model, Stage
from stepcell.ir.ops import (
    Activate,
    Append,
    ArgMax,
    Attend,
    Binary,
    Concat,
    Constant,
    Conv,
    Count,
    Dense,
    Embed,
    Gru,
    Lstm,
    Mean,
    Normalize,
    Op,
    Reduce,
    Rnn,
    Take,
)
from stepcell.ir.qmodel import QFunction, QModel, QOp, QOutput, QStage, q_writes
from stepcell.quantize import attention, elementwise, functions, layers
from stepcell.quantize.context import Context, function_ops
from stepcell.quantize.fuse import fuse_relu
from stepcell.quantize.states import (
    define_states,
    define_unread_states,
    quantize_state,
    settle_updates,
)
from stepcell.quantize.windows import define_frames, quantize_windows


def quantize_model(model: Model, contexts: tuple[Context, ...]) -> QModel:
    """The integer model of one whose recurrent operations have kernels; a context for each function."""
    define_states(contexts)
    functions = tuple(_quantize_function(context) for context in contexts)
    return QModel(
        name=model.name,
        functions=functions,
        states=tuple(quantize_state(contexts[0], state) for state in model.states),
        choices=contexts[0].choices,
    )


def _quantize_function(context: Context) -> QFunction:
    function = context.function
    context.values.update(context.states)
    left = {op.y.name: op for op in function_ops(function) if _is_left_to_caller(op, function)}
    chip = {name: left[name].x if name in left else name for name in function.outputs}
    stages = tuple(_quantize_stage(context, stage, left, chip) for stage in function.stages)
    ended = function.finish.outputs if function.finish is not None else ()
    ops = function.finish.ops if function.finish is not None else ()
    finish = fuse_relu(_quantize_ops(context, ops, left), kept=tuple(chip.values()))
    outputs = tuple(
        QOutput(context.values[value], name in ended, left[name].function if name in left else None)
        for name, value in chip.items()
    )
    wide = next((output.value.name for output in outputs if output.value.bits == 32), None)
    if wide is not None:
        raise StepcellError(
            f"{context.model.name}: the output '{wide}' is a sum over time, which leaves 16 bits.",
            "take the mean over time instead of the sum.",
        )
    inputs = tuple(context.values[value.name] for value in function.inputs)
    return QFunction(function.name, inputs, stages, finish, outputs, function.frames_per_step)


def _quantize_stage(
    context: Context, stage: Stage, left: Mapping[str, Activate], chip: Mapping[str, str]
) -> QStage:
    ops = _quantize_ops(context, stage.ops, left)
    settled, updates = settle_updates(context, stage)
    leaving = tuple(dict.fromkeys(chip.get(name, name) for name in stage.outputs))
    kept = (*leaving, *chip.values(), *(value for _, value in stage.updates))
    return QStage(
        name=stage.name,
        inputs=tuple(context.values[value.name] for value in stage.inputs),
        ops=(*fuse_relu(ops, kept), *settled),
        updates=updates,
        outputs=tuple(context.values[name] for name in leaving),
        direction=stage.direction,
    )


def _is_left_to_caller(op: Op, function: Function) -> TypeGuard[Activate]:
    """Whether `op` is a (log) softmax whose result is nothing but an output, and whose logits are none."""
    soft = isinstance(op, Activate) and op.function in ("softmax", "log_softmax")
    if not isinstance(op, Activate) or not soft or op.y.name not in function.outputs:
        return False
    updates = (value for stage in function.stages for _, value in stage.updates)
    read = {name for other in function_ops(function) for name in reads(other)} | set(updates)
    others = [o for o in function_ops(function) if isinstance(o, Activate) and o.x == op.x]
    return op.y.name not in read and op.x not in function.outputs and others == [op]


def _quantize_ops(context: Context, ops: tuple[Op, ...], skipped: Mapping[str, Op]) -> tuple[QOp, ...]:
    done: list[QOp] = []
    for op in ops:
        if writes(op)[0].name in skipped:
            continue
        define_frames(context, op)
        if not isinstance(op, Binary | Count | Append):
            define_unread_states(context, op)
        _refuse_sums(context, op)
        if writes(op)[0].name in context.absorbed:
            continue
        for q_op in _quantize_op(context, op, ops):
            context.values.update({value.name: value for value in q_writes(q_op)})
            done.append(q_op)
    return tuple(done)


def _refuse_sums(context: Context, op: Op) -> None:
    """Only a mean takes the int32 sum of one in (a running sum reads itself before it is known)."""
    counted = op.count if isinstance(op, Append | Attend) else None
    read = (x for x in reads(op) if x in context.values and x != counted)
    sums = [x for x in read if context.values[x].bits == 32]
    if sums and not isinstance(op, Mean | Count):
        raise StepcellError(
            f"{writes(op)[0].name}: it reads the sum over time '{sums[0]}', and only a mean can.",
            "take the mean over time instead of the sum.",
        )


def _quantize_op(  # noqa: C901, PLR0912  # one short case an operation
    context: Context, op: Op, ops: tuple[Op, ...]
) -> list[QOp]:
    region = context.regions.get(writes(op)[0].name)
    if region is not None:
        return functions.quantize_region(context, region, writes(op)[0])
    match op:
        case Lstm():
            return [layers.quantize_lstm(context, op)]
        case Gru():
            return [layers.quantize_gru(context, op)]
        case Rnn():
            return [layers.quantize_rnn(context, op)]
        case Conv():
            return [quantize_windows(context, op)]
        case Dense() if len(op.y.shape) > 1:
            return [quantize_windows(context, op)]
        case Dense():
            return [layers.quantize_dense(context, op)]
        case Activate():
            return elementwise.quantize_activate(context, op)
        case Binary():
            return elementwise.quantize_binary(context, op)
        case Constant():
            return elementwise.quantize_constant(context, op, elementwise.constant_shape(op.y, ops))
        case Take():
            return elementwise.quantize_take(context, op)
        case Concat():
            return elementwise.quantize_concat(context, op)
        case Count():
            return elementwise.quantize_count(context, op)
        case Mean():
            return elementwise.quantize_mean(context, op)
        case Reduce():
            return functions.quantize_reduce(context, op)
        case Normalize():
            return functions.quantize_normalize(context, op)
        case ArgMax():
            return functions.quantize_argmax(context, op)
        case Embed():
            return functions.quantize_embed(context, op)
        case Append():
            return attention.quantize_append(context, op)
        case Attend():
            return attention.quantize_attend(context, op)
        case _:
            raise StepcellError(
                f"{type(op).__name__} is not lowered to C by this version.", "remove it from the model."
            )
