"""What goes into a QModel's functions and what comes out, between real numbers and integers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.memory import check_memory
from stepcell.ir.model import FloatArray
from stepcell.ir.qfunctions import QEmbed
from stepcell.ir.qmodel import IntArray, QFunction, QModel
from stepcell.ir.sequences import Sequences, by_function, check_tokens, in_steps
from stepcell.reference.float_ops import log_softmax, softmax
from stepcell.reference.integer_ops import quantize_input


@dataclass(frozen=True, eq=False)
class Feed:
    """What one function is fed: integers [N, T, ...] by input name, and lengths [N] in steps."""

    inputs: dict[str, IntArray]
    lengths: NDArray[np.int64]


def quantize_sequences(qmodel: QModel, data: Sequences) -> dict[str, Feed]:
    """The data as every function of the model takes it, by name, in order; tokens stay as they are.

    Raises StepcellError where a function has no data, and for frames that do not divide into steps.
    """
    fed = by_function(qmodel.functions, data)
    return {function.name: _feed(function, fed[function.name]) for function in qmodel.functions}


def _feed(function: QFunction, data: Sequences) -> Feed:
    streams = data.feed([value.name for value in function.inputs])
    rows = {op.token: len(op.table) for op in function.all_ops if isinstance(op, QEmbed)}
    check_tokens(function.name, streams, rows)
    steps, lengths = in_steps(function, streams, data.lengths)
    check_memory(function.name, function.all_ops, lengths)
    inputs = {
        value.name: np.asarray(steps[value.name], np.int64)
        if value.dtype == "token"
        else quantize_input(steps[value.name], value.scale, value.bits, value.zero_point)
        for value in function.inputs
    }
    return Feed(inputs, lengths)


_LEFT: Mapping[str | None, Callable[[FloatArray], FloatArray]] = {
    None: lambda x: x,
    "softmax": softmax,
    "log_softmax": log_softmax,
}
"""What is left to the caller."""


def real_outputs(
    function: QFunction, outputs: Mapping[str, IntArray], lengths: NDArray[np.int64]
) -> dict[str, FloatArray]:
    """Integer outputs (as in `IntegerRun.outputs`; lengths [N] in steps) as real numbers, by name.

    [N, T, ...] of every step, [N, ...] of `finish`. A (log) softmax that is left to the caller is applied.
    Names are the QModel's: pair them with a float function's outputs by their order, which is the same.
    """
    found: dict[str, FloatArray] = {}
    for output in function.outputs:
        stored = outputs[output.value.name]
        if output.finished:
            stored = stored[np.arange(len(stored)), lengths - 1 if stored.shape[1] != 1 else 0]
        real = (stored.astype(np.float64) - output.value.zero_point) * output.value.scale
        found[output.value.name] = _LEFT[output.left_to_caller](real)
    return found
