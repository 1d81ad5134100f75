"""Delta: layers of held values keep the sums of their rows in the state, and add the columns that changed."""

from dataclasses import replace

import numpy as np

from stepcell.errors import StepcellError
from stepcell.ir.qmodel import IntArray, QGru, QHold, QLstm, QMatrix, QRecurrent, QRnn
from stepcell.ir.row_order import Order
from stepcell.lower.formats import Format
from stepcell.lower.kernels import Kernel, Packed, hilo, rows8
from stepcell.lower.kernels.kernel import split_blocks
from stepcell.lower.pack import permute
from stepcell.lower.scope import Place, Scope
from stepcell.lower.sums import Part, Sums

MOST_COLUMNS = 8192
"""A change says in 16 bits where its column lies: 8 times its number."""
HIGH_LIMIT = 1 << 23
"""Sums of rows in pairs have 24 bits."""


NO_STARTS = np.zeros(0, np.int32)
"""Sums start in the state, not in a table."""


def _pack_columns(weights: IntArray, starts: IntArray) -> Packed:
    """Two words a column of a row group."""
    return replace(rows8.pack_dense(weights, starts), start=NO_STARTS, stride=0)


def _pack_pairs(weights: IntArray, _starts: IntArray) -> Packed:
    """Four words for each two columns of a row group."""
    blocks = split_blocks(weights, ROWS, 2)
    return Packed(hilo.pair_rows(blocks), None, NO_STARTS, 0, items=blocks.shape[0] * blocks.shape[1])


ROWS = 8
COLUMNS = Kernel("sc_delta_rows8", "delta", ROWS, 1, "sc_change", 8, _pack_columns)
PAIRS = Kernel("sc_delta_hilo", "delta in pairs", ROWS, 2, "sc_change_pair", 8, _pack_pairs)
"""For cores that multiply halfwords in pairs; where one column of a pair changed, both are computed."""


def reads_held(scope: Scope, op: QRecurrent) -> bool:
    """Whether the matrices of a layer read what is held of x and h."""
    assert scope.stage is not None
    return any(isinstance(o, QHold) and o.y.name == op.recurrent_input for o in scope.stage.ops)


def lower_hold(scope: Scope, op: QHold) -> None:
    """Updates what is held where it lies; what the layer reads is the list of changes."""
    size = op.y.size
    if size > MOST_COLUMNS:
        raise StepcellError(
            f"{op.x}: a layer that reads {size:,} values is too wide for --delta, whose columns end at "
            f"{MOST_COLUMNS:,}.",
            "leave --delta out.",
        )
    kernel = _kernel(scope, op)
    function = f"sc_hold_{'pairs_' if kernel is PAIRS else ''}s{16 if op.reads_view else 8}"
    source = scope.place(op.x).expression if op.reads_view else scope.anywhere(op.x)
    held = scope.places[op.y.name].expression
    entries = -(-size // 2) + 2 if kernel is PAIRS else size + 1
    changes = scope.array(f"{op.held}_changes", kernel.vector, entries)
    scope.places[op.y.name] = Place(changes, op.y, entries, kernel.vector)
    scope.call(
        op.held,
        function,
        *(held, source, size, op.threshold, changes),
        comment=f"{op.held}: what changed by more than {op.threshold}",
        work=((function, "call", 1), (function, "item", size), (function, "change", size)),
    )


def _kernel(scope: Scope, op: QHold) -> Kernel:
    """Pairs of columns where the core is made for them, and the sums of no row leave 24 bits."""
    if "hilo" not in scope.shared.core.kernels:
        return COLUMNS
    matrix, bias = _read_by(scope, op)
    most = np.abs(matrix.weights).sum(axis=1) * matrix.input_bound + np.abs(bias) + (1 << 15)
    return PAIRS if (most < HIGH_LIMIT).all() else COLUMNS


def _read_by(scope: Scope, op: QHold) -> tuple[QMatrix, IntArray]:
    """(the matrix that reads a held value, its bias); 2^15 is the largest half that sums start with."""
    assert scope.stage is not None
    recurrent = (o for o in scope.stage.ops if isinstance(o, QLstm | QGru | QRnn))
    layer = next(o for o in recurrent if op.y.name in (o.x, o.recurrent_input))
    is_input = layer.x == op.y.name
    if isinstance(layer, QGru):
        return (layer.input, layer.input_bias) if is_input else (layer.recurrent, layer.recurrent_bias)
    return (layer.input, layer.bias) if is_input else (layer.recurrent, 0 * layer.bias)


def lower_matrices(
    scope: Scope, op: QRecurrent, name: str, order: Order, starts: tuple[IntArray, IntArray]
) -> tuple[Format, Format, str]:
    """(input matrix, recurrent matrix, where the state keeps their sums) of a layer of held values."""
    assert op.recurrent_input is not None
    held = [_held_state(scope, value) for value in (op.x, op.recurrent_input)]
    weights = [permute(matrix.weights, order) for matrix in (op.input, op.recurrent)]
    parts = [Part(*part) for part in zip(held, weights, starts, strict=True)]
    sums = scope.shared.field_name(f"{name}_sums")
    chunk = 4 * scope.pass_units if isinstance(op, QLstm) else None
    scope.shared.sums.append(Sums(sums, (parts[0], parts[1]), chunk))
    read = (op.x, op.recurrent_input)
    kernels = (COLUMNS if scope.places[v].ctype == COLUMNS.vector else PAIRS for v in read)
    stored = [_store(kernel, part.weights) for kernel, part in zip(kernels, parts, strict=True)]
    for matrix, store in zip(("input", "recurrent"), stored, strict=True):
        scope.shared.choices[f"{name}.{matrix}"] = store.why
    return stored[0], stored[1], f"s->{sums}"


def _held_state(scope: Scope, value: str) -> str:
    """The state that keeps a QHold's value from step to step."""
    assert scope.stage is not None
    return next(state for state, updated in scope.stage.updates if updated == value)


def _store(kernel: Kernel, weights: IntArray) -> Format:
    packed = kernel.pack(weights, np.zeros(len(weights), np.int64))
    why = f"{kernel.format} ({kernel.name}): {packed.bytes} bytes; columns are read when they change"
    return Format(kernel, packed, 0, packed.bytes, why)
