"""From real scales to the integers of a requantization: pre-shift, multiplier, post-shift.

p = sat16(rr(rr(acc, pre_shift) * M, post_shift)), with 32-bit products only: rr(B, pre_shift) fits 16
bits for the largest accumulator B that a row can reach, or is saturated to them, and M <= 2^14, so
|product| <= 2^29 and the sum of two of them stays below 2^31.
"""

import math

import numpy as np
from numpy.typing import NDArray

from stepcell.errors import StepcellError
from stepcell.ir.qmodel import IntArray, JointRequant, QMatrix, Requant

MAX_MULTIPLIER = 1 << 14
MAX_POST_SHIFT = 30
ACCUMULATOR_LIMIT = (1 << 31) - (1 << 16)
"""Below this, rr(B, s) fits int16 with s <= 16, so that adding the rounding constant fits int32, too."""


def accumulator_bound(matrix: QMatrix, bias: IntArray) -> IntArray:
    """B [rows]: the largest |accumulator| that any input can give."""
    return np.asarray(np.abs(matrix.weights).sum(axis=1) * matrix.input_bound + np.abs(bias))


def prove_accumulators_fit(layer: str, matrix: QMatrix, bias: IntArray) -> IntArray:
    """The bounds B [rows]; StepcellError naming the first row whose accumulator could leave int32."""
    bound = accumulator_bound(matrix, bias)
    worst = int(bound.argmax())
    if bound[worst] >= ACCUMULATOR_LIMIT:
        raise StepcellError(
            f"{layer}: the accumulator of row {worst} can reach {bound[worst]}, "
            f"allowed is less than {ACCUMULATOR_LIMIT}.",
            "use int8 activations for this layer, or fewer inputs.",
        )
    return bound


def pre_shift(bound: IntArray) -> int:
    """The smallest shift after which every accumulator fits 16 bits: rr(B, s) <= 32767."""
    largest = int(bound.max(initial=0))
    shift = 0
    while (largest + ((1 << shift) >> 1)) >> shift > 32767:
        shift += 1
    return shift


def post_shift(layer: str, factors: NDArray[np.float64]) -> int:
    """The largest shift with which every multiplier round(factor * 2^shift) stays <= 2^14."""
    largest = float(factors.max(initial=0.0))
    if largest == 0.0:
        return MAX_POST_SHIFT
    shift = min(MAX_POST_SHIFT, math.floor(14 - math.log2(largest)))
    if shift < 0:
        raise StepcellError(
            f"{layer}: its sums exceed what its output can hold by a factor of "
            f"{largest / MAX_MULTIPLIER:.3g}.",
            "rescale the model's input or this layer's weights.",
        )
    return shift


def multipliers(factors: NDArray[np.float64], shift: int) -> IntArray:
    """round(factor * 2^shift), 0..2^14."""
    return np.minimum(np.round(factors * 2.0**shift), MAX_MULTIPLIER).astype(np.int64)


def requant(layer: str, bound: IntArray, scales: NDArray[np.float64], out_scale: float) -> Requant:
    """For one matrix: scales [rows] are the real size of one unit of the accumulator.

    The largest sum that weights and inputs allow is often far beyond what the output can hold. Sums that
    saturate the output in every row may saturate before the multiplication, too, which leaves all others
    the bits that a shift for the largest would take.
    """
    largest = pre_shift(bound)
    before = min(largest, max(1, pre_shift(_saturating(scales, out_scale))))
    factors = scales / out_scale * 2.0**before
    after = post_shift(layer, factors)
    return Requant(multipliers(factors, after), before, after, saturates=before < largest)


def _saturating(scales: NDArray[np.float64], out_scale: float) -> IntArray:
    """[1]: from this |accumulator| on, an int16 output is at its limit in every row that is not all zeros."""
    finest = float(scales[scales > 0].min(initial=np.inf))
    return np.array([min(math.ceil(32768.0 * out_scale / finest), ACCUMULATOR_LIMIT)])


def joint_requant(
    layer: str,
    input_bound: IntArray,
    input_scales: NDArray[np.float64],
    recurrent_bound: IntArray,
    recurrent_scales: NDArray[np.float64],
    out_scale: float,
    joint_rows: int,
) -> tuple[JointRequant, int, int]:
    """For the two matrices of a recurrent layer: the first `joint_rows` rows share one post-shift.

    The other rows (a GRU's candidate) get a post-shift for each matrix: (requant, input's, recurrent's).
    """
    sx, sh = pre_shift(input_bound), pre_shift(recurrent_bound)
    fx = input_scales / out_scale * 2.0**sx
    fh = recurrent_scales / out_scale * 2.0**sh
    joint = post_shift(layer, np.concatenate([fx[:joint_rows], fh[:joint_rows]]))
    nx, nh = post_shift(layer, fx[joint_rows:]), post_shift(layer, fh[joint_rows:])
    mx = np.concatenate([multipliers(fx[:joint_rows], joint), multipliers(fx[joint_rows:], nx)])
    mh = np.concatenate([multipliers(fh[:joint_rows], joint), multipliers(fh[joint_rows:], nh)])
    return JointRequant(mx, mh, sx, sh, joint), nx, nh


def single_multiplier(layer: str, *factors: float) -> tuple[list[int], int]:
    """Signed multipliers |M| <= 2^14 with one shift, for element-by-element arithmetic."""
    shift = post_shift(layer, np.abs(np.asarray(factors, np.float64)))
    return [int(np.clip(round(f * 2.0**shift), -MAX_MULTIPLIER, MAX_MULTIPLIER)) for f in factors], shift
