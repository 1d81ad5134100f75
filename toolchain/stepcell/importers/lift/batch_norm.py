"""BatchNormalization in inference: part of the layer before it, or a multiplication and an addition."""

from dataclasses import replace

import numpy as np

from stepcell.importers.graph import Node, Unsupported
from stepcell.importers.lift.attributes import Operands
from stepcell.importers.lift.axes import inner, require_inner
from stepcell.importers.lift.context import Known, Lift, Lifted, Tensor, known, tensor
from stepcell.importers.lift.elementwise import combined
from stepcell.ir.graph import writes
from stepcell.ir.ops import Conv, Dense, Value


def batch_normalization(lift: Lift, node: Node, operands: Operands) -> list[Lifted]:
    """y = (x - mean) / sqrt(variance + epsilon) * scale + bias, one of each a channel."""
    if node.attributes.get("training_mode", 0):
        raise Unsupported("trains", "export the model in evaluation mode.")
    x = tensor(operands[0])
    scale, bias, mean, variance = (known(found, "statistics").astype(np.float64) for found in operands[1:5])
    channel = 1 if len(x.axes) > 1 else 0
    require_inner(x.axes[channel], "normalizes along")
    if not {scale.shape, bias.shape, mean.shape, variance.shape} == {(inner(x.axes[channel]),)}:
        raise Unsupported("has statistics of another size than its channels", "check the file.")
    gain = scale / np.sqrt(variance + float(node.attributes.get("epsilon", 1e-5)))
    shift = bias - mean * gain
    folded = scaled_rows(lift, x, channel, gain, shift)
    if folded is not None:
        return [folded]
    shape = [len(gain) if i == channel else 1 for i in range(len(x.axes))]
    product = combined(lift, "mul", x, gain.reshape(shape))
    return [combined(lift, "add", product, shift.reshape(shape))]


def scaled_rows(lift: Lift, x: Tensor, channel: int, gain: Known, shift: Known) -> Tensor | None:
    """The tensor times `gain` plus `shift`, as a layer of its own in place of the one that made it.

    None where no Dense or Conv did, or where the channels are not its rows. The other layer is left out
    later if nothing else reads it.
    """
    made = (op for op, _ in lift.steps if any(value.name == x.value for value in writes(op)))
    op = next(made, None)
    rows = len(gain)
    if not isinstance(op, Dense | Conv) or op.y.shape[-1] != rows:
        return None
    wanted = np.arange(rows).reshape([-1 if i == channel else 1 for i in range(x.table.ndim)])
    if not np.array_equal(x.table % rows, np.broadcast_to(wanted, x.table.shape)):
        return None
    weights, bias = lift.weights[op.weights], lift.weights[op.bias]
    name = lift.fresh(type(op).__name__.lower())
    lift.weights[f"{name}_weights"] = weights * gain.reshape(-1, *[1] * (weights.ndim - 1))
    lift.weights[f"{name}_bias"] = bias * gain + shift
    y = Value(name, op.y.shape)
    lift.emit(replace(op, y=y, weights=f"{name}_weights", bias=f"{name}_bias"), x.phase)
    return replace(x, value=name)
