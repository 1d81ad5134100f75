"""Memories of a bounded number of rows, and attention over them, in integers (docs/numerics.md, 5)."""

from dataclasses import dataclass

from stepcell.ir.qvalue import QValue

LONGEST_MEMORY = 1 << 14
"""Rows, and elements of a row: sums over either fit int32."""


@dataclass(frozen=True)
class QAppend:
    """y = memory [S, ...] with row `count` replaced by x; from count = S on, y = memory.

    x is int16. An int8 memory takes its int8 view, an int16 memory x as it is.
    """

    memory: str
    count: str
    x: str
    y: QValue


@dataclass(frozen=True)
class QAttend:
    """The mean of the first n = max(1, min(count, S)) rows of `values`, weighted by the softmax of scores.

    a_s = sum of q * k_s, q the int8 view of the query (`reads_view`: int8 keys),
          sum of rr(q * k_s, product_shift) for int16 keys
    t_s = min(rr(min(rr(max of a - a_s, pre_shift), 65535) * multiplier, shift), 2^17 - 1)
    w_s = rr(e_s, bits of the sum of e - 15), e_s = 2^(-t_s / 4096) with `fraction` bits;  W = sum of w_s
    m   = rr(sum of w_s * v_s, value_shift): |m| <= W;  value_shift 7 for int8 values, 15 for int16 ones
    y   = sat16(rr(m * floor((mean_multiplier * 2^16 + floor(W / 2)) / W), mean_shift))
    """

    query: str
    keys: str
    values: str
    count: str
    y: QValue
    reads_view: bool
    product_shift: int
    pre_shift: int
    multiplier: int
    shift: int
    fraction: int
    value_shift: int
    mean_multiplier: int
    mean_shift: int
