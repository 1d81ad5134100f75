"""The operations of the QModel on single elements: arithmetic, what moves them, running sums, held values."""

from dataclasses import dataclass
from typing import Literal

from stepcell.ir.qvalue import IntArray, QValue


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
