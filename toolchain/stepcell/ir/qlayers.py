"""The layers of the QModel: whatever has a weight matrix, and how its sums become results."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.model import Mask
from stepcell.ir.qvalue import IntArray, QValue
from stepcell.ir.window import Window


@dataclass(frozen=True, eq=False)
class QMatrix:
    """int8 weights [rows, cols] in [-127, 127], one scale a row."""

    weights: IntArray
    scales: NDArray[np.float64]
    mask: Mask | None
    reads_view: bool
    """Reads the int8 view of an int16 value, not the value itself."""
    input_bound: int
    """Largest |input|: 128 for int8 and views, 32768 for int16."""

    @property
    def density(self) -> float:
        """Fraction of the weights that the mask keeps; 1.0 without a mask."""
        return 1.0 if self.mask is None else float(self.mask.keep.mean())


@dataclass(frozen=True, eq=False)
class Requant:
    """p = sat16(rr(s * multipliers, post_shift)), s = rr(acc, pre_shift), multipliers [rows] in 0..2^14."""

    multipliers: IntArray
    pre_shift: int
    post_shift: int
    saturates: bool = False
    """s = sat16(rr(acc, pre_shift)): some accumulator could leave int16 there, where p is at its limit."""


@dataclass(frozen=True, eq=False)
class JointRequant:
    """p = sat16(rr(rr(ax, sx)*Mx + rr(ah, sh)*Mh, post_shift)): two accumulators, one rounding at the end."""

    input_multipliers: IntArray
    recurrent_multipliers: IntArray
    input_pre_shift: int
    recurrent_pre_shift: int
    post_shift: int


@dataclass(frozen=True, eq=False)
class QLstm:
    """Rows i o f c~; `cell_bits` fraction bits in the int16 cell state."""

    x: str
    h: str
    c: str
    h_next: QValue
    c_next: QValue
    input: QMatrix
    recurrent: QMatrix
    bias: IntArray
    requant: JointRequant
    cell_bits: int
    recurrent_input: str | None = None
    """What the recurrent matrix reads in place of h: a QDense of h, or a QHold's value as `x` then is."""


@dataclass(frozen=True, eq=False)
class QGru:
    """Rows z r n. With linear_before_reset the n rows are requantized apart (`candidate_*_shift`)."""

    x: str
    h: str
    h_next: QValue
    input: QMatrix
    recurrent: QMatrix
    input_bias: IntArray
    recurrent_bias: IntArray
    """[3H]; zero but for the n rows under linear_before_reset."""
    requant: JointRequant
    candidate_input_shift: int
    candidate_recurrent_shift: int
    linear_before_reset: bool
    recurrent_input: str | None = None


@dataclass(frozen=True, eq=False)
class QRnn:
    """h' = tanh(p) in Q0.15, or relu(p) in the calibrated scale of its state."""

    x: str
    h: str
    h_next: QValue
    input: QMatrix
    recurrent: QMatrix
    bias: IntArray
    requant: JointRequant
    relu: bool
    recurrent_input: str | None = None


@dataclass(frozen=True, eq=False)
class QDense:
    """y = sat16(requant(W x + b)), at least 0 where a relu follows."""

    x: str
    y: QValue
    matrix: QMatrix
    bias: IntArray
    requant: Requant
    relu: bool


@dataclass(frozen=True, eq=False)
class QConv:
    """y[p] = sat16(requant(W x[window at p] + b)) at every position p, at least 0 where a relu follows.

    Rows of W are [taps * channels]. Depthwise: row c is [taps], and reads channel c alone.
    """

    x: str
    y: QValue
    matrix: QMatrix
    bias: IntArray
    requant: Requant
    relu: bool
    window: Window
    depthwise: bool
