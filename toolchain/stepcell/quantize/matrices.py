"""Quantization of weight matrices: int8 rows, one scale each, and the bias that starts the accumulator."""

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.model import FloatArray, Mask
from stepcell.ir.qmodel import IntArray, QMatrix, QValue

WEIGHT_LIMITS = {"int8": 127, "int4": 7}
"""Largest |weight|. int4 is int8 with few values: only a kernel that stores them shorter knows of it."""
INT8_BOUND, INT16_BOUND = 128, 32768
"""Largest |input| of a matrix: whatever the caller or a state holds, so that the proofs need no trust."""
BIAS_LIMIT = 1 << 18
"""Largest |bias| in accumulator units, for an int8 input; a floor under the scale of a row. A bias of 16, the
end of a pre-activation's range, is then rounded by at most 1/16 of a pre-activation's unit, and a dead row
costs the rows that share its shift two bits. Measured (docs/numerics-measured.md): with SMALLEST_SCALE,
limits from 2^14 to 2^22 all cost nothing; without it 2^18 costs int8 2 % at most, 2^20 40 %, 2^22 four times
the error.
"""
SMALLEST_SCALE = 16
"""One shift and one multiplier format serve all rows of a layer: the bias of a (nearly) dead row, in units
of its tiny scale, would dictate the shift, and its multiplier would round to almost nothing."""


def input_of_matrix(x: QValue, exact: bool) -> tuple[bool, int, float]:
    """(reads_view, largest |input|, scale) of what a matrix reads of `x`; `exact` keeps int16 as it is."""
    if x.bits == 8:
        return False, INT8_BOUND, x.scale
    if exact:
        return False, INT16_BOUND, x.scale
    return True, INT8_BOUND, x.scale * 256


def quantize_matrix(
    weights: FloatArray,
    bias: FloatArray,
    mask: Mask | None,
    x: QValue,
    exact: bool = False,
    weight_limit: int = WEIGHT_LIMITS["int8"],
) -> tuple[QMatrix, IntArray, NDArray[np.float64]]:
    """(matrix, bias in accumulator units [rows], real size of one accumulator unit [rows]).

    A row's scale is max|w|/weight_limit, but not below 1/16 of the largest row's, and never so small that
    its bias would exceed BIAS_LIMIT (times 256 for int16 inputs, whose accumulators are as much larger). A
    matrix of nothing but zeros without a bias gets scale 0.
    """
    reads_view, bound, in_scale = input_of_matrix(x, exact)
    limit = BIAS_LIMIT * (256 if bound > INT8_BOUND else 1)
    scales = np.abs(weights).max(axis=1) / weight_limit
    scales = np.maximum(scales, scales.max(initial=0.0) / SMALLEST_SCALE)
    scales = np.maximum(scales, np.abs(bias) / (in_scale * limit))
    divisors = np.where(scales == 0.0, 1.0, scales)
    rounded = np.clip(np.round(weights / divisors[:, None]), -weight_limit, weight_limit)
    units = divisors * in_scale
    q_bias = np.round(bias / units).astype(np.int64)
    matrix = QMatrix(rounded.astype(np.int64), scales, mask, reads_view, bound)
    return matrix, q_bias, scales * in_scale
