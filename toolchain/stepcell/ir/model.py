"""The Model: what a trained network computes, one step at a time.

A model is named functions (usually one, `main`) of ordered stages. A stage runs a step graph over
one sequence, `step(x_t, state) -> (y_t, state')`, forwards or backwards. An optional `finish` graph
reads the states once a sequence has ended: last-step heads, and the mean or maximum over time.
States and weights belong to the model, so that functions can share them (an encoder and a decoder).
Everything is immutable: a pass takes a Model and returns a new one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.ops import Dtype, Op, Recurrent, Value
from stepcell.ir.source_integers import SourceIntegers

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Direction = Literal["forward", "backward"]


@dataclass(frozen=True)
class Block:
    """What is pruned at once: `rows` rows of one gate, one after the other, times `cols` columns."""

    rows: int
    cols: int

    def __str__(self) -> str:
        return "unstructured" if (self.rows, self.cols) == (1, 1) else f"{self.rows}x{self.cols}"


@dataclass(frozen=True, eq=False)
class Mask:
    """Which weights of a matrix are kept, in the Model's own row order (ONNX gate order)."""

    keep: BoolArray
    block: Block


@dataclass(frozen=True, eq=False)
class State:
    """A named state; `initial` has its shape and holds where every sequence starts."""

    name: str
    initial: FloatArray
    dtype: Dtype = "float"

    @property
    def value(self) -> Value:
        """The state as a value that a graph can read."""
        return Value(self.name, self.initial.shape, self.dtype)


@dataclass(frozen=True)
class Stage:
    """A step graph over one sequence; `inputs` are the function's, or outputs of an earlier stage."""

    name: str
    inputs: tuple[Value, ...]
    ops: tuple[Op, ...]
    updates: tuple[tuple[str, str], ...]
    """(state, value): what each state becomes after the step."""
    outputs: tuple[str, ...] = ()
    """Values that leave the stage at every step."""
    direction: Direction = "forward"
    frames_per_step: int = 1


@dataclass(frozen=True)
class Finish:
    """A graph that reads states once; its outputs exist once a sequence."""

    ops: tuple[Op, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Function:
    """What the user calls. `outputs` names values of stages (every step) or of `finish` (every sequence)."""

    name: str
    inputs: tuple[Value, ...]
    stages: tuple[Stage, ...]
    finish: Finish | None
    outputs: tuple[str, ...]

    @property
    def frames_per_step(self) -> int:
        """Frames of the source that one step takes in; they are then the leading axis of every input."""
        return self.stages[0].frames_per_step

    @property
    def is_step(self) -> bool:
        """Whether it can be called a step at a time."""
        return len(self.stages) == 1 and self.stages[0].direction == "forward"


@dataclass(frozen=True)
class SourceTensor:
    """A tensor of the source file: what each of its axes is, and its size where the file fixes it.

    Axes are `batch`, `time` or `inner`; a file for one step has no `time`.
    """

    name: str
    axes: tuple[str, ...]
    shape: tuple[int | None, ...]
    frames_per_step: int = 1
    """How many frames one step has of an output; they are the first axis of its value."""


@dataclass(frozen=True)
class StateTensor:
    """A state of the Model that the source takes and returns as (part of) a tensor.

    `index` picks the state out of the source tensor, one entry an axis from the first on: None for the
    batch axis, an index, or (start, stop, step). What is left, its batch axis apart, is the state in order.
    """

    state: str
    tensor_in: str
    tensor_out: str | None
    index: tuple[int | tuple[int, int, int] | None, ...]

    @property
    def key(self) -> tuple[int | slice, ...]:
        """The index as numpy takes it."""
        return tuple(_part(entry) for entry in self.index)

    @property
    def batch_axis(self) -> int | None:
        """The batch axis among those that are left after the index; None without one."""
        if None not in self.index:
            return None
        return sum(not isinstance(entry, int) for entry in self.index[: self.index.index(None)])


def _part(entry: int | tuple[int, int, int] | None) -> int | slice:
    return slice(None) if entry is None else entry if isinstance(entry, int) else slice(*entry)


@dataclass(frozen=True)
class Source:
    """Where a Model came from, and how to feed the original to ONNX Runtime."""

    file: str
    sha256: str
    kind: Literal["onnx", "torch", "tflite", "keras"]
    inputs: tuple[SourceTensor, ...] = ()
    outputs: tuple[SourceTensor, ...] = ()
    states: tuple[StateTensor, ...] = ()
    bound: tuple[tuple[str, float], ...] = ()
    """(input, number): inputs that the user fixed on import."""
    shortest: int = 1
    """Frames that a sequence needs at least, so that the source computes anything."""
    frames_per_step: int = 1
    """Frames of its inputs to each of an output of every step."""
    memories: tuple[StateTensor, ...] = ()
    """Inputs that hold every step of another function, as many as their index says; none returns."""
    lengths: str | None = None
    """The input that takes the lengths of ragged sequences; without one, sequences run by equal lengths."""
    judge: str = ""
    """What the import was checked against where that is not what everyone has: for the user to read."""
    parts: "tuple[tuple[str, Source], ...]" = ()
    """(function, its own source) where a model has several; the fields above but `judge` are then empty."""


def _frozen(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(mapping))


@dataclass(frozen=True, eq=False)
class Model:
    """A whole network. `weights` and `masks` are read-only; use `with_weights` to change them."""

    name: str
    functions: tuple[Function, ...]
    states: tuple[State, ...]
    weights: Mapping[str, FloatArray]
    masks: Mapping[str, Mask] = field(default_factory=dict)
    source: Source | None = None
    quantized: Mapping[str, SourceIntegers] = field(default_factory=dict)
    """Integers of an already quantized source, by what they define; empty for any other, and once changed."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "quantized", _frozen(self.quantized))
        object.__setattr__(self, "weights", _frozen(self.weights))
        object.__setattr__(self, "masks", _frozen(self.masks))

    @property
    def main(self) -> Function:
        """The only function of a model that has one."""
        if len(self.functions) != 1:
            raise ValueError(f"{self.name} has {len(self.functions)} functions")
        return self.functions[0]

    def function(self, name: str | None) -> Function:
        """The function called `name`; the only one for None."""
        return self.main if name is None else next(f for f in self.functions if f.name == name)

    def state(self, name: str) -> State:
        """The state called `name`; KeyError if there is none."""
        for state in self.states:
            if state.name == name:
                return state
        raise KeyError(name)

    def with_weights(
        self, weights: Mapping[str, FloatArray], masks: Mapping[str, Mask] | None = None
    ) -> "Model":
        """This model with some weights (and masks) replaced."""
        changed = {**self.weights, **weights}
        return replace(self, weights=changed, masks={**self.masks, **(masks or {})}, quantized={})


def all_ops(model: Model) -> tuple[Op, ...]:
    """Every operation of every function, in order of execution."""
    found: list[Op] = []
    for function in model.functions:
        for stage in function.stages:
            found.extend(stage.ops)
        if function.finish is not None:
            found.extend(function.finish.ops)
    return tuple(found)


def recurrent_ops(model: Model) -> tuple[Recurrent, ...]:
    """Every LSTM, GRU and RNN of the model, in order of execution."""
    return tuple(op for op in all_ops(model) if isinstance(op, Recurrent))
