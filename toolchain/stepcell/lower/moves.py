"""Lowering of moved elements: part of an array, some copies, or a table of indices."""

from dataclasses import replace

import numpy as np

from stepcell.errors import StepcellError
from stepcell.ir.qmodel import QTake
from stepcell.ir.window import NOTHING
from stepcell.lower.parts import Table
from stepcell.lower.scope import Place, Scope

_LARGEST = 0xFFFF
"""Indices are 16-bit numbers; the largest stands for zero."""
_CALL_BYTES = 24
"""About what a call of sc_copy takes in flash: more runs than that pays for become a table."""


def lower_take(scope: Scope, op: QTake) -> None:
    """Nothing for part of a local array; a few runs of neighbours are copied; else a table says what."""
    source = scope.place(op.x)
    runs = _runs(op.indices)
    part = _part(scope, op, source, runs)
    if part is not None:
        scope.places[op.y.name] = part
        return
    layer = scope.shared.layer_name("take")
    scope.places[op.y.name] = to = scope.local(op.y)
    if len(runs) * _CALL_BYTES <= 2 * len(op.indices):
        _copy_runs(scope, layer, op, source, to, runs)
    else:
        _take_by_table(scope, layer, op, source, to)


def _part(scope: Scope, op: QTake, source: Place, runs: list[tuple[int, int, int]]) -> Place | None:
    """Neighbours in a local array, which need not be moved where they are aligned; None for anything else."""
    name, _, _ = source.expression.partition(" ")
    first, _, zeros = runs[0]
    if len(runs) > 1 or zeros or all(array.name != name for array in scope.locals):
        return None
    if first == 0 and op.y.size == source.value.size:
        return replace(source, value=op.y)
    if first * op.y.bits // 8 % 4:
        return None
    return Place(_behind(source.expression, first), op.y, op.y.size, source.ctype)


def _behind(expression: str, count: int) -> str:
    return expression if count == 0 else f"{expression} + {count}"


def _runs(indices: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """(first index, how many neighbours, how many zeros behind them)."""
    runs: list[list[int]] = []
    for index in indices:
        if index == NOTHING:
            if not runs:
                runs.append([0, 0, 0])
            runs[-1][2] += 1
        elif runs and runs[-1][2] == 0 and index == runs[-1][0] + runs[-1][1]:
            runs[-1][1] += 1
        else:
            runs.append([index, 1, 0])
    return [(first, count, zeros) for first, count, zeros in runs]


def _copy_runs(
    scope: Scope, layer: str, op: QTake, source: Place, to: Place, runs: list[tuple[int, int, int]]
) -> None:
    at, unit = 0, op.y.bits // 8
    for first, count, zeros in runs:
        target, start = _behind(to.expression, at), _behind(source.expression, first)
        comment = f"{layer}: {op.y.name}" if at == 0 else ""
        size = count * unit
        scope.padded_vector(layer, "sc_copy", size, size + zeros * unit, target, start, comment=comment)
        at += count + zeros


def _take_by_table(scope: Scope, layer: str, op: QTake, source: Place, to: Place) -> None:
    indices = np.asarray(op.indices, np.int64)
    if source.value.size >= _LARGEST:
        raise StepcellError(
            f"{op.y.name}: it takes from {source.value.size} elements; {_LARGEST - 1} can be counted.",
            "split the tensor.",
        )
    table = Table(f"{layer}_indices", "uint16_t", indices & _LARGEST, f"which elements {op.y.name} takes")
    scope.shared.tables.append(table)
    kind = "sc_take_or_zero" if (indices == NOTHING).any() else "sc_take"
    scope.vector(
        layer,
        f"{kind}_s{op.y.bits}",
        op.y.size,
        to.expression,
        source.expression,
        scope.shared.symbol(table.name),
        op.y.size,
        comment=f"{layer}: {op.y.name}",
    )
