"""LogSoftmax inside the network, from operations that exist: y = (x - max x) + log(max softmax(x)).

The largest probability of a row is 1 / (sum of the exponentials), at least 1 / n, so that neither a
probability that rounds to zero nor a sum that no int16 holds comes into the result.
"""

import math
from dataclasses import replace

import numpy as np

from stepcell.ir.ops import Activate
from stepcell.ir.qfunctions import QReduce, QRepeat
from stepcell.ir.qmodel import QAdd, QOp
from stepcell.ir.qvalue import QValue
from stepcell.quantize.context import Q15, Context
from stepcell.quantize.functions import quantize_softmax, result_format
from stepcell.quantize.requantize import single_multiplier
from stepcell.quantize.tables import fit_table


def quantize_log_softmax(context: Context, op: Activate) -> list[QOp]:
    """From any int16 scale to a calibrated one."""
    x, rows, n, name = context.values[op.x], op.y.shape[:-1], op.y.shape[-1], op.y.name
    softmax = quantize_softmax(context, replace(op, y=replace(op.y, name=f"{name}_softmax")))
    largest = QValue(f"{name}_largest", rows, 16, x.scale)
    likeliest = QValue(f"{name}_likeliest", rows, 16, Q15)
    least = 0.5 / n
    log = QValue(f"{name}_log", rows, 16, math.log(1 / least) / 32767)
    fit = fit_table(likeliest.name, Q15, log, lambda v: np.log(np.maximum(v, least)), positive=True)
    context.choices[log.name] = fit.text
    maxima, logs = (_over_row(value, op.y.shape) for value in (largest, fit.op.y))
    below = QValue(f"{name}_below", op.y.shape, 16, 2 * x.scale)  # x - max x, down to -2 * 32767
    return [
        softmax,
        QReduce(op.x, largest, "max"),
        QReduce(softmax.y.name, likeliest, "max"),
        fit.op,
        maxima,
        logs,
        _sum(op.x, x.scale, maxima.y.name, -x.scale, below),
        _sum(below.name, below.scale, logs.y.name, fit.op.y.scale, result_format(context, op.y)),
    ]


def _over_row(x: QValue, shape: tuple[int, ...]) -> QRepeat:
    """One number of every row, at each of its places."""
    return QRepeat(x.name, QValue(f"{x.name}_repeated", shape, 16, x.scale), 1, shape[-1])


def _sum(a: str, a_scale: float, b: str, b_scale: float, y: QValue) -> QAdd:
    """a + b; a negative scale subtracts."""
    (ma, mb), shift = single_multiplier(y.name, a_scale / y.scale, b_scale / y.scale)
    return QAdd(a, b, y, ma, mb, shift)
