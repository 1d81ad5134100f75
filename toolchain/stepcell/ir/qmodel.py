"""The QModel: the integer network, with every number that the chip computes with.

Every value is an int8 or int16 array with one real scale (real = stored * scale) and zero point 0. A
matrix reads an int8 value as it is, an int16 value as it is, or the rounded int8 *view* of an int16
value. Rows stay in the Model's order; only `lower` permutes them. docs/numerics.md is the contract.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from stepcell.ir.model import Direction
from stepcell.ir.qarithmetic import (
    MAX_STEPS_OF_A_MEAN,
    QActivate,
    QAdd,
    QConcat,
    QConstant,
    QCount,
    QHold,
    QMax,
    QMean,
    QMul,
    QRescale,
    QTake,
    QTotal,
)
from stepcell.ir.qattention import QAppend, QAttend
from stepcell.ir.qfunctions import QDiv, QEmbed, QFunctional, QHypot, QMin
from stepcell.ir.qlayers import JointRequant, QConv, QDense, QGru, QLstm, QMatrix, QRnn, Requant
from stepcell.ir.qtflite import QTflite, QTfliteDense, QTfliteLstm
from stepcell.ir.qvalue import Bits, IntArray, QValue

__all__ = [
    "MAX_STEPS_OF_A_MEAN",
    "NUMERICS_VERSION",
    "Bits",
    "IntArray",
    "JointRequant",
    "QActivate",
    "QAdd",
    "QAppend",
    "QAttend",
    "QConcat",
    "QConstant",
    "QConv",
    "QCount",
    "QDense",
    "QFunction",
    "QGru",
    "QHold",
    "QLstm",
    "QMatrix",
    "QMax",
    "QMean",
    "QModel",
    "QMul",
    "QOp",
    "QOutput",
    "QRecurrent",
    "QRescale",
    "QRnn",
    "QStage",
    "QState",
    "QTake",
    "QTotal",
    "QValue",
    "Requant",
    "q_matrices",
    "q_reads",
    "q_writes",
]
"""All of a QModel is found here."""

NUMERICS_VERSION = 1

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
    | QAppend
    | QAttend
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


def q_reads(op: QOp) -> tuple[str, ...]:  # noqa: C901, PLR0912  # one short case an operation
    """Names of the values and states that an operation reads."""
    match op:
        case QLstm():
            return (op.x, op.h, op.c, *_factor(op))
        case QTfliteLstm():
            return (op.x, op.h, op.c)
        case QGru() | QRnn():
            return (op.x, op.h, *_factor(op))
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
        case QAppend():
            return (op.memory, op.count, op.x)
        case QAttend():
            return (op.query, op.keys, op.values, op.count)
        case QConstant():
            return ()
        case QHold():
            return (op.x, op.held)
        case _:
            return (op.x,)


def _factor(op: QRecurrent) -> tuple[str, ...]:
    return () if op.recurrent_input is None else (op.recurrent_input,)


def q_recurrent_operand(op: QRecurrent) -> str:
    """The value that the recurrent matrix reads: h, a factor's product, or what is held of h."""
    return op.h if op.recurrent_input is None else op.recurrent_input


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
