"""Lowering of recurrent layers: packed tables, a descriptor, one call, or two."""

from dataclasses import dataclass

from stepcell.ir.qmodel import QGru, QLstm, QRecurrent, QRnn, q_recurrent_operand
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
from stepcell.lower.formats import Format
from stepcell.lower.matrices import choose_kernel, multiplications, row_starts, store_matrix, stored_as
from stepcell.lower.pack import permute
from stepcell.lower.parts import Descriptor, Table
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
    rows = scope.shared.group_rows if not delta.reads_held(scope, op) else delta.ROWS
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
    input_starts = row_starts(input_bias, joint.input_pre_shift, order)
    recurrent_starts = row_starts(recurrent_bias, joint.recurrent_pre_shift, order)
    read = q_recurrent_operand(op)
    if delta.reads_held(scope, op):
        w, r, sums = delta.lower_matrices(scope, op, name, order, (input_starts, recurrent_starts))
        return _Layer(name, order, w, r, scope.places[op.x], scope.places[read], sums)
    overwritten = read == op.h and not op.recurrent.reads_view
    before = scope.snapshot(op.h) if overwritten else read
    form = scope.shared.form
    w = choose_kernel(scope, f"{name}.input", op.input, op.x, order, input_starts, form)
    r = choose_kernel(scope, f"{name}.recurrent", op.recurrent, before, order, recurrent_starts, form)
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
        store_matrix(scope, f"{layer.name}_input", "input", layer.input, op.input),
        store_matrix(scope, f"{layer.name}_recurrent", "recurrent", layer.recurrent, op.recurrent),
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
            *multiplications(layer.input, len(layer.order), calls[0]),
            *multiplications(layer.recurrent, len(layer.order), calls[1]),
        ),
    )


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
    stored = f"W {stored_as(layer.input, op.input)}, R {stored_as(layer.recurrent, op.recurrent)}"
    return f"{layer.name}: {_EQUATIONS[kind]}, {sizes} ({stored})"
