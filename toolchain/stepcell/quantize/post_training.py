"""Post-training quantization: a float Model and calibration data to a QModel."""

from stepcell.errors import StepcellError
from stepcell.ir.model import Model
from stepcell.ir.ops import (
    Activate,
    Binary,
    Concat,
    Constant,
    Count,
    Dense,
    Gru,
    Lstm,
    Mean,
    Op,
    Rnn,
    Take,
    reads,
    writes,
)
from stepcell.ir.qmodel import QModel, QOp, q_writes
from stepcell.ir.sequences import Sequences
from stepcell.ir.verify import verify_lowerable
from stepcell.quantize import elementwise, layers
from stepcell.quantize.calibrate import calibrate
from stepcell.quantize.context import Activations, Context, Weights, make_context
from stepcell.quantize.delta import hold_inputs
from stepcell.quantize.fuse import fuse_relu
from stepcell.quantize.states import define_states, quantize_state, settle_updates


def quantize(
    model: Model,
    calibration: Sequences,
    activations: Activations = "int8",
    percentile: float = 100.0,
    weights: Weights = "int8",
    delta: int | None = None,
) -> QModel:
    """The integer model, by docs/numerics.md.

    calibration: sequences of real inputs; they run both reset and as unreset streams.
    activations: what recurrent layers read as input. percentile: of |value|, for every scale that is
    not a hidden or cell state's. weights: what recurrent layers' matrices hold.
    delta: recurrent layers take in only what changed by more than so many int8 units (quantize/delta.py).
    Raises StepcellError for what cannot be lowered, and for rows whose accumulator could overflow.
    """
    verify_lowerable(model)
    context = make_context(model, calibrate(model, calibration, percentile), activations, weights)
    function = model.main
    (stage,) = function.stages
    output, softmax = _strip_softmax(model)
    define_states(context)
    ops = _quantize_ops(context, stage.ops, softmax)
    settled, updates = settle_updates(context)
    finish = _quantize_ops(context, function.finish.ops if function.finish is not None else (), softmax)
    q_model = QModel(
        name=model.name,
        input=context.values[stage.inputs[0].name],
        states=tuple(quantize_state(context, state) for state in model.states),
        ops=(
            *fuse_relu(ops, kept=(output, *stage.outputs, *(value for _, value in stage.updates))),
            *settled,
        ),
        updates=updates,
        finish=fuse_relu(finish, kept=(output,)),
        output=context.values[output],
        output_is_finished=function.finish is not None and function.outputs[0] in function.finish.outputs,
        left_to_caller="softmax" if softmax is not None else None,
        choices=context.choices,
    )
    return q_model if delta is None else hold_inputs(q_model, delta)


def _strip_softmax(model: Model) -> tuple[str, Activate | None]:
    """The name of the last value that the chip computes, and the softmax after it that it does not."""
    function = model.main
    finish = function.finish.ops if function.finish is not None else ()
    for op in (*function.stages[0].ops, *finish):
        if isinstance(op, Activate) and op.function == "softmax" and op.y.name == function.outputs[0]:
            return op.x, op
    return function.outputs[0], None


def _quantize_ops(context: Context, ops: tuple[Op, ...], skipped: Op | None) -> tuple[QOp, ...]:
    done: list[QOp] = []
    for op in ops:
        if op is skipped:
            continue
        _refuse_sums(context, op)
        for q_op in _quantize_op(context, op, ops):
            context.values.update({value.name: value for value in q_writes(q_op)})
            done.append(q_op)
    return tuple(done)


def _refuse_sums(context: Context, op: Op) -> None:
    """Only a mean takes the int32 sum of one in (a running sum reads itself before it is known)."""
    sums = [x for x in reads(op) if x in context.values and context.values[x].bits == 32]
    if sums and not isinstance(op, Mean | Count):
        raise StepcellError(
            f"{writes(op)[0].name}: it reads the sum over time '{sums[0]}', and only a mean can.",
            "take the mean over time instead of the sum.",
        )


def _quantize_op(  # noqa: C901  # one short case an operation
    context: Context, op: Op, ops: tuple[Op, ...]
) -> list[QOp]:
    match op:
        case Lstm():
            return [layers.quantize_lstm(context, op)]
        case Gru():
            return [layers.quantize_gru(context, op)]
        case Rnn():
            return [layers.quantize_rnn(context, op)]
        case Dense():
            return [layers.quantize_dense(context, op)]
        case Activate():
            return elementwise.quantize_activate(context, op)
        case Binary():
            return elementwise.quantize_binary(context, op)
        case Constant():
            readers = [o for o in ops if isinstance(o, Binary) and op.y.name in (o.a, o.b)]
            return elementwise.quantize_constant(context, op, elementwise.broadcast_shape(op.y, readers))
        case Take():
            return elementwise.quantize_take(context, op)
        case Concat():
            return elementwise.quantize_concat(context, op)
        case Count():
            return elementwise.quantize_count(context, op)
        case Mean():
            return elementwise.quantize_mean(context, op)
        case _:
            raise StepcellError(
                f"{type(op).__name__} is not lowered to C by this version.", "remove it from the model."
            )
