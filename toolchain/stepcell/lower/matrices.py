"""Matrices of layers: the kernel that reads each, the tables it reads, and what it then executes."""

import numpy as np

from stepcell.ir.qmodel import IntArray, QMatrix
from stepcell.ir.row_order import Order
from stepcell.lower.formats import Format, choose_format
from stepcell.lower.pack import permute
from stepcell.lower.parts import MatrixRef, Table, Work
from stepcell.lower.scope import Scope


def choose_kernel(
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


def row_starts(bias: IntArray, shift: int, order: Order) -> IntArray:
    """What accumulators start with: the bias, and the half that rounds their shift."""
    half = (1 << shift) >> 1
    return permute(bias + half, order, padding=half)


def multiplications(chosen: Format, rows: int, calls: int) -> Work:
    """What a kernel executes over all the calls that a layer makes of it."""
    name = chosen.kernel.name
    groups = rows // chosen.kernel.rows
    return ((name, "call", calls), (name, "group", groups), (name, "item", chosen.packed.items))


def store_matrix(scope: Scope, name: str, field: str, chosen: Format, matrix: QMatrix) -> MatrixRef:
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


def stored_as(chosen: Format, matrix: QMatrix) -> str:
    """How a matrix is stored, in words for a comment."""
    if chosen.packed.columns is None:
        return chosen.kernel.format
    return f"{chosen.kernel.format} blocks, density {float((matrix.weights != 0).mean()):.2f}"
