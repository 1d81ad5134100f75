"""The operations of the QModel on the numbers of one step that have no weight matrix (docs/numerics.md, 5).

a, b, x and y are int16. |multipliers| <= 2^14, and every product, sum and rounding fits int32.
"""

from dataclasses import dataclass
from typing import Literal

from stepcell.ir.qvalue import IntArray, QValue


@dataclass(frozen=True, eq=False)
class QLookup:
    """y = T[i] + rr((T[i+1] - T[i]) * d, shift), i = (x + 32768) >> shift, d = the bits below.

    `table` has 2^(16-shift) + 1 entries, int16.
    """

    x: str
    y: QValue
    table: IntArray
    shift: int


@dataclass(frozen=True, eq=False)
class QOctaves:
    """The same on octaves of 32 segments: v = |x|, k = max(0, bits of v - 6), i = 32k + (v >> k), d below.

    sign: `none`: v = max(0, x); `even`: y(-x) = y(x); `odd`: y(-x) = -y(x). 353 entries, int16.
    """

    x: str
    y: QValue
    table: IntArray
    sign: Literal["none", "even", "odd"]


@dataclass(frozen=True)
class QLinear:
    """y = clamp(rr(x * multiplier + offset, shift), least, greatest); |offset| < 2^30."""

    x: str
    y: QValue
    multiplier: int
    offset: int
    shift: int
    least: int
    greatest: int


@dataclass(frozen=True)
class QLeaky:
    """y = sat16(rr(x * (negative if x < 0 else positive), shift))."""

    x: str
    y: QValue
    positive: int
    negative: int
    shift: int


@dataclass(frozen=True)
class QAbs:
    """y = min(32767, |x|), in x's scale."""

    x: str
    y: QValue


@dataclass(frozen=True)
class QMin:
    """y = min(a, b), all three of one scale."""

    a: str
    b: str
    y: QValue


@dataclass(frozen=True)
class QDiv:
    """y = sat16(rr(floor(|a| * multiplier / max(1, |b|)), shift)) with the sign of a/b.

    0 <= multiplier < 2^16; a divisor of 0 counts as 1.
    """

    a: str
    b: str
    y: QValue
    multiplier: int
    shift: int


@dataclass(frozen=True)
class QHypot:
    """y = sat16(rr(root(a*a + b*b) * multiplier, shift)), a and b of one scale; root is rounded."""

    a: str
    b: str
    y: QValue
    multiplier: int
    shift: int


@dataclass(frozen=True)
class QReduce:
    """Over the last axis of x [..., n]. max, min: as they are, in x's scale.

    sum:  a = rr(sum of x, pre_shift),
          y = sat16(rr((a >> 8) * multiplier + (((a & 255) * multiplier) >> 8), shift))
    norm: y = sat16(rr(root(sum of rr(x*x, pre_shift)) * multiplier, shift))
    """

    x: str
    y: QValue
    kind: Literal["sum", "norm", "max", "min"]
    pre_shift: int = 0
    multiplier: int = 0
    shift: int = 0


@dataclass(frozen=True)
class QSoftmax:
    """Over the last axis: t = min(rr((max - x) * multiplier, shift), 2^17 - 1), y = 2^(-t / 4096) / sum.

    y is Q0.15.
    e = 2^(-t / 4096) has `fraction` bits, so that the sum of a row fits 32 (docs/numerics.md).
    """

    x: str
    y: QValue
    multiplier: int
    shift: int
    fraction: int


@dataclass(frozen=True)
class QArgMax:
    """y = the index of the largest of the last axis, the lowest of equal ones: a token."""

    x: str
    y: QValue


@dataclass(frozen=True, eq=False)
class QNormalize:
    """Over the last axis, n <= 2^14 elements, to mean 0 and variance 1, then times gain, plus bias.

    c = n*x - sum of x;  k = max(least_shift, bits of the largest c - 15);  d = rr(c, k), c * 2^-k for k < 0
    w = max(1, sum of rr(d*d, square_shift) + epsilon * 2^(epsilon_exponent - 2k))        below 2^31
    z = sat16(d / sqrt(w) * 2^(15 - ceil(square_shift / 2)))          (docs/numerics.md has every bit of it)
    y = sat16(rr(z * gain + bias, shift))
    """

    x: str
    y: QValue
    gain: IntArray
    bias: IntArray
    shift: int
    square_shift: int
    least_shift: int
    epsilon: int
    epsilon_exponent: int


@dataclass(frozen=True, eq=False)
class QEmbed:
    """y = table[min(max(token, 0), rows - 1)]; table [rows, width] int8 or int16, as wide as y."""

    token: str
    y: QValue
    table: IntArray


@dataclass(frozen=True)
class QRepeat:
    """y = outer copies of (every element of x inner times): what broadcasting makes of x."""

    x: str
    y: QValue
    outer: int
    inner: int


QUnary = QLookup | QOctaves | QLinear | QLeaky | QAbs | QReduce | QSoftmax | QArgMax | QNormalize | QRepeat
QFunctional = QUnary | QMin | QDiv | QHypot | QEmbed
