"""The integer arithmetic of docs/numerics.md in ONNX operators, on int32 tensors.

BitShift shifts only unsigned numbers, and Div truncates. An arithmetic shift is therefore written as
BitwiseAnd with -2^s, which floors to a multiple of 2^s in two's complement, and a Div without remainder.
"""

import numpy as np

from stepcell.exporters.integer_writer import Writer
from stepcell.reference.arithmetic import INT16_MAX, INT16_MIN, sigmoid_table


def rr(w: Writer, v: str, shift: int) -> str:
    """Divide by 2^shift, rounding to nearest with ties towards +infinity."""
    if shift == 0:
        return v
    return shift_right(w, w.node("Add", v, w.int32(1 << (shift - 1))), shift)


def shift_right(w: Writer, v: str, shift: int) -> str:
    """v >> shift, arithmetic."""
    return w.node("Div", w.node("BitwiseAnd", v, w.int32(-(1 << shift))), w.int32(1 << shift))


def sat16(w: Writer, v: str) -> str:
    """Clamp to int16."""
    return w.node("Clip", v, w.int32(INT16_MIN), w.int32(INT16_MAX))


def view8(w: Writer, v: str) -> str:
    """The int8 view of an int16 value: min(127, (v + 128) >> 8)."""
    return w.node("Min", rr(w, v, 8), w.int32(127))


def floor_divide(w: Writer, a: str, b: str) -> str:
    """floor(a / b) for b > 0: Mod takes the sign of b, so that Div leaves no remainder."""
    return w.node("Div", w.node("Sub", a, w.node("Mod", a, b)), b)


def sigmoid_of_every_int16(w: Writer) -> str:
    """sigmoid(p) for all 65,536 p, interpolated from the 257 entries of the contract: int32 [65536].

    It starts at p = 0 and ends with p = -1, because Gather counts negative indices from the end.
    """
    table = sigmoid_table().astype(np.int32)
    p = w.node("Concat", _range(w, 0, 1 << 15), _range(w, -(1 << 15), 0), axis=0)
    i = w.node("Add", shift_right(w, p, 8), w.int32(128))
    start = w.node("Gather", w.int32(table), i)
    rise = w.node("Gather", w.int32(np.diff(table)), i)
    part = w.node("Mul", rise, w.node("BitwiseAnd", p, w.int32(255)))
    return w.node("Add", start, rr(w, part, 8), name="sigmoid_of_every_int16")


def tanh_of_every_int16(w: Writer, sigmoids: str) -> str:
    """tanh(p) = 2*sigmoid(sat16(2p)) - 32768 for all p, in the order of `sigmoids`."""
    p = w.node("Concat", _range(w, 0, 1 << 15), _range(w, -(1 << 15), 0), axis=0)
    argument = sat16(w, w.node("Mul", p, w.int32(2)))
    doubled = w.node("Mul", w.node("Gather", sigmoids, argument), w.int32(2))
    return w.node("Sub", doubled, w.int32(1 << 15), name="tanh_of_every_int16")


def _range(w: Writer, start: int, stop: int) -> str:
    return w.node("Range", w.int32(start), w.int32(stop), w.int32(1))
