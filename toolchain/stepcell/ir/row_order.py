"""In which order a layer computes its rows: what kernels store, and what blocks of rows are blocks of.

The Model and the QModel keep the rows gate by gate. A layer computes in passes of up to `pass_units` units
(of the core); within a pass, the rows that one tail needs together lie together. Units are padded to a
multiple of `grain`. Orders list Model rows; -1 is padding.
"""

import numpy as np
from numpy.typing import NDArray

Order = NDArray[np.int64]
I, O, F, C = range(4)  # noqa: E741  # the names of the LSTM's gates
Z, R, N = range(3)


def row_order(rows: int, grain: int) -> Order:
    """The rows as they are: RNN, Dense."""
    return np.where(_units(rows, grain) < rows, _units(rows, grain), -1)


def lstm_row_order(units: int, grain: int) -> Order:
    """i o f c of each unit: the four accumulators of a unit are the rows of one block."""
    return _of_gates(_units(units, grain), units, (I, O, F, C)).reshape(-1)


def gru_row_order(units: int, grain: int, pass_units: int) -> Order:
    """In each pass z and r of each unit, then n of each unit."""
    passes = _passes(_units(units, grain), pass_units)
    return np.concatenate(
        [_of_gates(here, units, gates).reshape(-1) for here in passes for gates in ((Z, R), (N,))]
    )


def reset_row_order(units: int, grain: int) -> Order:
    """The r rows of a GRU that resets h before its matrix: all of them are needed before any n."""
    return _of_gates(_units(units, grain), units, (R,)).reshape(-1)


def update_row_order(units: int, grain: int, pass_units: int) -> Order:
    """The other rows of such a GRU: in each pass z of each unit, then n of each unit."""
    passes = _passes(_units(units, grain), pass_units)
    return np.concatenate([_of_gates(here, units, (gate,)).reshape(-1) for here in passes for gate in (Z, N)])


def grain_of(rows: int, rows_of_unit: int = 1) -> int:
    """How many units fill whole row groups of `rows` rows, each unit having `rows_of_unit` together."""
    return max(1, -(-rows // rows_of_unit))


def _units(units: int, grain: int) -> Order:
    return np.arange(-(-units // grain) * grain)


def _passes(units: Order, pass_units: int) -> list[Order]:
    return [units[first : first + pass_units] for first in range(0, len(units), pass_units)]


def _of_gates(here: Order, units: int, gates: tuple[int, ...]) -> Order:
    """[units, gates] of Model rows."""
    rows = np.asarray(gates) * units + here[:, None]
    return np.where(here[:, None] < units, rows, -1)
