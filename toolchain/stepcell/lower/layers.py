"""Lowering of the layers with weights: packed tables, a descriptor, one call."""

from dataclasses import dataclass

import numpy as np

from stepcell.ir.qmodel import IntArray, QConv, QDense, QGru, QLstm, QMatrix, QRecurrent, QRnn, Requant
from stepcell.ir.row_order import (
    Order,
    grain_of,
    gru_row_order,
    lstm_row_order,
    reset_row_order,
    row_order,
    update_row_order,
)
from stepcell.lower import delta
from stepcell.lower.formats import Format, choose_format
from stepcell.lower.kernels import Kernel
from stepcell.lower.pack import permute
from stepcell.lower.plan import Descriptor, MatrixRef, Table, Work
from stepcell.lower.scope import Place, Scope


def lower_lstm(scope: Scope, op: QLstm) -> None:
    """i, o, f and c~ of each unit together; cells under 11 fraction bits convert otherwise."""
    units, grain = op.h_next.size, _grain(scope, op, 4)
    layer = _layer(scope, op, scope.shared.layer_name("lstm"), lstm_row_order(units, grain))
    _describe(scope, op, layer, "sc_lstm_layer", grain, (("cell_bits", op.cell_bits),))
    item = "coarse_item" if op.cell_bits < 11 else "item"
    states = (scope.places[op.h].expression, scope.places[op.c].expression)
    _call(scope, op, layer, "sc_lstm", states, item, tail=("sc_lstm_tail",), comment=_comment(op, layer))


def lower_gru(scope: Scope, op: QGru) -> None:
    """z and r of each unit together, n apart; if r acts before the matrix, r first in a call of its own."""
    units, grain = op.h_next.size, _grain(scope, op)
    name, h = scope.shared.layer_name("gru"), scope.places[op.h].expression
    if op.linear_before_reset:
        layer = _layer(scope, op, name, gru_row_order(units, grain, scope.pass_units))
        shifts = (
            ("candidate_input", op.candidate_input_shift),
            ("candidate_recurrent", op.candidate_recurrent_shift),
        )
        _describe(scope, op, layer, "sc_gru_layer", grain, shifts=shifts)
        _call(scope, op, layer, "sc_gru", (h,), "item", tail=("sc_gru_tail",), comment=_comment(op, layer))
        return
    reset = _layer(scope, op, f"{name}_reset", reset_row_order(units, grain))
    update = _layer(scope, op, name, update_row_order(units, grain, scope.pass_units))
    _describe(scope, op, reset, "sc_rnn_layer", grain)
    _describe(scope, op, update, "sc_gru_layer", grain)
    gated = scope.like(op.h, f"{name}_gated")
    _call(scope, op, reset, "sc_gru_reset", (h, gated.expression), "item", comment=_comment(op, update))
    view = scope.stored(f"{name}_gated", update.recurrent.kernel)
    _call(scope, op, update, "sc_gru_reset_first", (view.expression, h), "item")


def lower_rnn(scope: Scope, op: QRnn) -> None:
    """One gate."""
    units, grain = op.h_next.size, _grain(scope, op)
    layer = _layer(scope, op, scope.shared.layer_name("rnn"), row_order(units, grain))
    _describe(scope, op, layer, "sc_rnn_layer", grain)
    function = "sc_rnn_relu" if op.relu else "sc_rnn_tanh"
    h = scope.places[op.h].expression
    _call(scope, op, layer, function, (h,), "item", comment=_comment(op, layer))


def _grain(scope: Scope, op: QRecurrent, rows_of_unit: int = 1) -> int:
    rows = scope.shared.group_rows if op.held is None else delta.ROWS
    return grain_of(rows, rows_of_unit)


@dataclass(frozen=True, eq=False)
class _Layer:
    """Some rows of a recurrent operation, as one call computes them.

    `sums` is where a layer of held values keeps its accumulators; `x` and `before` are then lists of changes.
    """

    name: str
    order: Order
    input: Format
    recurrent: Format
    x: Place
    before: Place
    sums: str | None = None


def _layer(scope: Scope, op: QRecurrent, name: str, order: Order) -> _Layer:
    """The kernels of its two matrices, and the vectors where they read them."""
    joint = op.requant
    input_bias = op.input_bias if isinstance(op, QGru) else op.bias
    recurrent_bias = op.recurrent_bias if isinstance(op, QGru) else 0 * op.bias
    input_starts = _starts(input_bias, joint.input_pre_shift, order)
    recurrent_starts = _starts(recurrent_bias, joint.recurrent_pre_shift, order)
    if op.held is not None:
        w, r, sums = delta.lower_matrices(scope, op, name, order, (input_starts, recurrent_starts))
        return _Layer(name, order, w, r, scope.places[op.x], scope.places[op.held], sums)
    before = op.h if op.recurrent.reads_view else scope.snapshot(op.h)
    form = scope.shared.form
    w = _choose(scope, f"{name}.input", op.input, op.x, order, input_starts, form)
    r = _choose(scope, f"{name}.recurrent", op.recurrent, before, order, recurrent_starts, form)
    return _Layer(name, order, w, r, scope.stored(op.x, w.kernel), scope.stored(before, r.kernel))


