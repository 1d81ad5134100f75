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

from stepcell.ir.model import Direction, Mask
from stepcell.ir.qfunctions import (
    QDiv,
    QEmbed,
    QFunctional,
    QHypot,
    QMin,
)
from stepcell.ir.qtflite import QTflite, QTfliteDense, QTfliteLstm
from stepcell.ir.qvalue import Bits as Bits  # noqa: PLC0414 - all of a QModel is found here
from stepcell.ir.qvalue import IntArray as IntArray  # noqa: PLC0414 - all of a QModel is found here
from stepcell.ir.qvalue import QValue as QValue  # noqa: PLC0414 - all of a QModel is found here
from stepcell.ir.window import Window

NUMERICS_VERSION = 1


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
    """y.flat[i] = x.flat[indices[i]], zero where the index is -1."""

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
    | QConv
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
    | QFunctional
    | QTflite
)


@dataclass(frozen=True, eq=False)
class QState:
    """A named integer state and where a sequence starts."""

    value: QValue
    initial: IntArray


@dataclass(frozen=True, eq=False)
class QStage:
    """Operations over one sequence, forwards or backwards; `inputs` are the function's or an earlier stage's.

    `outputs` are the values that leave it at every step: outputs of the function, and what later stages read.
    """

    name: str
    inputs: tuple[QValue, ...]
    ops: tuple[QOp, ...]
    updates: tuple[tuple[str, str], ...]
    """(state, value): what each state becomes after the step."""
    outputs: tuple[QValue, ...]
    direction: Direction = "forward"


@dataclass(frozen=True)
class QOutput:
    """What a function gives: at every step, or (`finished`) once a sequence, from `finish`."""

    value: QValue
    finished: bool
    left_to_caller: str | None = None
    """What the float model does after it and the chip does not: `softmax`, or nothing."""


@dataclass(frozen=True, eq=False)
class QFunction:
    """What the user calls. One forward stage is a step; several run over a whole sequence."""

    name: str
    inputs: tuple[QValue, ...]
    stages: tuple[QStage, ...]
    finish: tuple[QOp, ...]
    outputs: tuple[QOutput, ...]
    frames_per_step: int = 1
    """Frames of the source that one step takes in; they are then the leading axis of every input."""

    @property
    def is_step(self) -> bool:
        """Whether it can be called a step at a time."""
        return len(self.stages) == 1 and self.stages[0].direction == "forward"

    @property
    def all_ops(self) -> tuple[QOp, ...]:
        """The operations of every stage and of `finish`."""
        return (*(op for stage in self.stages for op in stage.ops), *self.finish)


@dataclass(frozen=True, eq=False)
class QModel:
    """The integer network: functions sharing states; several run one after the other, states carried on."""

    name: str
    functions: tuple[QFunction, ...]
    states: tuple[QState, ...]
    choices: Mapping[str, str]
    """Why things are as they are, in words, for the manifest."""

    @property
    def main(self) -> QFunction:
        """The only function of a model that has one."""
        if len(self.functions) != 1:
            raise ValueError(f"{self.name} has {len(self.functions)} functions")
        return self.functions[0]

    def function(self, name: str | None) -> QFunction:
        """The function called `name`; the only one for None."""
        return self.main if name is None else next(f for f in self.functions if f.name == name)

    @property
    def all_ops(self) -> tuple[QOp, ...]:
        """The operations of every function."""
        return tuple(op for function in self.functions for op in function.all_ops)


def q_reads(op: QOp) -> tuple[str, ...]:  # noqa: C901  # one short case an operation
    """Names of the values and states that an operation reads."""
    match op:
        case QLstm():
            return (op.x, op.h, op.c, *_held(op))
        case QTfliteLstm():
            return (op.x, op.h, op.c)
        case QGru() | QRnn():
            return (op.x, op.h, *_held(op))
        case QAdd() | QMul() | QMax() | QMin() | QDiv() | QHypot():
            return (op.a, op.b)
        case QEmbed():
            return (op.token,)
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
        case QLstm() | QTfliteLstm():
            return (op.h_next, op.c_next)
        case QGru() | QRnn():
            return (op.h_next,)
        case _:
            return (op.y,)


def q_matrices(op: QOp) -> tuple[QMatrix, ...]:
    """The matrices of an operation."""
    match op:
        case QLstm() | QGru() | QRnn() | QTfliteLstm():
            return (op.input, op.recurrent)
        case QDense() | QConv() | QTfliteDense():
            return (op.matrix,)
        case _:
            return ()
