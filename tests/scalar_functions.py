"""The contract of ir/qfunctions.py once more, in plain Python integers, one row or number at a time."""

import math
from collections.abc import Callable, Mapping

from stepcell.ir import qfunctions as f

Vector = list[int]


def i32(v: int) -> int:
    """v, which has to fit int32."""
    assert -(2**31) <= v < 2**31, f"{v} leaves int32"
    return v


def u32(v: int) -> int:
    """v, which has to fit uint32."""
    assert 0 <= v < 2**32, f"{v} leaves uint32"
    return v


def rr(v: int, s: int) -> int:
    """Rounded v / 2^s, ties up."""
    return i32(v) if s == 0 else i32(i32(v) + (1 << (s - 1))) >> s


def sat16(v: int) -> int:
    """Clamp."""
    return min(32767, max(-32768, i32(v)))


def lookup(op: f.QLookup, v: int) -> int:
    """Between entries in equal steps."""
    i, d = divmod(v + 32768, 1 << op.shift)
    a, b = int(op.table[i]), int(op.table[i + 1])
    return a + rr(i32((b - a) * d), op.shift)


def octaves(op: f.QOctaves, x: int) -> int:
    """Between entries of an octave."""
    v = min(32767, max(0, x) if op.sign == "none" else abs(x))
    k = max(0, v.bit_length() - 6)
    u, d = divmod(v, 1 << k)
    a, b = int(op.table[32 * k + u]), int(op.table[32 * k + u + 1])
    y = a + rr(i32((b - a) * d), k)
    return sat16(-y) if op.sign == "odd" and x < 0 else y


def root(v: int) -> int:
    """The nearest integer to the square root."""
    r = math.isqrt(u32(v))
    return r + (v - r * r > r)


def divide(op: f.QDiv, a: int, b: int) -> int:
    """The quotient towards zero, rounded by the shift."""
    quotient = u32(u32(abs(a) * op.multiplier) // max(1, abs(b)))
    y = min(32767, u32(quotient + ((1 << op.shift) >> 1)) >> op.shift)
    return -y if (a < 0) != (b < 0) else y


def reduce(op: f.QReduce, x: Vector) -> Vector:
    """One row to one number."""
    if op.kind in ("max", "min"):
        return [max(x) if op.kind == "max" else min(x)]
    if op.kind == "sum":
        high, low = divmod(rr(sum(x), op.pre_shift), 256)
        product = i32(i32(high * op.multiplier) + (low * op.multiplier >> 8))
    else:
        product = i32(root(u32(sum(rr(v * v, op.pre_shift) for v in x))) * op.multiplier)
    return [sat16(rr(product, op.shift))]


def power_of_half(t: int, fraction: int) -> int:
    """2^(-t / 4096) with `fraction` bits."""
    table = [round(32768 * 2 ** (-j / 32)) for j in range(33)]
    j, d = divmod(t & 4095, 128)
    return u32((table[j] - rr((table[j] - table[j + 1]) * d, 7)) << (fraction - 15)) >> (t >> 12)


def softmax(op: f.QSoftmax, x: Vector) -> Vector:
    """One row."""
    exponents = [min(rr(i32((max(x) - v) * op.multiplier), op.shift), 2**17 - 1) for v in x]
    e = [power_of_half(t, op.fraction) for t in exponents]
    total = u32(sum(e))
    k = max(0, total.bit_length() - 16)
    inverse = 2**31 // (total >> k)
    return [min(32767, u32((v >> k) * inverse + 2**15) >> 16) for v in e]


def normalize(op: f.QNormalize, x: Vector) -> Vector:
    """One row."""
    n, total = len(x), sum(x)
    c = [i32(n * v - total) for v in x]
    k = max(op.least_shift, max(v ^ (v >> 31) for v in c).bit_length() - 15)
    d = [rr(v, k) if k >= 0 else i32(v << -k) for v in c]
    by = op.epsilon_exponent - 2 * k
    w = u32(op.epsilon << by) if by >= 0 else op.epsilon >> min(-by, 31)
    w = max(1, u32(w + sum(rr(i32(v * v), op.square_shift) for v in d)))
    assert w < 2**31 + 2**30
    j = (32 - w.bit_length()) // 2
    r = min(65535, root(w << (2 * j)))
    inverse = (2**30 + r // 2) // r
    z = [sat16(rr(i32(v * inverse), 15 - j + (op.square_shift + 1) // 2)) for v in d]
    return [
        sat16(rr(i32(v * int(g) + int(b)), op.shift)) for v, g, b in zip(z, op.gain, op.bias, strict=True)
    ]


def evaluate(op: f.QFunctional, values: Mapping[str, Vector]) -> Vector:
    """What `op` gives, flat."""
    match op:
        case f.QEmbed():
            rows = [op.table[min(max(t, 0), len(op.table) - 1)] for t in values[op.token]]
            return [int(v) for row in rows for v in row]
        case f.QMin():
            return [min(pair) for pair in zip(values[op.a], values[op.b], strict=True)]
        case f.QDiv():
            return [divide(op, a, b) for a, b in zip(values[op.a], values[op.b], strict=True)]
        case f.QHypot():
            pairs = zip(values[op.a], values[op.b], strict=True)
            return [sat16(rr(i32(root(u32(a * a + b * b)) * op.multiplier), op.shift)) for a, b in pairs]
        case f.QRepeat():
            return [v for _ in range(op.outer) for v in values[op.x] for _ in range(op.inner)]
        case f.QReduce() | f.QSoftmax() | f.QNormalize() | f.QArgMax():
            one = isinstance(op, f.QReduce | f.QArgMax)
            return _over_rows(op, values[op.x], len(values[op.x]) // op.y.size if one else op.y.shape[-1])
        case _:
            return [_element(op, v) for v in values[op.x]]


def _over_rows(op: f.QReduce | f.QSoftmax | f.QNormalize | f.QArgMax, x: Vector, n: int) -> Vector:
    rows = [x[at : at + n] for at in range(0, len(x), n)]
    match op:
        case f.QReduce():
            return [v for row in rows for v in reduce(op, row)]
        case f.QSoftmax():
            return [v for row in rows for v in softmax(op, row)]
        case f.QNormalize():
            return [v for row in rows for v in normalize(op, row)]
        case f.QArgMax():
            return [row.index(max(row)) for row in rows]


def _element(op: f.QFunctional, v: int) -> int:
    functions: dict[type, Callable[[], int]] = {
        f.QLookup: lambda: lookup(op, v),  # type: ignore[arg-type]
        f.QOctaves: lambda: octaves(op, v),  # type: ignore[arg-type]
        f.QAbs: lambda: min(32767, abs(v)),
    }
    match op:
        case f.QLinear():
            y = rr(i32(i32(v * op.multiplier) + op.offset), op.shift)
            return min(op.greatest, max(op.least, y))
        case f.QLeaky():
            return sat16(rr(i32(v * (op.negative if v < 0 else op.positive)), op.shift))
        case _:
            return functions[type(op)]()