def _describe(
    scope: Scope,
    op: QRecurrent,
    layer: _Layer,
    ctype: str,
    grain: int,
    numbers: tuple[tuple[str, int], ...] = (),
    shifts: tuple[tuple[str, int], ...] = (),
) -> None:
    """The tables and the descriptor of a layer."""
    joint = op.requant
    packed = permute(joint.recurrent_multipliers << 16 | joint.input_multipliers, layer.order)
    multipliers = Table(
        f"{layer.name}_multipliers", "uint32_t", packed, "recurrent << 16 | input, of each row"
    )
    matrices = (
        _store(scope, f"{layer.name}_input", "input", layer.input, op.input),
        _store(scope, f"{layer.name}_recurrent", "recurrent", layer.recurrent, op.recurrent),
    )
    scope.shared.tables.append(multipliers)
    numbers = (
        ("units", op.h_next.size),
        ("grain", min(grain, scope.pass_units)),
        ("input_shift", joint.input_pre_shift),
        ("recurrent_shift", joint.recurrent_pre_shift),
        *numbers,
    )
    scope.shared.descriptors.append(
        Descriptor(
            layer.name,
            ctype,
            matrices,
            (("multipliers", multipliers.name),),
            (("post", joint.post_shift), *shifts),
            numbers,
        )
    )


