"""The parts of a random model: preludes, layers, heads, and weights in several styles."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from random_cells import BOUNDED, random_cell
from random_functions import FUNCTIONAL, KINDS, functional
from random_windows import WINDOWS, windowed
from stepcell.ir import Block, Mask, State
from stepcell.ir.operators import FunctionName, Operator
from stepcell.ir.ops import (
    RELU,
    TANH,
    Activate,
    Binary,
    Concat,
    Constant,
    Count,
    Dense,
    Dtype,
    Gru,
    Lstm,
    Mean,
    Op,
    Rnn,
    Take,
    Value,
)

LAYERS = ("lstm", "gru_after", "gru_before", "rnn_tanh", "rnn_relu", "any_lstm", "any_gru", "any_rnn")
"""gru_after: linear_before_reset=1; gru_before: 0; any: all else that ONNX allows (random_cells.py)."""
PRELUDES = (
    "none",
    "standardize",
    "maximum",
    "reorder",
    "dense_relu",
    "activation",
    "previous_frame",
    "matrix",
    *FUNCTIONAL,
    *WINDOWS,
)
HEADS = (
    "state",
    "every_step",
    "every_step_sigmoid",
    "last",
    "last_relu",
    "last_tanh",
    "held",
    "mean",
    "max",
    "mean_max",
)
STYLES = ("gaussian", "gaussian", "large", "extremes", "dead_rows", "sparse", "big_biases")
BLOCKS = (Block(1, 1), Block(4, 1), Block(4, 2), Block(1, 4))


@dataclass
class Build:
    """A model under construction."""

    rng: Generator
    max_units: int
    style: str
    nonzero: bool
    ops: list[Op] = field(default_factory=list)
    finish: list[Op] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    updates: list[tuple[str, str]] = field(default_factory=list)
    weights: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    masks: dict[str, Mask] = field(default_factory=dict)
    made: int = 0

    def size(self) -> int:
        """1..max_units, small sizes and large ones equally likely (log-uniform)."""
        return int(self.max_units ** self.rng.random())

    def value(self, stem: str, *shape: int) -> Value:
        """A value with a name of its own."""
        self.made += 1
        return Value(f"{stem}{self.made}", shape)

    def add(self, op: Any, at_end: bool = False) -> Value:
        """Append an operation with one result, to the step graph or to `finish`; returns the result."""
        (self.finish if at_end else self.ops).append(op)
        value: Value = op.y
        return value

    def state(
        self, name: str, shape: tuple[int, ...], update: str, dtype: Dtype = "float", start: float = 0.0
    ) -> str:
        """Declare a state and what it becomes; returns its name."""
        initial = np.full(shape, start)
        if self.nonzero and name[0] in "hc" and dtype == "float":
            initial = self.rng.uniform(-0.9, 0.9, shape)
        self.states.append(State(name, initial, dtype))
        self.updates.append((name, update))
        return name

    def matrix(self, stem: str, gates: int, rows: int, cols: int) -> tuple[str, str]:
        """Weights [gates*rows, cols] in this model's style, and a bias: their names."""
        self.made += 1
        w, b = f"{stem}_w{self.made}", f"{stem}_b{self.made}"
        shape = (gates * rows, cols)
        self.weights[w] = self.rng.normal(size=shape) / np.sqrt(cols) * (8 if self.style == "large" else 1)
        self.weights[b] = self.rng.normal(size=shape[0]) * (6 if self.style == "big_biases" else 0.3)
        if self.style == "extremes":
            self.weights[w] = self.rng.choice([-1.0, 1.0], shape) * self.rng.choice([0.1, 1.0])
        if self.style == "dead_rows":
            self.weights[w][self.rng.random(shape[0]) < 0.3] *= self.rng.choice([0.0, 1e-12, 1e-3])
        if self.style == "sparse":
            self._prune(w, gates, rows)
        return w, b

    def _prune(self, name: str, gates: int, rows: int) -> None:
        block = BLOCKS[self.rng.integers(len(BLOCKS))]
        cols = self.weights[name].shape[1]
        grid = self.rng.random((gates, -(-rows // block.rows), -(-cols // block.cols))) < self.rng.uniform(
            0, 0.7
        )
        keep = grid.repeat(block.rows, axis=1)[:, :rows].repeat(block.cols, axis=2)[:, :, :cols]
        self.masks[name] = Mask(keep.reshape(gates * rows, cols), block)
        self.weights[name] = self.weights[name] * self.masks[name].keep

    def _limit(self, name: str, gain: float) -> None:
        """Let no row amplify more than that: three such layers in a row have to fit the integers."""
        largest = float(np.abs(self.weights[name]).sum(axis=1).max())
        self.weights[name] = self.weights[name] * min(1.0, gain / max(largest, 1e-9))

    def constant(self, array: NDArray[np.float64], at_end: bool = False) -> Value:
        """A parameter as a value."""
        y = self.value("constant", *array.shape)
        self.weights[f"{y.name}_value"] = array
        return self.add(Constant(y, f"{y.name}_value"), at_end)

    def binary(self, a: str, b: str, shape: tuple[int, ...], operator: Operator) -> Value:
        """One operation on two values."""
        return self.add(Binary(a, b, self.value(operator, *shape), operator))

    def dense(self, x: Value, function: FunctionName | None = None, at_end: bool = False) -> Value:
        """A dense layer of a drawn size, and what may follow it."""
        size = self.size()
        w, b = self.matrix("dense", 1, size, x.size)
        if not at_end:
            self._limit(w, 2.0)
        y = self.add(Dense(x.name, self.value("dense", size), w, b), at_end)
        return y if function is None else self.activate(y, function, at_end)

    def activate(self, x: Value, function: FunctionName, at_end: bool = False) -> Value:
        """An element-by-element function, or softmax."""
        return self.add(Activate(x.name, self.value(function, *x.shape), function), at_end)

    def prelude(self, kind: str, x: Value) -> Value:
        """What happens to the input before the first layer."""
        match kind:
            case "standardize":
                mean, gain = self.rng.normal(size=x.shape), self.rng.uniform(0.2, 3.0, (1,))
                centred = self.binary(x.name, self.constant(mean).name, x.shape, "sub")
                return self.binary(centred.name, self.constant(gain).name, x.shape, "mul")
            case "maximum":
                floor = self.binary(x.name, self.constant(self.rng.normal(size=x.shape)).name, x.shape, "max")
                return self.binary(floor.name, x.name, x.shape, "add")
            case "reorder":
                picked = self.take(x, self.rng.integers(0, x.size, self.size()))
                return self.add(Concat((x.name, picked.name), self.value("concat", x.size + picked.size)))
            case "dense_relu":
                return self.dense(x, "relu")
            case "activation":
                functions: tuple[FunctionName, ...] = ("identity", "relu", "sigmoid", "tanh")
                return self.activate(x, functions[self.rng.integers(len(functions))])
            case "previous_frame":
                both = Concat(("previous", x.name), self.value("concat", 2 * x.size))
                self.state("previous", x.shape, x.name)
                return self.add(both)
            case "matrix":
                return self.take(x, self.rng.permutation(x.size))
            case _ if kind in WINDOWS:
                return windowed(self, kind, x)
            case _ if kind in KINDS:
                return functional(self, kind, x)
            case _:
                return x

    def take(self, x: Value, indices: NDArray[np.int64]) -> Value:
        """Picked elements of a vector."""
        return self.add(Take(x.name, self.value("take", len(indices)), tuple(int(i) for i in indices)))

    def layer(self, kind: str, x: Value) -> Value:
        """One recurrent layer; returns its new hidden state."""
        if kind.startswith("any_"):
            return self._any_layer(kind.removeprefix("any_"), x)
        units, gates = self.size(), {"lstm": 4, "gru_after": 3, "gru_before": 3}.get(kind, 1)
        w, wb = self.matrix("input", gates, units, x.size)
        r, rb = self.matrix("recurrent", gates, units, units)
        y = self.value("next", units)
        h = self.state(f"h{self.made}", (units,), y.name)
        if kind == "lstm":
            cell = self.value("cell", units)
            c = self.state(f"c{self.made}", (units,), cell.name)
            self.ops.append(Lstm(x.name, h, c, y, cell, w, r, wb, rb))
        elif kind.startswith("gru"):
            self.ops.append(Gru(x.name, h, y, w, r, wb, rb, kind == "gru_after"))
        else:
            if kind == "rnn_relu":  # an unbounded state must not explode
                self._limit(w, 2.0)
                self._limit(r, 0.9)
            self.ops.append(Rnn(x.name, h, y, w, r, wb, rb, RELU if kind == "rnn_relu" else TANH))
        return y

    def _any_layer(self, kind: str, x: Value) -> Value:
        self.made += 1
        kind = str(self.rng.choice(["gru_after", "gru_before"])) if kind == "gru" else kind
        drawn = random_cell(
            self.rng, kind, x.name, x.size, self.size(), f"cell{self.made}", BOUNDED, self.nonzero
        )
        self.ops.append(drawn.op)
        self.states += drawn.states
        self.updates += drawn.updates
        self.weights |= drawn.weights
        return drawn.op.h_next

    def head(self, kind: str, x: Value, softmax: bool) -> tuple[str, bool]:
        """(the output's name, whether `finish` makes it)."""
        finished = not kind.startswith(("state", "every"))
        y = self._head(kind, x)
        return (self.activate(y, "softmax", finished) if softmax else y).name, finished

    def _head(self, kind: str, x: Value) -> Value:
        functions: dict[str, FunctionName] = {"last_relu": "relu", "last_tanh": "tanh"}
        match kind:
            case "state":
                return x
            case "every_step":
                return self.dense(self.dense(x, "relu") if self.rng.random() < 0.3 else x)
            case "last_state":
                return self.dense(self._last(x), at_end=True)
            case "every_step_sigmoid":
                return self.dense(x, "sigmoid")
            case "held":
                y = self.dense(x)
                return Value(self.state("newest", y.shape, y.name), y.shape)
            case "mean":
                return self.dense(self._mean(x), at_end=True)
            case "max":
                return self.dense(self._max(x), at_end=True)
            case "mean_max":
                both = Concat((self._mean(x).name, self._max(x).name), self.value("concat", 2 * x.size))
                return self.dense(self.add(both, at_end=True), at_end=True)
            case _:
                return self.dense(self.dense(self._last(x), functions.get(kind), at_end=True), at_end=True)

    def _last(self, x: Value) -> Value:
        last = next((s for s, update in self.updates if update == x.name), None)
        return Value(last or self.state("newest", x.shape, x.name), x.shape)

    def _mean(self, x: Value) -> Value:
        new = self.binary("total", x.name, x.shape, "add")
        self.state("total", x.shape, new.name)
        self.ops.append(Count("steps", Value("steps_next", (), "token")))
        self.state("steps", (), "steps_next", "token")
        return self.add(Mean("total", "steps", self.value("mean", *x.shape)), at_end=True)

    def _max(self, x: Value) -> Value:
        new = self.binary("largest", x.name, x.shape, "max")
        self.state("largest", x.shape, new.name, start=float(np.finfo(np.float32).min))
        return Value("largest", x.shape)
