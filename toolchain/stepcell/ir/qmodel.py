"""The QModel: the integer network, with every number that the chip computes with.

Every value is an int8 or int16 array with one real scale (real = stored * scale) and zero point 0. A
matrix reads an int8 value as it is, an int16 value as it is, or the rounded int8 *view* of an int16
value. Rows stay in the Model's order; only `lower` permutes them. docs/numerics.md is the contract.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.model import Mask

NUMERICS_VERSION = 1

IntArray = NDArray[np.int64]
Bits = Literal[8, 16, 32]


@dataclass(frozen=True)
class QValue:
    """An integer value: per-step shape, storage bits, and the real size of one unit."""

    name: str
    shape: tuple[int, ...]
    bits: Bits
    scale: float

    @property
    def size(self) -> int:
        """Number of elements in one step."""
        return int(np.prod(self.shape, dtype=np.int64))


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
    """p = sat16(rr(rr(acc, pre_shift) * multipliers, post_shift)), multipliers [rows] in 0..2^14."""

    multipliers: IntArray
    pre_shift: int
    post_shift: int


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
    held: str | None = None
    """What the recurrent matrix reads in place of h's view: a QHold's value; `x` is then one, too."""


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
    held: str | None = None


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
    held: str | None = None


@dataclass(frozen=True, eq=False)
class QDense:
    """y = sat16(requant(W x + b)), at least 0 where a relu follows."""

    x: str
    y: QValue
    matrix: QMatrix
    bias: IntArray
    requant: Requant
    relu: bool


@dataclass(frozen=True)
class QActivate:
    """relu keeps the scale; sigmoid and tanh map Q4.11 to Q0.15 through the table."""

    x: str
    y: QValue
    function: Literal["relu", "sigmoid", "tanh"]


@dataclass(frozen=True)
class QAdd:
    """y = sat16(rr(a*a_multiplier + b*b_multiplier, shift)); |multipliers| <= 2^14, negative to subtract."""

    a: str
    b: str
    y: QValue
    a_multiplier: int
    b_multiplier: int
    shift: int


@dataclass(frozen=True)
class QMul:
    """y = sat16(rr(rr(a*b, 15)*multiplier, shift)), 0 <= multiplier <= 2^14."""

    a: str
    b: str
    y: QValue
    multiplier: int
    shift: int


@dataclass(frozen=True)
class QMax:
    """y = max(a, b), all three of one scale."""

    a: str
    b: str
    y: QValue


@dataclass(frozen=True)
class QRescale:
    """y = sat16(rr(x*multiplier, shift)): the same real value in another scale."""

    x: str
    y: QValue
    multiplier: int
    shift: int


@dataclass(frozen=True, eq=False)
class QConstant:
    """y = the int16 array `values`."""

    y: QValue
    values: IntArray


@dataclass(frozen=True)
class QTake:
    """y.flat[i] = x.flat[indices[i]]."""

    x: str
    y: QValue
    indices: tuple[int, ...]


@dataclass(frozen=True)
class QConcat:
    """y.flat = the flat inputs one after the other, all of one scale and width."""

    xs: tuple[str, ...]
    y: QValue


@dataclass(frozen=True)
class QTotal:
    """total' = total + x while count < MAX_STEPS_OF_A_MEAN, else total: the int32 sum of a running mean."""

    total: str
    count: str
    x: str
    y: QValue


@dataclass(frozen=True)
class QCount:
    """count' = min(count + 1, MAX_STEPS_OF_A_MEAN)."""

    x: str
    y: QValue


@dataclass(frozen=True)
class QMean:
    """y = floor((2*total + n) / (2*n)), n = max(count, 1): the mean, rounded half up."""

    total: str
    count: str
    y: QValue


@dataclass(frozen=True)
class QHold:
    """held' = where(|v - held| > threshold, v, held), v being the int8 value x or the view of an int16 x.

    Only recurrent layers read it: the C adds to their sums the columns that changed (docs/kernels.md, Delta).
    """

    x: str
    held: str
    y: QValue
    threshold: int
    reads_view: bool


MAX_STEPS_OF_A_MEAN = 32767
"""2 * 32767 steps of |x| <= 32768 stay below 2^31 (2*total + n fits int32 in its magnitude as uint32)."""

QRecurrent = QLstm | QGru | QRnn
QOp = (
    QLstm
    | QGru
    | QRnn
    | QDense
    | QActivate
    | QAdd
    | QMul
    | QMax
    | QRescale
    | QConstant
    | QTake
    | QConcat
    | QTotal
    | QCount
    | QMean
    | QHold
)


@dataclass(frozen=True, eq=False)
class QState:
    """A named integer state and where a sequence starts."""

    value: QValue
    initial: IntArray


@dataclass(frozen=True, eq=False)
class QModel:
    """One forward stage and its finish, in integers."""

    name: str
    input: QValue
    states: tuple[QState, ...]
    ops: tuple[QOp, ...]
    updates: tuple[tuple[str, str], ...]
    finish: tuple[QOp, ...]
    output: QValue
    output_is_finished: bool
    """The output comes from `finish` (read when asked), not from every step."""
    left_to_caller: str | None
    """What the float model does after `output` and the chip does not: `softmax`, or nothing."""
    choices: Mapping[str, str]
    """Why things are as they are, in words, for the manifest."""


def q_reads(op: QOp) -> tuple[str, ...]:
    """Names of the values and states that an operation reads."""
    match op:
        case QLstm():
            return (op.x, op.h, op.c, *_held(op))
        case QGru() | QRnn():
            return (op.x, op.h, *_held(op))
        case QAdd() | QMul() | QMax():
            return (op.a, op.b)
        case QConcat():
            return op.xs
        case QTotal():
            return (op.total, op.count, op.x)
        case QMean():
            return (op.total, op.count)
        case QConstant():
            return ()
        case QHold():
            return (op.x, op.held)
        case _:
            return (op.x,)


def _held(op: QRecurrent) -> tuple[str, ...]:
    return () if op.held is None else (op.held,)


def q_writes(op: QOp) -> tuple[QValue, ...]:
    """The values that an operation defines."""
    match op:
        case QLstm():
            return (op.h_next, op.c_next)
        case QGru() | QRnn():
            return (op.h_next,)
        case _:
            return (op.y,)


def q_matrices(op: QOp) -> tuple[QMatrix, ...]:
    """The matrices of an operation."""
    match op:
        case QLstm() | QGru() | QRnn():
            return (op.input, op.recurrent)
        case QDense():
            return (op.matrix,)
        case _:
            return ()