def _call(
    scope: Scope,
    op: QRecurrent,
    layer: _Layer,
    function: str,
    arguments: tuple[str, ...],
    item: str,
    *,
    tail: tuple[str, ...] = (),
    comment: str = "",
) -> None:
    units = op.h_next.size
    if layer.sums is not None:
        function, arguments = f"{function}_delta", (layer.sums, *arguments)
    rows = int((layer.order >= 0).sum())
    passes = -(-units // scope.pass_units)
    calls = (passes, 2 * passes if function == "sc_gru_reset_first" else passes)
    if function in ("sc_gru_delta", "sc_rnn_tanh_delta"):
        calls = (1, 1)
    scope.call(
        layer.name,
        function,
        f"&{scope.shared.symbol(layer.name)}",
        layer.x.expression,
        layer.before.expression,
        *arguments,
        comment=comment,
        macs=rows * (op.input.weights.shape[1] + op.recurrent.weights.shape[1]),
        kernels=(layer.input.kernel.name, layer.recurrent.kernel.name, *tail),
        work=(
            (function, "call", 1),
            (function, "pass", passes),
            (function, item, units),
            *_multiplications(layer.input, len(layer.order), calls[0]),
            *_multiplications(layer.recurrent, len(layer.order), calls[1]),
        ),
    )


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """A dense layer's descriptor: its C name, how its matrix is stored, and what a call of sc_dense does."""

    name: str
    stored: str
    kernel: Kernel
    kernels: tuple[str, ...]
    work: Work


def lower_dense(scope: Scope, op: QDense) -> None:
    """Rows as they come."""
    layer = describe_dense(scope, "dense", op)
    x = scope.stored(op.x, layer.kernel)
    scope.places[op.y.name] = y = scope.local(op.y)
    relu = ", relu" if op.relu else ""
    sizes = f"{op.matrix.weights.shape[1]} -> {op.y.size}"
    scope.call(
        layer.name,
        "sc_dense",
        f"&{scope.shared.symbol(layer.name)}",
        x.expression,
        y.expression,
        comment=f"{layer.name}: y = W x + b{relu}, {sizes} ({layer.stored})",
        macs=op.matrix.weights.size,
        kernels=layer.kernels,
        work=layer.work,
    )


def describe_dense(scope: Scope, kind: str, op: QDense | QConv) -> DenseLayer:
    """The tables and the descriptor of a matrix with one requantization."""
    shared, name = scope.shared, scope.shared.layer_name(kind)
    rows = len(op.matrix.weights)
    grain = grain_of(shared.group_rows)
    order = row_order(rows, grain)
    starts = _starts(op.bias, op.requant.pre_shift, order)
    chosen = _choose(scope, name, op.matrix, op.x, order, starts)
    matrix = _store(scope, f"{name}_weights", "matrix", chosen, op.matrix)
    packed = permute(op.requant.multipliers, order)
    multipliers = Table(f"{name}_multipliers", "uint16_t", packed, "of each row")
    shared.tables.append(multipliers)
    shared.descriptors.append(
        Descriptor(
            name,
            "sc_dense_layer",
            (matrix,),
            (("multipliers", multipliers.name),),
            (("post", op.requant.post_shift),),
            (
                ("rows", rows),
                ("grain", grain),
                *shift_numbers(op.requant),
                ("least", 0 if op.relu else -32768),
            ),
        )
    )
    passes = -(-rows // scope.pass_units)
    work = (
        ("sc_dense", "call", 1),
        ("sc_dense", "pass", passes),
        ("sc_dense", "item", rows),
        *((("sc_dense", "saturated", rows),) if op.requant.saturates else ()),
        *_multiplications(chosen, len(order), passes),
    )
    kernels = (chosen.kernel.name, "sc_dense_tail")
    return DenseLayer(name, _stored(chosen, op.matrix), chosen.kernel, kernels, work)


def shift_numbers(requant: Requant) -> tuple[tuple[str, int], ...]:
    """The shift of the sums: the tail's, or one that saturates before it."""
    if requant.saturates:
        return (("pre_shift", 0), ("saturating_shift", requant.pre_shift))
    return (("pre_shift", requant.pre_shift), ("saturating_shift", 0))


def _choose(
    scope: Scope,
    what: str,
    matrix: QMatrix,
    x: str,
    order: Order,
    starts: IntArray,
    form: str | None = None,
) -> Format:
    """The best format of one matrix, or the one called `form`."""
    shared = scope.shared
    bits = 8 if matrix.reads_view else scope.value(x).bits
    rows = permute(matrix.weights, order)
    chosen = choose_format(rows, starts, bits, shared.core, shared.optimize, form)
    density = float((matrix.weights != 0).mean())
    shared.choices[what] = f"{chosen.why}; {density:.0%} of the weights are not zero"
    return chosen


def _starts(bias: IntArray, shift: int, order: Order) -> IntArray:
    """What accumulators start with: the bias, and the half that rounds their shift."""
    half = (1 << shift) >> 1
    return permute(bias + half, order, padding=half)


def _multiplications(chosen: Format, rows: int, calls: int) -> Work:
    """What a kernel executes over all the calls that a layer makes of it."""
    name = chosen.kernel.name
    groups = rows // chosen.kernel.rows
    return ((name, "call", calls), (name, "group", groups), (name, "item", chosen.packed.items))


def _store(scope: Scope, name: str, field: str, chosen: Format, matrix: QMatrix) -> MatrixRef:
    """Add the tables of a packed matrix."""
    shared, packed, kernel = scope.shared, chosen.packed, chosen.kernel
    rows, cols = matrix.weights.shape
    words = packed.words if len(packed.words) else np.zeros(1, np.uint32)  # C has no empty arrays
    what = f"{rows} x {cols} weights, {kernel.format}, for {kernel.name}"
    shared.tables.append(Table(name, "uint32_t", words.astype(np.int64), what))
    columns = None
    if packed.columns is not None:
        columns = f"{name}_columns"
        where = "for each row group: how many blocks, then where"
        shared.tables.append(Table(columns, "uint8_t", packed.columns.astype(np.int64), where))
    start = None
    if len(packed.start):
        start = f"{name}_start"
        shared.tables.append(
            Table(start, "int32_t", packed.start.astype(np.int64), "what accumulators start with")
        )
    padded = -(-cols // kernel.multiple) * kernel.multiple
    return MatrixRef(field, kernel.name, name, columns, start, padded, packed.stride)


_EQUATIONS = {
    "lstm": "i, o, f, g = W x + R h + b; c = f c + i g; h = o tanh(c)",
    "gru": "z, r, n = W x + R h + b, n with r (R h + b); h = n + z (h - n)",
    "gru_reset_first": "z, r, n = W x + R h + b, n with R (r h); h = n + z (h - n)",
    "rnn_tanh": "h = tanh(W x + R h + b)",
    "rnn_relu": "h = relu(W x + R h + b)",
}


def _comment(op: QRecurrent, layer: _Layer) -> str:
    match op:
        case QLstm():
            kind = "lstm"
        case QGru():
            kind = "gru" if op.linear_before_reset else "gru_reset_first"
        case QRnn():
            kind = "rnn_relu" if op.relu else "rnn_tanh"
    sizes = f"{op.input.weights.shape[1]} -> {op.h_next.size}"
    stored = f"W {_stored(layer.input, op.input)}, R {_stored(layer.recurrent, op.recurrent)}"
    return f"{layer.name}: {_EQUATIONS[kind]}, {sizes} ({stored})"


def _stored(chosen: Format, matrix: QMatrix) -> str:
    if chosen.packed.columns is None:
        return chosen.kernel.format
    return f"{chosen.kernel.format} blocks, density {float((matrix.weights != 0).mean()):.2f}"
