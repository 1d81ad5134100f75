"""Models of one operation each, of several sizes: what random models never draw, or only with luck.

Costs are measured on them and on random models, which together call every function of the runtime.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.random import Generator

from stepcell.ir.qfunctions import (
    QAbs,
    QArgMax,
    QDiv,
    QEmbed,
    QHypot,
    QLeaky,
    QLinear,
    QLookup,
    QMin,
    QOctaves,
    QReduce,
)
from stepcell.ir.qmodel import (
    Bits,
    QActivate,
    QAdd,
    QFunction,
    QMatrix,
    QMax,
    QModel,
    QMul,
    QOp,
    QOutput,
    QRescale,
    QStage,
    QState,
    QTake,
    QValue,
)
from stepcell.ir.qtflite import QFixed, QTfliteDense, QTfliteLstm, QTfliteTable

Elements = Callable[[QValue], QOp]
_TABLE = np.random.default_rng(0).integers(-32768, 32768, 353)

_OF_ELEMENTS: dict[str, Elements] = {
    "relu": lambda y: QActivate("x", y, "relu"),
    "sigmoid": lambda y: QActivate("x", y, "sigmoid"),
    "tanh": lambda y: QActivate("x", y, "tanh"),
    "rescale": lambda y: QRescale("x", y, 12345, 13),
    "add": lambda y: QAdd("x", "x", y, 12345, -9999, 13),
    "mul": lambda y: QMul("x", "x", y, 12345, 13),
    "max": lambda y: QMax("x", "x", y),
    "min": lambda y: QMin("x", "x", y),
    "abs": lambda y: QAbs("x", y),
    "div": lambda y: QDiv("x", "x", y, 12345, 3),
    "hypot": lambda y: QHypot("x", "x", y, 12345, 14),
    "linear": lambda y: QLinear("x", y, 12345, 99, 13, -9999, 9999),
    "leaky": lambda y: QLeaky("x", y, 16384, 163, 14),
    "lookup": lambda y: QLookup("x", y, _TABLE[:257], 8),
    "octaves": lambda y: QOctaves("x", y, _TABLE, "none"),
    "octaves_even": lambda y: QOctaves("x", y, _TABLE, "even"),
    "octaves_odd": lambda y: QOctaves("x", y, _TABLE, "odd"),
    "take": lambda y: QTake("x", y, tuple(reversed(range(y.size)))),
    "take_or_zero": lambda y: QTake("x", y, tuple(range(y.size - 2, -2, -1))),
}
"""y, as large as x."""

_OF_ROWS: dict[str, Elements] = {
    "reduce_sum": lambda y: QReduce("x", y, "sum", 0, 12345, 14),
    "reduce_norm": lambda y: QReduce("x", y, "norm", 6, 12345, 14),
    "reduce_max": lambda y: QReduce("x", y, "max"),
    "reduce_min": lambda y: QReduce("x", y, "min"),
}
"""y is a number for each row of x."""


def single_operations(rng: Generator) -> Iterator[QModel]:
    """Every operation in sizes that are drawn."""
    others = (_embed_s8, _embed_s16, _argmax, _table, _tflite_dense, _tflite_lstm)
    for number in range(6):
        for name, make in _OF_ELEMENTS.items():
            yield _of_elements(rng, f"{name}{number}", make)
        for name, make in _OF_ROWS.items():
            yield _of_rows(rng, f"{name}{number}", make)
        for other in others:
            yield other(rng, f"{other.__name__[1:]}{number}")


def _model(name: str, x: QValue, op: QOp, *results: QValue, states: tuple[QState, ...] = ()) -> QModel:
    """One operation in every step, which yields its first result; its results become the states, in order."""
    updates = tuple((state.value.name, y.name) for state, y in zip(states, results, strict=False))
    stage = QStage("main", (x,), (op,), updates, results[:1])
    function = QFunction("main", (x,), (stage,), (), (QOutput(results[0], finished=False),))
    return QModel(name, (function,), states, {})


def _vector(rng: Generator, name: str, bits: Bits = 16) -> QValue:
    return QValue(name, (int(rng.integers(1, 70)),), bits, 1.0)


def _of_elements(rng: Generator, name: str, make: Elements) -> QModel:
    x = _vector(rng, "x")
    y = replace(x, name="y")
    return _model(name, x, make(y), y)


def _of_rows(rng: Generator, name: str, make: Elements) -> QModel:
    rows, n = (int(n) for n in rng.integers(1, 20, 2))
    x, y = QValue("x", (rows, n), 16, 1.0), QValue("y", (rows,), 16, 1.0)
    return _model(name, x, make(y), y)


def _embed_s8(rng: Generator, name: str) -> QModel:
    return _embed(rng, name, 8)


def _embed_s16(rng: Generator, name: str) -> QModel:
    return _embed(rng, name, 16)


def _embed(rng: Generator, name: str, bits: Bits) -> QModel:
    tokens, rows, width = (int(n) for n in rng.integers(1, 20, 3))
    x, y = QValue("x", (tokens,), 16, 1.0, "token"), QValue("y", (tokens, width), bits, 1.0)
    return _model(name, x, QEmbed("x", y, rng.integers(-128, 128, (rows, width))), y)


def _argmax(rng: Generator, name: str) -> QModel:
    rows, n = (int(n) for n in rng.integers(1, 20, 2))
    x, y = QValue("x", (rows, n), 16, 1.0), QValue("y", (rows,), 16, 1.0, "token")
    return _model(name, x, QArgMax("x", y), y)


def _table(rng: Generator, name: str) -> QModel:
    x = _vector(rng, "x", 8)
    return _model(name, x, QTfliteTable("x", y := replace(x, name="y"), rng.integers(-128, 128, 256)), y)


def _tflite_dense(rng: Generator, name: str) -> QModel:
    x, y = _vector(rng, "x", 8), _vector(rng, "y", 8)
    matrix, bias = _matrix(rng, y.size, x.size), rng.integers(-9999, 9999, y.size)
    return _model(name, x, QTfliteDense("x", y, matrix, bias, _fixed(rng, y.size, -8), 3, -128, 127), y)


def _tflite_lstm(rng: Generator, name: str) -> QModel:
    x, units = _vector(rng, "x", 8), int(rng.integers(1, 40))
    h, c = QValue("h", (units,), 8, 1.0), QValue("c", (units,), 16, 1.0)
    h_next, c_next = replace(h, name="h_next"), replace(c, name="c_next")
    op = QTfliteLstm(
        *("x", "h", "c", h_next, c_next),
        *(_matrix(rng, 4 * units, x.size), _matrix(rng, 4 * units, units)),
        *(rng.integers(-999, 999, 4 * units), rng.integers(-999, 999, 4 * units)),
        *(_fixed(rng, 4, 0), _fixed(rng, 4, 0), _fixed(rng, 1, -22)),
        hidden_zero_point=4,
        cell_bits=11,
        cell_limit=32768,
    )
    starts = np.zeros(units, np.int64)
    return _model(name, x, op, h_next, c_next, states=(QState(h, starts), QState(c, starts)))


def _matrix(rng: Generator, rows: int, cols: int) -> QMatrix:
    weights = rng.integers(-127, 128, (rows, cols))
    return QMatrix(weights, np.ones(rows), mask=None, reads_view=False, input_bound=128)


def _fixed(rng: Generator, count: int, shift: int) -> QFixed:
    """Factors near 2^shift."""
    return QFixed(rng.integers(1 << 30, (1 << 31) - 1, count), np.full(count, shift))
