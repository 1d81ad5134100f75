"""Lowering of the layers with weights: packed tables, a descriptor, one call."""

import numpy as np

from stepcell.ir.qmodel import IntArray, QDense, QGru, QLstm, QMatrix, QRecurrent, QRnn
from stepcell.lower.formats import Format, choose_format
from stepcell.lower.pack import gate_row_order, pack_blocks, pack_dense, permute
from stepcell.lower.plan import Descriptor, MatrixRef, Table, Work
from stepcell.lower.scope import Place, Scope, Shared

I, O, F, C = range(4)  # noqa: E741  # the names of the LSTM's gates
Z, R, N = range(3)


def lower_lstm(scope: Scope, op: QLstm) -> None:
    """Rows of four units: their i, o, f and c~ rows in turn."""
    order = gate_row_order(op.h_next.size, (I, O, F, C))
    numbers = (("units", op.h_next.size), ("cell_bits", op.cell_bits))
    _lower_recurrent(scope, op, "lstm", "sc_lstm", order, op.bias, numbers, (op.h, op.c))


def lower_gru(scope: Scope, op: QGru) -> None:
    """Rows of four units: z, r and n in turn; reset first, all the r rows come before."""
    units = op.h_next.size
    numbers = (("units", units),)
    if op.linear_before_reset:
        order = gate_row_order(units, (Z, R, N))
        _lower_recurrent(scope, op, "gru", "sc_gru", order, op.input_bias, numbers, (op.h,))
    else:
        order = np.concatenate([gate_row_order(units, (R,)), gate_row_order(units, (Z, N))])
        _lower_recurrent(scope, op, "gru", "sc_gru_reset_first", order, op.input_bias, numbers, (op.h,))


def lower_rnn(scope: Scope, op: QRnn) -> None:
    """One gate."""
    order = gate_row_order(op.h_next.size, (0,))
    function = "sc_rnn_relu" if op.relu else "sc_rnn_tanh"
    _lower_recurrent(scope, op, "rnn", function, order, op.bias, (("units", op.h_next.size),), (op.h,))


def _lower_recurrent(
    scope: Scope,
    op: QRecurrent,
    kind: str,
    function: str,
    order: IntArray,
    bias: IntArray,
    numbers: tuple[tuple[str, int], ...],
    states: tuple[str, ...],
) -> None:
    shared, layer = scope.shared, scope.shared.layer_name(kind)
    x, w = _matrix(scope, layer, "input", op.input, order, op.x)
    before = op.h if op.recurrent.reads_view else scope.snapshot(op.h)
    view, r = _matrix(scope, layer, "recurrent", op.recurrent, order, before)
    joint = op.requant
    packed = permute(joint.recurrent_multipliers << 16 | joint.input_multipliers, order)
    tables = [
        Table(f"{layer}_bias", "int32_t", permute(bias, order), "starts the input accumulators"),
        Table(f"{layer}_multipliers", "uint32_t", packed, "recurrent << 16 | input, of each row"),
    ]
    shifts = [
        ("input_shift", joint.input_pre_shift),
        ("recurrent_shift", joint.recurrent_pre_shift),
        ("post_shift", joint.post_shift),
    ]
    if isinstance(op, QGru) and op.linear_before_reset:
        candidate = permute(op.recurrent_bias, gate_row_order(op.h_next.size, (N,)))
        tables.insert(
            1, Table(f"{layer}_candidate_bias", "int32_t", candidate, "starts n's recurrent accumulators")
        )
        shifts += [
            ("candidate_input_shift", op.candidate_input_shift),
            ("candidate_recurrent_shift", op.candidate_recurrent_shift),
        ]
    named = tuple((table.name.removeprefix(f"{layer}_"), table.name) for table in tables)
    shared.tables.extend(tables)
    shared.descriptors.append(Descriptor(layer, f"sc_{kind}_layer", (w, r), named, tuple(shifts), numbers))
    scratch = []
    if function == "sc_gru_reset_first":
        gated = scope.view(op.h).value
        scratch = [scope.local(gated, f"{layer}_gated").expression]
    scope.call(
        layer,
        function,
        f"&{shared.symbol(layer)}",
        x.expression,
        view.expression,
        *scratch,
        *(scope.places[state].expression for state in states),
        comment=_comment(layer, op, w, r),
        macs=op.input.weights.size + op.recurrent.weights.size,
        kernels=(w.kernel, r.kernel),
        work=_recurrent_work(op, function, (w, r)),
    )


