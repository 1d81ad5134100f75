"""The integer contract once more, in plain Python integers, one number at a time.

Written from the documentation of the numerics, not from the vectorised reference, and slow: every
intermediate result goes through `i32`, which fails where it leaves the range of int32.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import scalar_attention
import scalar_functions
from stepcell.ir import qmodel as q
from stepcell.ir.qfunctions import QFunctional
from stepcell.ir.qtflite import QTfliteLstm

Vector = list[int]


def i32(v: int) -> int:
    """v, which has to fit int32."""
    assert -(2**31) <= v < 2**31, f"{v} leaves int32"
    return v


def i16(v: int) -> int:
    """v, which has to fit int16."""
    assert -(2**15) <= v < 2**15, f"{v} leaves int16"
    return v


def rr(v: int, s: int) -> int:
    """Rounded v / 2^s, ties up."""
    return i32(v) if s == 0 else i32(i32(v) + (1 << (s - 1))) >> s


def sat16(v: int) -> int:
    """Clamp."""
    return min(32767, max(-32768, i32(v)))


def view(v: int) -> int:
    """int16 -> int8."""
    return min(127, i32(v + 128) >> 8)


TABLE = [min(32767, round(32768 / (1 + math.exp(-(k - 128) / 8)))) for k in range(257)]


def sigmoid(p: int) -> int:
    """Q4.11 -> Q0.15."""
    i, d = (i16(p) >> 8) + 128, p & 255
    return i16(TABLE[i] + rr(i32((TABLE[i + 1] - TABLE[i]) * d), 8))


def tanh(p: int) -> int:
    """Q4.11 -> Q0.15."""
    return i16(2 * sigmoid(sat16(2 * p)) - 32768)


def row(matrix: q.QMatrix, r: int, x: Sequence[int], start: int = 0) -> int:
    """One accumulator; its partial sums fit int32 in any order, because the sum of magnitudes does."""
    acc, reach = i32(start), abs(start)
    for w, v in zip(matrix.weights[r].tolist(), x, strict=True):
        seen = view(v) if matrix.reads_view else v
        assert abs(seen) <= matrix.input_bound
        acc, reach = i32(acc + i32(w * seen)), i32(reach + abs(w * seen))
    return acc


def part(acc: int, shift: int, multiplier: int) -> int:
    """The shifted accumulator has 16 bits, its product 32."""
    return i32(i16(rr(acc, shift)) * int(multiplier))


def joint(requant: q.JointRequant, r: int, ax: int, ah: int) -> int:
    """Pre-activation of row r."""
    x = part(ax, requant.input_pre_shift, requant.input_multipliers[r])
    h = part(ah, requant.recurrent_pre_shift, requant.recurrent_multipliers[r])
    return sat16(rr(i32(x + h), requant.post_shift))


def lstm(op: q.QLstm, x: Vector, h: Vector, c: Vector) -> tuple[Vector, Vector]:
    """(h', c')."""
    H = len(h)
    p = [
        joint(op.requant, r, row(op.input, r, x, int(op.bias[r])), row(op.recurrent, r, h))
        for r in range(4 * H)
    ]
    h_next, c_next = [], []
    for k in range(H):
        i, o, f, g = sigmoid(p[k]), sigmoid(p[H + k]), sigmoid(p[2 * H + k]), tanh(p[3 * H + k])
        new = sat16(rr(i32(i32(f * c[k]) + rr(i32(i * g), 15 - op.cell_bits)), 15))
        bits = op.cell_bits - 11
        argument = rr(new, bits) if bits >= 0 else sat16(i32(new * 2**-bits))
        c_next.append(new)
        h_next.append(i16(rr(i32(o * tanh(i16(argument))), 15)))
    return h_next, c_next


def gru(op: q.QGru, x: Vector, h: Vector, before: Vector) -> Vector:
    """h'; `before` is what the recurrent matrix reads."""
    H = len(h)
    ax = [row(op.input, r, x, int(op.input_bias[r])) for r in range(3 * H)]
    ah = [row(op.recurrent, r, before, int(op.recurrent_bias[r])) for r in range(2 * H)]
    z, reset = (
        [sigmoid(joint(op.requant, g * H + k, ax[g * H + k], ah[g * H + k])) for k in range(H)]
        for g in (0, 1)
    )
    h_next = []
    for k in range(H):
        if op.linear_before_reset:
            n = tanh(_linear_candidate(op, 2 * H + k, ax[2 * H + k], before, reset[k]))
        else:
            gated = [i16(rr(i32(a * b), 15)) for a, b in zip(reset, h, strict=True)]
            n = tanh(joint(op.requant, 2 * H + k, ax[2 * H + k], row(op.recurrent, 2 * H + k, gated)))
        h_next.append(i16(n + rr(i32(z[k] * (h[k] - n)), 15)))
    return h_next


def _linear_candidate(op: q.QGru, r: int, ax: int, h: Vector, reset: int) -> int:
    requant = op.requant
    ah = row(op.recurrent, r, h, int(op.recurrent_bias[r]))
    px = rr(part(ax, requant.input_pre_shift, requant.input_multipliers[r]), op.candidate_input_shift)
    ph = rr(
        part(ah, requant.recurrent_pre_shift, requant.recurrent_multipliers[r]), op.candidate_recurrent_shift
    )
    return sat16(i32(px + rr(i32(reset * sat16(ph)), 15)))


def rnn(op: q.QRnn, x: Vector, h: Vector) -> Vector:
    """h'."""
    p = [
        joint(op.requant, r, row(op.input, r, x, int(op.bias[r])), row(op.recurrent, r, h))
        for r in range(len(h))
    ]
    return [max(v, 0) if op.relu else tanh(v) for v in p]


