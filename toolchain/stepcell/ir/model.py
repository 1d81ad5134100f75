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


@dataclass(frozen=True)
class SourceTensor:
    """A tensor of the source file: what each of its axes is, and its size where the file fixes it.

    Axes are `batch`, `time` or `inner`; a file for one step has no `time`.
    """

    name: str
    axes: tuple[str, ...]
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class StateTensor:
    """A state of the Model that the source takes and returns as (part of) a tensor.

    `index` slices the source tensor [..., batch, ...] to this state; None in it is the batch axis.
    """

    state: str
    tensor_in: str
    tensor_out: str | None
    index: tuple[int | None, ...]


@dataclass(frozen=True)
class Source:
    """Where a Model came from, and how to feed the original to ONNX Runtime."""

    file: str
    sha256: str
    kind: Literal["onnx", "torch"]
    inputs: tuple[SourceTensor, ...] = ()
    outputs: tuple[SourceTensor, ...] = ()
    states: tuple[StateTensor, ...] = ()
    bound: tuple[tuple[str, float], ...] = ()
    """(input, number): inputs that the user fixed on import."""


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

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", _frozen(self.weights))
        object.__setattr__(self, "masks", _frozen(self.masks))

    @property
    def main(self) -> Function:
        """The only function of a model that has one."""
        if len(self.functions) != 1:
            raise ValueError(f"{self.name} has {len(self.functions)} functions")
        return self.functions[0]

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
        return replace(self, weights={**self.weights, **weights}, masks={**self.masks, **(masks or {})})


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
