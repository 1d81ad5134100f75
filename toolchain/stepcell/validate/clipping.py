"""Inputs beyond what calibration saw: they are clipped, and the answers to them are worth less."""

import numpy as np

from stepcell.ir.qmodel import QModel, QValue
from stepcell.ir.sequences import Array, Sequences, by_function


def clipped_inputs(qmodel: QModel, data: Sequences) -> dict[str, int]:
    """How many numbers of each input lie beyond its scale; it is `FUNCTION.INPUT` of several functions."""
    several = len(qmodel.functions) > 1
    found = {}
    for function in qmodel.functions:
        fed = by_function(qmodel.functions, data)[function.name]
        streams = fed.feed([value.name for value in function.inputs])
        for value in function.inputs:
            if value.dtype == "float":
                name = f"{function.name}.{value.name}" if several else value.name
                found[name] = _clipped(value, streams[value.name])
    return found


def _clipped(value: QValue, x: Array) -> int:
    """Numbers that round to more than the largest step."""
    steps = np.asarray(x, np.float64) / value.scale
    if value.zero_point:
        around = steps + value.zero_point
        return int(((around < -128.5) | (around >= 127.5)).sum())
    limit = 127 if value.bits == 8 else 32767
    return int((np.abs(steps) >= limit + 0.5).sum())