def _recurrent_work(op: QRecurrent, function: str, matrices: tuple[MatrixRef, ...]) -> Work:
    """A layer works in groups of four units; an LSTM's cells under 11 fraction bits convert otherwise."""
    units = op.h_next.size
    groups = -(-units // 4)
    coarse = isinstance(op, QLstm) and op.cell_bits < 11
    calls = 3 * groups if function == "sc_gru_reset_first" else groups
    return (
        (function, "call", 1),
        (function, "group", groups),
        (function, "coarse_item" if coarse else "item", units),
        *_multiplications(matrices, calls),
    )


def lower_dense(scope: Scope, op: QDense) -> None:
    """Rows as they come, padded to four."""
    shared, layer = scope.shared, scope.shared.layer_name("dense")
    order = gate_row_order(op.y.size, (0,))
    x, matrix = _matrix(scope, layer, "matrix", op.matrix, order, op.x)
    tables = [
        Table(f"{layer}_bias", "int32_t", permute(op.bias, order), "starts the accumulators"),
        Table(f"{layer}_multipliers", "uint16_t", permute(op.requant.multipliers, order), "of each row"),
    ]
    shared.tables.extend(tables)
    shared.descriptors.append(
        Descriptor(
            layer,
            "sc_dense_layer",
            (matrix,),
            (("bias", tables[0].name), ("multipliers", tables[1].name)),
            (("pre_shift", op.requant.pre_shift), ("post_shift", op.requant.post_shift)),
            (("rows", op.y.size), ("least", 0 if op.relu else -32768)),
        )
    )
    scope.places[op.y.name] = y = scope.local(op.y)
    relu = ", relu" if op.relu else ""
    scope.call(
        layer,
        "sc_dense",
        f"&{shared.symbol(layer)}",
        x.expression,
        y.expression,
        comment=f"{layer}: y = W x + b{relu}, {matrix.cols} -> {op.y.size} ({_stored(matrix, op.matrix)})",
        macs=op.matrix.weights.size,
        kernels=(matrix.kernel,),
        work=(
            ("sc_dense", "call", 1),
            ("sc_dense", "group", matrix.groups),
            ("sc_dense", "item", op.y.size),
            *_multiplications((matrix,), matrix.groups),
        ),
    )


def _matrix(
    scope: Scope, layer: str, part: str, matrix: QMatrix, order: IntArray, x: str
) -> tuple[Place, MatrixRef]:
    """Pack one matrix in the best format; the place of the vector that its kernel reads."""
    shared = scope.shared
    rows = permute(matrix.weights, order)
    place = scope.view(x) if matrix.reads_view else scope.places[x]
    chosen = choose_format(rows, place.value.bits, shared.costs)
    density = float((matrix.weights != 0).mean())
    shared.choices[f"{layer}.{part}"] = f"{chosen.why}; {density:.0%} of the weights are not zero"
    if chosen.width == 2 and not matrix.reads_view:
        place = scope.padded(x)
    name = f"{layer}_{part}"
    columns, items = _store(shared, name, rows, chosen)
    kernel = f"sc_matvec_{chosen.kernel}_s{place.value.bits}"
    return place, MatrixRef(part, kernel, name, columns, rows.shape[1], rows.shape[0] // 4, items)


def _multiplications(matrices: tuple[MatrixRef, ...], calls: int) -> Work:
    """What the kernels of a layer execute; a layer calls each of them `calls` times."""
    return tuple(
        work
        for m in matrices
        for work in ((m.kernel, "call", calls), (m.kernel, "group", m.groups), (m.kernel, "item", m.items))
    )


def _store(shared: Shared, name: str, rows: IntArray, chosen: Format) -> tuple[str | None, int]:
    """Add the tables of a packed matrix: (the table of block positions if sparse, words or blocks)."""
    if chosen.width is None:
        dense = pack_dense(rows).astype(np.int64)
        shared.tables.append(
            Table(name, "uint32_t", dense, f"{rows.shape[0]} x {rows.shape[1]} weights, dense")
        )
        return None, len(dense)
    words, positions = pack_blocks(rows, chosen.width)
    blocks = len(words) // chosen.width
    what = f"{rows.shape[0]} x {rows.shape[1]} weights, {blocks} blocks of {chosen.kernel}"
    stored = words.astype(np.int64) if len(words) else np.zeros(1, np.int64)  # C has no empty arrays
    shared.tables.append(Table(name, "uint32_t", stored, what))
    where = "for each row group: how many blocks, then where"
    shared.tables.append(Table(f"{name}_columns", "uint8_t", positions.astype(np.int64), where))
    return f"{name}_columns", blocks


_EQUATIONS = {
    "lstm": "i, o, f, g = W x + R h + b; c = f c + i g; h = o tanh(c)",
    "gru": "z, r, n = W x + R h + b, n with r (R h + b); h = n + z (h - n)",
    "gru_reset_first": "z, r, n = W x + R h + b, n with R (r h); h = n + z (h - n)",
    "rnn_tanh": "h = tanh(W x + R h + b)",
    "rnn_relu": "h = relu(W x + R h + b)",
}


def _comment(layer: str, op: QRecurrent, w: MatrixRef, r: MatrixRef) -> str:
    match op:
        case QLstm():
            kind = "lstm"
        case QGru():
            kind = "gru" if op.linear_before_reset else "gru_reset_first"
        case QRnn():
            kind = "rnn_relu" if op.relu else "rnn_tanh"
    sizes = f"{op.input.weights.shape[1]} -> {op.h_next.size}"
    return f"{layer}: {_EQUATIONS[kind]}, {sizes} (W {_stored(w, op.input)}, R {_stored(r, op.recurrent)})"


def _stored(ref: MatrixRef, matrix: QMatrix) -> str:
    kind = ref.kernel.removeprefix("sc_matvec_").rsplit("_", 1)[0]
    nonzero = float((matrix.weights != 0).mean())
    return "dense" if kind == "dense" else f"{kind} blocks, density {nonzero:.2f}"