def one(requant: q.Requant, r: int, acc: int) -> int:
    """One accumulator of row r."""
    shifted = rr(acc, requant.pre_shift)
    shifted = sat16(shifted) if requant.saturates else i16(shifted)
    return sat16(rr(i32(shifted * int(requant.multipliers[r])), requant.post_shift))


def dense(op: q.QDense, x: Vector) -> Vector:
    """y, of one vector or of each of several."""
    cols = op.matrix.weights.shape[1]
    y = [
        one(op.requant, r, row(op.matrix, r, x[at : at + cols], int(op.bias[r])))
        for at in range(0, len(x), cols)
        for r in range(len(op.bias))
    ]
    return [max(v, 0) for v in y] if op.relu else y


def conv(op: q.QConv, x: Vector) -> Vector:
    """y, position by position in row-major order, channels last."""
    window = op.window
    places = [
        range(-before, n + after - (k - 1) * d, s)
        for n, k, s, d, (before, after) in zip(
            window.spatial, window.kernel, window.strides, window.dilations, window.pads, strict=True
        )
    ]
    y = []
    for start in itertools.product(*places):
        taps = [_pixel(op, start, tap, x) for tap in itertools.product(*map(range, window.kernel))]
        for r in range(len(op.bias)):
            seen = [pixel[r] for pixel in taps] if op.depthwise else [v for pixel in taps for v in pixel]
            y.append(one(op.requant, r, row(op.matrix, r, seen, int(op.bias[r]))))
    return [max(v, 0) for v in y] if op.relu else y


def _pixel(op: q.QConv, start: tuple[int, ...], tap: tuple[int, ...], x: Vector) -> Vector:
    """All channels where a tap reads, zeros outside the input."""
    window, at = op.window, 0
    for begin, k, dilation, size in zip(start, tap, window.dilations, window.spatial, strict=True):
        place = begin + k * dilation
        if not 0 <= place < size:
            return [0] * window.channels
        at = at * size + place
    return x[at * window.channels : (at + 1) * window.channels]


def evaluate(op: q.QOp, values: dict[str, Vector]) -> None:
    """Add what `op` defines, as flat lists."""
    match op:
        case q.QLstm():
            values[op.h_next.name], values[op.c_next.name] = lstm(
                op, values[op.x], values[op.recurrent_input or op.h], values[op.c]
            )
        case q.QGru():
            values[op.h_next.name] = gru(op, values[op.x], values[op.h], values[op.recurrent_input or op.h])
        case q.QRnn():
            values[op.h_next.name] = rnn(op, values[op.x], values[op.recurrent_input or op.h])
        case q.QDense():
            values[op.y.name] = dense(op, values[op.x])
        case q.QConv():
            values[op.y.name] = conv(op, values[op.x])
        case q.QAppend() | q.QAttend():
            values[op.y.name] = scalar_attention.evaluate(op, values)
        case QTfliteLstm():
            raise NotImplementedError(f"{type(op).__name__} keeps TFLite's contract")
        case functional if isinstance(functional, QFunctional):
            values[functional.y.name] = scalar_functions.evaluate(functional, values)
        case _:
            values[op.y.name] = [_element(op, i, values) for i in range(op.y.size)]


def _element(op: Any, i: int, values: dict[str, Vector]) -> int:  # noqa: C901  # one short case an operation
    match op:
        case q.QActivate():
            functions: dict[str, Callable[[int], int]] = {
                "relu": lambda v: max(v, 0),
                "sigmoid": sigmoid,
                "tanh": tanh,
            }
            return functions[op.function](values[op.x][i])
        case q.QAdd():
            total = i32(values[op.a][i] * op.a_multiplier) + i32(values[op.b][i] * op.b_multiplier)
            return sat16(rr(i32(total), op.shift))
        case q.QMul():
            return sat16(rr(i32(rr(i32(values[op.a][i] * values[op.b][i]), 15) * op.multiplier), op.shift))
        case q.QMax():
            return max(values[op.a][i], values[op.b][i])
        case q.QRescale():
            return sat16(rr(i32(values[op.x][i] * op.multiplier), op.shift))
        case q.QConstant():
            return i16(int(op.values.flat[i]))
        case q.QTake():
            return values[op.x][op.indices[i]] if op.indices[i] >= 0 else 0
        case q.QConcat():
            return [v for x in op.xs for v in values[x]][i]
        case q.QTotal():
            return i32(values[op.total][i] + (values[op.x][i] if values[op.count][0] < 32767 else 0))
        case q.QCount():
            return min(values[op.x][i] + 1, 32767)
        case q.QMean():
            n = max(values[op.count][0], 1)
            return i16(i32(i32(2 * values[op.total][i]) + n) // (2 * n))
        case q.QHold():
            v, held = values[op.x][i], values[op.held][i]
            v = view(v) if op.reads_view else v
            return v if abs(v - held) > op.threshold else held
    raise AssertionError(f"{type(op).__name__} is not in the contract")


def run(qmodel: q.QModel, frames: Sequence[Vector]) -> list[tuple[dict[str, Vector], Vector]]:
    """(states, output) after every frame of one sequence, all flat."""
    states = {s.value.name: [int(v) for v in s.initial.flat] for s in qmodel.states}
    recorded = []
    for frame in frames:
        values = states | {qmodel.main.inputs[0].name: list(frame)}
        for op in qmodel.main.stages[0].ops:
            evaluate(op, values)
        states = states | {state: values[value] for state, value in qmodel.main.stages[0].updates}
        if qmodel.main.outputs[0].finished:
            values = dict(states)
            for op in qmodel.main.finish:
                evaluate(op, values)
        recorded.append((states, values[qmodel.main.outputs[0].value.name]))
    return recorded
