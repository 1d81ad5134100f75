"""Memories and attention once more, in plain Python integers, one number at a time.

Written from the documentation of the numerics; every intermediate result goes through `i32` or `u32`.
"""

from collections.abc import Mapping

from scalar_functions import Vector, i32, power_of_half, rr, sat16, u32
from stepcell.ir.qattention import QAppend, QAttend


def view(v: int) -> int:
    """int16 -> int8."""
    return min(127, (v + 128) >> 8)


def append(op: QAppend, memory: Vector, count: int, x: Vector) -> Vector:
    """The memory, flat."""
    row = [view(v) for v in x] if op.y.bits == 8 else x
    at = count * len(x)
    return memory[:at] + row + memory[at + len(row) :] if at < len(memory) else memory


def weights(op: QAttend, query: Vector, keys: Vector, n: int) -> Vector:
    """Of the first n rows."""
    q = [view(v) for v in query] if op.reads_view else query
    scores = []
    for s in range(n):
        products = (
            rr(i32(a * k), op.product_shift)
            for a, k in zip(q, keys[s * len(q) : (s + 1) * len(q)], strict=True)
        )
        scores.append(i32(sum(products)))
    below = [min(65535, rr(i32(max(scores) - a), op.pre_shift)) for a in scores]
    exponents = [min(2**17 - 1, rr(i32(b * op.multiplier), op.shift)) for b in below]
    e = [power_of_half(t, op.fraction) for t in exponents]
    total = sum(e)
    assert total <= 2**31
    return [rr(v, total.bit_length() - 15) for v in e]


def attend(op: QAttend, query: Vector, keys: Vector, values: Vector, count: int) -> Vector:
    """y, flat; whatever order the rows are summed in fits int32."""
    rows = len(keys) // len(query)
    n, width = max(1, min(count, rows)), op.y.size
    w = weights(op, query, keys, n)
    total = sum(w)
    factor = u32(u32(op.mean_multiplier << 16) + total // 2) // total
    y = []
    for k in range(width):
        terms = [w[s] * values[s * width + k] for s in range(n)]
        i32(sum(map(abs, terms)))
        m = rr(sum(terms), op.value_shift)
        assert abs(m) <= total
        y.append(sat16(rr(i32(m * factor), op.mean_shift)))
    return y


def evaluate(op: QAppend | QAttend, values: Mapping[str, Vector]) -> Vector:
    """What `op` gives, flat."""
    if isinstance(op, QAppend):
        return append(op, values[op.memory], values[op.count][0], values[op.x])
    operands = (values[op.query], values[op.keys], values[op.values])
    return attend(op, *operands, values[op.count][0])
