"""NUMERICS_VERSION 1, pinned: numbers computed once by the scalar equations of docs/numerics.md.

A change that makes one of these fail changes the bits of every model that was ever compiled. It needs a new
NUMERICS_VERSION, not new numbers here. How scales are chosen is free to change: they are part of a bundle.
"""

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scalar_contract
from stepcell.ir.qmodel import (
    NUMERICS_VERSION,
    IntArray,
    JointRequant,
    QAdd,
    QDense,
    QGru,
    QLstm,
    QMatrix,
    QMean,
    QMul,
    QOp,
    QRescale,
    QRnn,
    QValue,
    Requant,
)
from stepcell.reference import integer_model
from stepcell.reference.arithmetic import sigmoid, tanh, view8
from stepcell.reference.integer_ops import quantize_input

UNITS, INPUTS = 3, 5
X = [127, -128, 64, -3, 0]
H = [32767, -20000, 150]
C = [-32768, 9000, 41]
EVERY_INT16 = np.arange(-32768, 32768)


def _matrix(rows: int, cols: int, start: int, reads_view: bool) -> QMatrix:
    """Weights that step through -127..127."""
    weights = (np.arange(rows * cols) * 37 + start) % 255 - 127
    return QMatrix(weights.reshape(rows, cols), np.ones(rows), None, reads_view, 128)


def _bias(rows: int) -> IntArray:
    return np.arange(rows) * 811 - 4000


def _requant(rows: int) -> JointRequant:
    """Pre-activations of a few thousand: on the steep part of the table, some beyond its end."""
    return JointRequant(9000 + 301 * np.arange(rows), 16384 - 207 * np.arange(rows), 1, 2, 15)


def _value(name: str, size: int = UNITS, bits: Any = 16) -> QValue:
    return QValue(name, (size,), bits, 1.0)


def _recurrent(gates: int) -> dict[str, Any]:
    rows = gates * UNITS
    return {
        "x": "x",
        "h": "h",
        "h_next": _value("y"),
        "input": _matrix(rows, INPUTS, 11, False),
        "recurrent": _matrix(rows, UNITS, 90, True),
        "requant": _requant(rows),
    }


def _lstm(cell_bits: int) -> QLstm:
    return QLstm(c="c", c_next=_value("cell"), bias=_bias(12), cell_bits=cell_bits, **_recurrent(4))


def _gru(linear_before_reset: bool) -> QGru:
    apart = np.where(np.arange(9) < 6, 0, _bias(9)) if linear_before_reset else np.zeros(9, np.int64)
    return QGru(
        input_bias=_bias(9),
        recurrent_bias=apart,
        candidate_input_shift=14,
        candidate_recurrent_shift=16,
        linear_before_reset=linear_before_reset,
        **_recurrent(3),
    )


def _rnn(relu: bool) -> QRnn:
    return QRnn(bias=_bias(3) + 20000 * relu, relu=relu, **_recurrent(1))


def _dense(relu: bool) -> QDense:
    requant = Requant(np.asarray([16384, 9001, 77]), 3, 11)
    return QDense("x", _value("y"), _matrix(3, INPUTS, 200, False), _bias(3) + 20000 * relu, requant, relu)


PINNED: dict[str, tuple[QOp, dict[str, list[int]]]] = {
    "lstm, cells Q3.12": (_lstm(12), {"y": [-12379, 16973, -3367], "cell": [-25066, 3269, -811]}),
    "lstm, cells Q6.9": (_lstm(9), {"y": [-12379, 25605, -2967], "cell": [-25175, 3215, -89]}),
    "gru, linear_before_reset": (_gru(True), {"y": [10650, -21042, -18091]}),
    "gru, reset first": (_gru(False), {"y": [21203, -15931, -14644]}),
    "rnn tanh": (_rnn(False), {"y": [-25500, -24914, -16970]}),
    "rnn relu": (_rnn(True), {"y": [613, 797, 1755]}),
    "dense": (_dense(False), {"y": [-15504, -1837, -32]}),
    "dense relu": (_dense(True), {"y": [4496, 9150, 62]}),
    "add": (QAdd("h", "c", _value("y"), 16384, -9000, 14), {"y": [32767, -24944, 127]}),
    "mul": (QMul("h", "c", _value("y"), 12345, 13), {"y": [-32768, -8278, 0]}),
    "rescale": (QRescale("h", _value("y"), 16001, 13), {"y": [32767, -32768, 293]}),
    "mean": (QMean("total", "count", _value("y")), {"y": [-14286, 1, 7143]}),
}


@pytest.mark.parametrize("name", PINNED)
def test_an_operation_gives_the_pinned_bits(name: str) -> None:
    op, expected = PINNED[name]
    scalar: dict[str, list[int]] = _inputs(list)
    scalar_contract.evaluate(op, scalar)
    arrays: dict[str, IntArray] = _inputs(lambda v: np.asarray([v]))
    integer_model.evaluate(op, arrays)
    assert {key: scalar[key] for key in expected} == expected
    assert {key: arrays[key][0].tolist() for key in expected} == expected


def _inputs(make: Callable[[list[int]], Any]) -> dict[str, Any]:
    return {
        "x": make(X),
        "h": make(H),
        "c": make(C),
        "total": make([-100003, 7, 50000]),
        "count": make([7]) if make is list else np.asarray([7]),
    }


def test_the_functions_of_every_int16_are_the_pinned_ones() -> None:
    checksums = [zlib.crc32(f(EVERY_INT16).astype("<i2").tobytes()) for f in (sigmoid, tanh, view8)]
    assert checksums == [3080259986, 2294503203, 4094762215]
    assert sigmoid(np.asarray([-32768, -2048, -1, 0, 1, 2048, 32767])).tolist() == [
        0,
        8813,
        16380,
        16384,
        16388,
        23955,
        32767,
    ]
    assert tanh(np.asarray([-32768, -2048, -1, 0, 1, 2048, 32767])).tolist() == [
        -32768,
        -24956,
        -16,
        0,
        16,
        24956,
        32766,
    ]


def test_the_pinned_bits_are_those_of_version_1() -> None:
    assert NUMERICS_VERSION == 1


def test_an_input_is_quantized_to_the_pinned_steps() -> None:
    x = np.asarray([-2.0, -0.75, -0.25, 0.0, 0.124999, 0.125, 0.7, 40.0])
    assert quantize_input(x, 0.25, 8).tolist() == [-8, -3, -1, 0, 0, 1, 3, 127]
    assert quantize_input(x, 0.001, 16).tolist() == [-2000, -750, -250, 0, 125, 125, 700, 32767]
