"""Operations of an already quantized TensorFlow Lite file, with the file's own scales and zero points.

They compute what its interpreter computes, bit for bit (docs/numerics.md, "Already quantized sources").
Zero points of what a matrix reads are folded into its biases; those of results are part of the operation.
"""

from dataclasses import dataclass

from stepcell.ir.qlayers import QMatrix
from stepcell.ir.qvalue import IntArray, QValue


@dataclass(frozen=True, eq=False)
class QFixed:
    """Factors multiplier * 2^(shift - 31); multipliers in 2^30 .. 2^31 - 1, or 0."""

    multipliers: IntArray
    shifts: IntArray


@dataclass(frozen=True, eq=False)
class QTfliteLstm:
    """Gates in Q3.12, c in int16 with `cell_bits` fraction bits, h in int8. Rows i o f c~.

    p = sat16(sat16(ax * input_factors) + ah * recurrent_factors), one factor a gate
    c' = clip(sat16(away(f*c, 15) + away(i*g, 30 - cell_bits)), cell_limit)
    h' = sat8(o * tanh(c') * hidden_factor + hidden_zero_point)
    """

    x: str
    h: str
    c: str
    h_next: QValue
    c_next: QValue
    input: QMatrix
    recurrent: QMatrix
    input_bias: IntArray
    recurrent_bias: IntArray
    input_factors: QFixed
    recurrent_factors: QFixed
    hidden_factor: QFixed
    hidden_zero_point: int
    cell_bits: int
    cell_limit: int
    """|c'| is at most this; 32768 where nothing is clipped."""


@dataclass(frozen=True, eq=False)
class QTfliteDense:
    """y = clamp(((W x + bias) * multiplier + half) >> (31 - shift)) + zero_point, one factor a row; int8."""

    x: str
    y: QValue
    matrix: QMatrix
    bias: IntArray
    factors: QFixed
    zero_point: int
    least: int
    greatest: int


@dataclass(frozen=True, eq=False)
class QTfliteTable:
    """y = table[x + 128]: any function of an int8 value, to int8."""

    x: str
    y: QValue
    table: IntArray


QTflite = QTfliteLstm | QTfliteDense | QTfliteTable
