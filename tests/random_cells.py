"""Random recurrent operations beyond what the kernels run: any activation, peepholes, clip, projection."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from stepcell.ir import Function, Model, Stage, State, verify
from stepcell.ir.gates import ALPHAS, BETAS, FUNCTIONS
from stepcell.ir.ops import SIGMOID, TANH, Gate, Gru, Lstm, Recurrent, Rnn, Value

KINDS = ("lstm", "gru_after", "gru_before", "rnn")
BOUNDED = ("Sigmoid", "Tanh", "ScaledTanh", "HardSigmoid", "Softsign")
"""Activations with which no state diverges."""


@dataclass
class Parts:
    """A cell, its states, what they become, and its parameters."""

    op: Recurrent
    states: list[State]
    updates: list[tuple[str, str]]
    weights: dict[str, NDArray[np.float64]] = field(default_factory=dict)


def random_gate(rng: Generator, names: tuple[str, ...] = tuple(FUNCTIONS)) -> Gate:
    """Any activation, with parameters where it takes any."""
    name = str(rng.choice(names))
    plain = {"Sigmoid": SIGMOID, "Tanh": TANH}
    if name in plain:
        return plain[name]
    alpha = float(rng.uniform(0.2, 0.9)) if name in ALPHAS else None
    return Gate(name, alpha, float(rng.uniform(0.3, 0.6)) if name in BETAS else None)


def random_cell(
    rng: Generator,
    kind: str,
    x: str,
    inputs: int,
    units: int,
    name: str = "cell",
    gates: tuple[str, ...] = tuple(FUNCTIONS),
    initial: bool = True,
) -> Parts:
    """One operation over x [inputs] with everything drawn; `gates` are the activations to draw from."""
    rows = {"lstm": 4, "rnn": 1}.get(kind, 3) * units
    special = kind == "lstm"
    projected = int(rng.integers(1, units + 1)) if special and rng.random() < 0.3 else None
    width = projected or units
    w, r, wb, rb = (f"{name}_{kind}" for kind in ("w", "r", "wb", "rb"))
    weights = {
        w: rng.normal(size=(rows, inputs)) / np.sqrt(inputs),
        r: rng.normal(size=(rows, width)) / np.sqrt(width) * 0.5,
        wb: rng.normal(size=rows) * 0.2,
        rb: rng.normal(size=rows) * 0.2,
    }
    clip = float(rng.choice([0.4, 1.0, 3.0])) if rng.random() < 0.4 else None
    h, h_next = f"{name}_h", Value(f"{name}_h_next", (width,))
    starts = {h: rng.uniform(-0.5, 0.5, width) if initial else np.zeros(width)}
    updates = [(h, h_next.name)]
    first, second, third = (random_gate(rng, gates) for _ in range(3))
    if kind == "rnn":
        op: Recurrent = Rnn(x, h, h_next, w, r, wb, rb, gate=first, clip=clip)
    elif kind != "lstm":
        op = Gru(x, h, h_next, w, r, wb, rb, kind == "gru_after", gates=(first, second), clip=clip)
    else:
        c, c_next = f"{name}_c", Value(f"{name}_c_next", (units,))
        starts[c] = rng.uniform(-0.5, 0.5, units) if initial else np.zeros(units)
        updates.append((c, c_next.name))
        holes = f"{name}_p" if rng.random() < 0.5 else None
        if holes is not None:
            weights[holes] = rng.normal(size=3 * units) * 0.3
        projection = None if projected is None else f"{name}_projection"
        if projection is not None:
            weights[projection] = rng.normal(size=(width, units)) / np.sqrt(units)
        coupled = bool(rng.random() < 0.3)
        lstm = Lstm(x, h, c, h_next, c_next, w, r, wb, rb, (first, second, third))
        op = replace(lstm, peepholes=holes, projection=projection, clip=clip, input_forget=coupled)
    return Parts(op, [State(n, v) for n, v in starts.items()], updates, weights)


def cell_model(parts: Parts, x: Value) -> Model:
    """The cell alone: x and what h and c become at every step."""
    outputs = tuple(value for _, value in parts.updates)
    stage = Stage("main", (x,), (parts.op,), tuple(parts.updates), outputs)
    function = Function("main", (x,), (stage,), None, outputs)
    return verify(Model("cell", (function,), tuple(parts.states), parts.weights))
