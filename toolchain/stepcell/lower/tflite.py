"""Lowering of the layers of an already quantized TensorFlow Lite file."""

import numpy as np

from stepcell.ir.qmodel import IntArray
from stepcell.ir.qtflite import QFixed, QTfliteDense, QTfliteLstm, QTfliteTable
from stepcell.ir.row_order import grain_of, lstm_row_order, row_order
from stepcell.lower.matrices import choose_kernel, multiplications, row_starts, store_matrix, stored_as
from stepcell.lower.pack import permute
from stepcell.lower.parts import C_BYTES, Descriptor, Table
from stepcell.lower.scope import Place, Scope


def lower_lstm(scope: Scope, op: QTfliteLstm) -> None:
    """i, o, f and c~ of each unit together; the recurrent matrix reads int8 h as it was."""
    shared, units = scope.shared, op.h_next.size
    name, grain = shared.layer_name("lstm"), grain_of(shared.group_rows, 4)
    order = lstm_row_order(units, grain)
    w = choose_kernel(scope, f"{name}.input", op.input, op.x, order, row_starts(op.input_bias, 0, order))
    r = choose_kernel(
        scope, f"{name}.recurrent", op.recurrent, op.h, order, row_starts(op.recurrent_bias, 0, order)
    )
    x, before = scope.stored(op.x, w.kernel), _before(scope, op.h, r.kernel.vector)
    matrices = (
        store_matrix(scope, f"{name}_input", "input", w, op.input),
        store_matrix(scope, f"{name}_recurrent", "recurrent", r, op.recurrent),
    )
    factors = Table(f"{name}_factors", "uint32_t", _gate_factors(op), "of i o f c~ and of h")
    shared.tables.append(factors)
    numbers = (
        ("cell_limit", op.cell_limit),
        ("units", units),
        ("grain", min(grain, scope.pass_units)),
        ("cell_bits", op.cell_bits),
        ("hidden_zero", op.hidden_zero_point),
    )
    shared.descriptors.append(
        Descriptor(name, "sc_tflite_lstm_layer", matrices, (("factors", factors.name),), (), numbers)
    )
    cols = op.input.weights.shape[1]
    passes = -(-units // scope.pass_units)
    scope.call(
        name,
        "sc_tflite_lstm",
        f"&{shared.symbol(name)}",
        x.expression,
        before.expression,
        scope.places[op.h].expression,
        scope.places[op.c].expression,
        comment=f"{name}: i, o, f, g = W x + R h + b; c = f c + i g; h = o tanh(c), {cols} -> {units}, as "
        f"TensorFlow Lite computes it (W {stored_as(w, op.input)}, R {stored_as(r, op.recurrent)})",
        macs=op.input.weights.size + op.recurrent.weights.size,
        kernels=(w.kernel.name, r.kernel.name, "sc_tflite_sigmoid", "sc_tflite_tanh"),
        work=(
            ("sc_tflite_lstm", "call", 1),
            ("sc_tflite_lstm", "pass", passes),
            ("sc_tflite_lstm", "item", units),
            *multiplications(w, len(order), passes),
            *multiplications(r, len(order), passes),
        ),
    )


def _before(scope: Scope, h: str, ctype: str) -> Place:
    """A copy of the state, which the layer overwrites, in the type and padded as a kernel reads it."""
    place = scope.places[h]
    key = f"{h}_before_{ctype}"
    scope.places[key] = to = scope.local(place.value, f"{h}_before", ctype)
    if ctype == "int8_t":
        scope.copy(f"{h}_before", to, place.expression)
    else:
        function = f"sc_widen_s8_s{8 * C_BYTES[ctype]}"
        scope.padded_vector(
            f"{h}_before", function, place.value.size, to.readable, to.expression, place.expression
        )
    return to


def _gate_factors(op: QTfliteLstm) -> IntArray:
    """[4][input, recurrent][multiplier, shifts], then those of h."""
    pairs = np.stack([_words(op.input_factors), _words(op.recurrent_factors)], axis=1)
    return np.concatenate([pairs.ravel(), _words(op.hidden_factor).ravel()])


def _words(factors: QFixed) -> IntArray:
    """[n][multiplier, left | right << 8]."""
    left, right = np.maximum(factors.shifts, 0), np.maximum(-factors.shifts, 0)
    return np.stack([factors.multipliers, left | right << 8], axis=1)


def lower_dense(scope: Scope, op: QTfliteDense) -> None:
    """Rows as they come, each with its own factor."""
    shared, name = scope.shared, scope.shared.layer_name("dense")
    grain = grain_of(shared.group_rows)
    order = row_order(op.y.size, grain)
    chosen = choose_kernel(scope, name, op.matrix, op.x, order, row_starts(op.bias, 0, order))
    x = scope.stored(op.x, chosen.kernel)
    matrix = store_matrix(scope, f"{name}_weights", "matrix", chosen, op.matrix)
    words = np.stack([op.factors.multipliers, 31 - op.factors.shifts], axis=1)
    packed = permute(words, order).ravel()
    factors = Table(f"{name}_factors", "uint32_t", packed, "multiplier and shift of each row")
    shared.tables.append(factors)
    numbers = (
        ("rows", op.y.size),
        ("grain", grain),
        ("zero", op.zero_point),
        ("least", op.least),
    )
    shared.descriptors.append(
        Descriptor(name, "sc_tflite_dense_layer", (matrix,), (("factors", factors.name),), (), numbers)
    )
    scope.places[op.y.name] = y = scope.local(op.y)
    passes = -(-op.y.size // scope.pass_units)
    sizes = f"{op.matrix.weights.shape[1]} -> {op.y.size}"
    scope.call(
        name,
        "sc_tflite_dense",
        f"&{shared.symbol(name)}",
        x.expression,
        y.expression,
        comment=f"{name}: y = W x + b, {sizes}, as TensorFlow Lite does it ({stored_as(chosen, op.matrix)})",
        macs=op.matrix.weights.size,
        kernels=(chosen.kernel.name,),
        work=(
            ("sc_tflite_dense", "call", 1),
            ("sc_tflite_dense", "pass", passes),
            ("sc_tflite_dense", "item", op.y.size),
            *multiplications(chosen, len(order), passes),
        ),
    )


def lower_table(scope: Scope, op: QTfliteTable) -> None:
    """256 bytes, looked up."""
    layer = scope.shared.layer_name("table")
    name = scope.shared.table_name(f"{layer}_values")
    scope.shared.tables.append(Table(name, "uint8_t", op.table & 0xFF, "of every int8, from -128 on"))
    x = scope.place(op.x)
    scope.places[op.y.name] = y = scope.local(op.y)
    scope.vector(
        layer,
        "sc_tflite_table",
        op.y.size,
        y.expression,
        x.expression,
        op.y.size,
        scope.shared.symbol(name),
        comment=f"{layer}: {op.y.name}",
    )
