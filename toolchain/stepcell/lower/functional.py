"""Calls of the operations of ir/qfunctions.py."""

import numpy as np

from stepcell.ir.qfunctions import (
    QAbs,
    QArgMax,
    QDiv,
    QEmbed,
    QFunctional,
    QHypot,
    QLeaky,
    QLinear,
    QLookup,
    QMin,
    QNormalize,
    QOctaves,
    QReduce,
    QRepeat,
    QSoftmax,
)
from stepcell.ir.qvalue import IntArray
from stepcell.lower.parts import Descriptor, Table, Work
from stepcell.lower.scope import Scope

_OCTAVES = {"none": "octaves", "even": "octaves_even", "odd": "octaves_odd"}


def lower_functional(scope: Scope, op: QFunctional) -> None:
    """Append the call of one operation, into a new local unless its result lies in a state already."""
    y, n = op.y, op.y.size
    match op:
        case QLookup():
            table = _table(scope, y.name, op.table, "int16_t", "a function in equal steps")
            _call(scope, "lookup", op, n, _place(scope, op.x), n, table, op.shift)
        case QOctaves():
            table = _table(scope, y.name, op.table, "int16_t", "a function in octaves")
            _call(scope, _OCTAVES[op.sign], op, n, _place(scope, op.x), n, table)
        case QLinear():
            line = (op.multiplier, op.offset, scope.shared.shift(op.shift), op.least, op.greatest)
            _call(scope, "linear", op, n, _place(scope, op.x), n, *line)
        case QLeaky():
            both = (op.positive, op.negative, scope.shared.shift(op.shift))
            _call(scope, "leaky", op, n, _place(scope, op.x), n, *both)
        case QAbs():
            _call(scope, "abs", op, n, _place(scope, op.x), n)
        case QMin():
            _call(scope, "min", op, n, _place(scope, op.a), _place(scope, op.b), n)
        case QDiv() | QHypot():
            kind = "div" if isinstance(op, QDiv) else "hypot"
            numbers = (op.multiplier, scope.shared.shift(op.shift))
            _call(scope, kind, op, n, _place(scope, op.a), _place(scope, op.b), n, *numbers)
        case QRepeat():
            size = n // (op.outer * op.inner)
            _call(scope, "repeat", op, n, _place(scope, op.x), size, op.outer, op.inner)
        case QEmbed():
            _embed(scope, op)
        case _:
            _over_rows(scope, op)


def _over_rows(scope: Scope, op: QReduce | QArgMax | QSoftmax | QNormalize) -> None:
    shape = scope.value(op.x).shape
    n, rows = shape[-1], int(np.prod(shape[:-1], dtype=int))
    x = _place(scope, op.x)
    match op:
        case QReduce() if op.kind in ("max", "min"):
            _rows(scope, f"reduce_{op.kind}", op, (rows, n), x, rows, n)
        case QReduce():
            before, after = scope.shared.shift(op.pre_shift), scope.shared.shift(op.shift)
            _rows(scope, f"reduce_{op.kind}", op, (rows, n), x, rows, n, before, op.multiplier, after)
        case QArgMax():
            _rows(scope, "argmax", op, (rows, n), x, rows, n)
        case QSoftmax():
            numbers = (op.multiplier, scope.shared.shift(op.shift), op.fraction)
            _rows(scope, "softmax", op, (rows, n), x, rows, n, *numbers)
        case QNormalize():
            _normalize(scope, op, x, rows, n)


def _normalize(scope: Scope, op: QNormalize, x: str, rows: int, n: int) -> None:
    name = scope.shared.layer_name("normalize")
    gain = _table(scope, f"{name}_gain", op.gain, "int16_t", "gains of a normalization")
    bias = _table(scope, f"{name}_bias", op.bias, "int32_t", "biases of a normalization")
    prefix = len(scope.shared.symbol(""))
    scope.shared.descriptors.append(
        Descriptor(
            name,
            "sc_normalize_layer",
            (),
            (("gain", gain[prefix:]), ("bias", bias[prefix:])),
            (("square", op.square_shift), ("post", op.shift)),
            (
                ("n", n),
                ("epsilon", op.epsilon),
                ("epsilon_exponent", op.epsilon_exponent),
                ("least_shift", op.least_shift),
                ("result_shift", 15 + (op.square_shift + 1) // 2),
            ),
        )
    )
    to = _result(scope, op)
    descriptor = f"&{scope.shared.symbol(name)}"
    comment = f"{name}: {op.y.name}"
    work = _work("sc_normalize", rows, n)
    scope.call(name, "sc_normalize", descriptor, to, x, rows, comment=comment, work=work)


def _embed(scope: Scope, op: QEmbed) -> None:
    bits, (rows, width) = op.y.bits, op.table.shape
    table = _table(scope, op.y.name, op.table.reshape(-1), f"int{bits}_t", "rows of an embedding")
    count = op.y.size // width
    _rows(scope, f"embed_s{bits}", op, (count, width), _place(scope, op.token), count, table, rows, width)


def _place(scope: Scope, name: str) -> str:
    return scope.place(name).expression


def _result(scope: Scope, op: QFunctional) -> str:
    if op.y.name not in scope.places:
        scope.places[op.y.name] = scope.local(op.y)
    return scope.places[op.y.name].expression


def _call(scope: Scope, kind: str, op: QFunctional, items: int, *arguments: str | int) -> None:
    layer = scope.shared.layer_name(kind)
    to = _result(scope, op)
    scope.vector(layer, f"sc_{kind}", items, to, *arguments, comment=f"{layer}: {op.y.name}")


def _rows(scope: Scope, kind: str, op: QFunctional, shape: tuple[int, int], *arguments: str | int) -> None:
    """A call that does the same to each of `shape` = (rows, elements)."""
    layer, name = scope.shared.layer_name(kind), f"sc_{kind}"
    to = _result(scope, op)
    comment = f"{layer}: {op.y.name}"
    scope.call(layer, name, to, *arguments, comment=comment, work=_work(name, *shape))


def _work(function: str, rows: int, n: int) -> Work:
    return ((function, "call", 1), (function, "row", rows), (function, "item", rows * n))


def _table(scope: Scope, name: str, values: IntArray, ctype: str, comment: str) -> str:
    """A table in flash, unless an equal one lies there already: its C name."""
    for table in scope.shared.tables:
        if table.ctype == ctype and np.array_equal(table.values, values):
            return scope.shared.symbol(table.name)
    name = scope.shared.table_name(name)
    scope.shared.tables.append(Table(name, ctype, np.asarray(values, np.int64), comment))
    return scope.shared.symbol(name)
