"""What lifting builds up: for every source tensor what it is, and the operations of the Model.

A source tensor is either known (a numpy array: weights, and all shape arithmetic) or a `Tensor`:
some elements of one value of the Model, picked by a table, so that every reshape, transpose, slice
and gather only changes the table until an operation needs the elements in order.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stepcell.errors import StepcellError
from stepcell.importers.graph import Array, Graph, Node, Unsupported
from stepcell.importers.lift.axes import Axes, Sizes, extent, inner, labels, require_inner, without
from stepcell.ir import State
from stepcell.ir.graph import writes
from stepcell.ir.ops import (
    Constant,
    Dtype,
    Op,
    Take,
    Value,
)

Phase = Literal["step", "end", "initial", "lengths", "attention"]
Direction = Literal["forward", "backward"]

LARGEST_STEP = 2**20
"""Numbers of a value in one step; a damaged file may ask for any."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """Elements of `value`: table[i, j, ...] is the flat index within one step; one dimension per axis.

    Along a batch or time axis the table has size one. `phase` tells whether the tensor exists at
    every step, once a sequence has ended, or is what the caller hands in: a state, or the sequences' lengths.
    What is not computed yet is "attention".
    """

    value: str
    table: NDArray[np.intp]
    axes: Axes
    phase: Phase
    pads: tuple[int, int] = (0, 0)
    """How many frames more than its sequence it holds (before, after) along the time axis; negative: fewer.

    What is before are zeros; what is after are zeros, too, but for the first `tail` frames.
    """
    tail: int = 0


Known = Array
Lifted = Tensor | Known


@dataclass(eq=False)
class Lift:
    """The state of one attempt at lifting a graph with the labels known so far."""

    graph: Graph
    sizes: Sizes
    roles: dict[str, str]
    single_step: bool
    """The source has no time axis (or one of size one, and takes its state): one call is one step."""
    env: dict[str, Lifted] = field(default_factory=dict)
    uses: Counter[str] = field(default_factory=Counter)
    values: dict[str, Value] = field(default_factory=dict)
    steps: list[tuple[Op, Direction]] = field(default_factory=list)
    ends: list[Op] = field(default_factory=list)
    states: dict[str, State] = field(default_factory=dict)
    updates: dict[str, str] = field(default_factory=dict)
    """state -> the value it becomes"""
    weights: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    open_bias: dict[str, str] = field(default_factory=dict)
    """source tensor of a Dense that has no bias yet -> the Dense's value"""
    entries: dict[str, tuple[str, tuple[int | tuple[int, int, int] | None, ...]]] = field(
        default_factory=dict
    )
    """state -> (source input that holds its initial value, where in it)"""
    notes: list[str] = field(default_factory=list)
    """why axes turned out to be inner, for the user whose time axis is among them"""
    counters: Counter[str] = field(default_factory=Counter)
    takes: dict[str, tuple[Take, Phase]] = field(default_factory=dict)
    """value -> the Take that made it, so that another one can read its source"""
    shortest: int = 1
    """frames that a sequence needs at least, so that the source computes anything"""
    guesses: set[str] = field(default_factory=set)
    """labels of what was windowed before their role was known: inner, if nothing else is learned"""
    made: dict[tuple[Any, ...], str] = field(default_factory=dict)
    """Takes and constants that exist already"""
    direction: Direction = "forward"
    """which way the body of a Scan or Loop runs that is being lifted"""
    loop_role: str | None = None
    """the role that says which way the Loop runs that is being lifted"""
    lift_node: "Callable[[Lift, Node], None] | None" = None
    """lifts one node; for the bodies of Scan and Loop"""
    problems: list[StepcellError] | None = None
    """nodes that cannot be imported, while diagnosing; None: the first one is raised"""
    unknown: set[str] = field(default_factory=set)
    """what such nodes would have made"""
    rows: int = 0
    """rows of a memory of every step"""
    stored: dict[str, str] = field(default_factory=dict)
    """memory -> the value of every step that it keeps"""

    def fresh(self, kind: str) -> str:
        """The next name of a kind: gru1, gru2, ..."""
        while True:
            self.counters[kind] += 1
            name = f"{kind}{self.counters[kind]}"
            if not any(value == name or value.startswith(f"{name}_") for value in self.values):
                return name

    def emit(self, op: Op, phase: Phase, direction: Direction | None = None) -> None:
        """Append an operation to the step graph or to `finish`."""
        direction = direction or self.direction
        for value in writes(op):
            self.values[value.name] = value
        if isinstance(op, Take):
            self.takes[op.y.name] = (op, phase)
        if phase == "end":
            self.ends.append(op)
        else:
            self.steps.append((op, direction))

    def add_state(self, name: str, initial: NDArray[np.float64], update: str, dtype: Dtype = "float") -> None:
        """A state that starts at `initial` and becomes `update` at every step."""
        self.states[name] = State(name, initial, dtype)
        self.values[name] = self.states[name].value
        self.updates[name] = update

    def shape(self, lifted: Lifted) -> tuple[int, ...]:
        """The shape that the source's own arithmetic sees."""
        if isinstance(lifted, Tensor):
            extra = sum(lifted.pads)
            return tuple(extent(axis, self.sizes) + (extra if "time" in axis else 0) for axis in lifted.axes)
        return tuple(lifted.shape)


def input_of(lift: Lift, found: Tensor) -> str | None:
    """The source's name of the input that a tensor is (part of); None for what is computed."""
    for source in lift.graph.inputs:
        whole = lift.env[source.name]
        if isinstance(whole, Tensor) and whole.value == found.value:
            return source.name
    return None


def data(name: str, shape: tuple[int, ...], axes: Axes, phase: Phase) -> Tensor:
    """All elements of a value, in order; `shape` has one dimension per axis."""
    return Tensor(name, np.arange(prod(shape)).reshape(shape), axes, phase)


def tensor(lifted: Lifted | None, what: str = "its input") -> Tensor:
    """The operand as data; refused where it is absent or a constant."""
    if not isinstance(lifted, Tensor):
        raise Unsupported(f"needs data for {what}, but finds a constant", "check how the file was made.")
    if lifted.phase == "lengths":
        raise Unsupported(
            f"reads the sequence lengths '{lifted.value}'; only sequence_lens of LSTM, GRU and RNN may",
            "leave what depends on the lengths to the caller.",
        )
    if lifted.phase == "attention":
        raise Unsupported(
            "reads attention scores or weights", "apply weights only to the values of their steps."
        )
    if lifted.phase == "initial":
        raise Unsupported(
            f"reads the state input '{lifted.value}' outside a recurrent operator",
            "let only LSTM, GRU and RNN read the state inputs.",
        )
    return whole(lifted)


def whole(found: Tensor) -> Tensor:
    """The tensor, if it holds exactly the frames of its sequence."""
    before, after = found.pads
    if before < 0:
        raise Unsupported(
            f"reads a sequence without its first {-before} frames (a convolution that pads too little)",
            f"pad {-before} zero frames more in front of the convolution, or read only its last frame.",
        )
    if before > 0 or after > 0:
        raise Unsupported(
            f"reads a sequence with {before} frames more in front and {after} more behind than the input has",
            "let only a convolution read what is padded in front, and cut off what is left over behind.",
        )
    if after < 0:
        raise Unsupported(
            f"reads a sequence without its last {-after} frames", "give every step one frame of its own."
        )
    return found


def movable(lifted: Lifted | None) -> Tensor:
    """The operand as data; unlike for `tensor`, a state input may be moved, too."""
    if isinstance(lifted, Tensor):
        return lifted
    return tensor(lifted)


def known(lifted: Lifted | None, what: str) -> Known:
    """The operand as a constant; refused where it depends on the input."""
    if lifted is None or isinstance(lifted, Tensor):
        raise Unsupported(
            f"has {what} that depends on the input; only a constant is allowed", "fold it first."
        )
    return lifted


def join_phase(tensors: Iterable[Tensor]) -> Phase:
    """The phase of what is computed from all of them."""
    phases = {found.phase for found in tensors}
    if len(phases) > 1:
        raise Unsupported(
            "mixes values of every step with values of the whole sequence",
            "of attention only dot products are imported; additive scores and broadcast means are not.",
        )
    return phases.pop()


def inner_shape(axes: Axes) -> tuple[int, ...]:
    """The table's shape: size one along batch and time."""
    return tuple(inner(axis) for axis in axes)


def materialise(lift: Lift, found: Tensor, shape: tuple[int, ...]) -> str:
    """The name of a value that holds the tensor's elements in order, with exactly this shape."""
    indices = tuple(int(index) for index in found.table.ravel())
    if found.value in lift.takes and lift.takes[found.value][1] == found.phase:
        take = lift.takes[found.value][0]
        indices = tuple(take.indices[i] if i >= 0 else i for i in indices)
        found = replace(found, value=take.x)
    value = lift.values[found.value]
    if value.shape == shape and indices == tuple(range(value.size)):
        return found.value
    key = ("take", found.value, found.phase, shape, indices)
    if key not in lift.made:
        name = lift.made[key] = lift.fresh("take")
        lift.emit(Take(found.value, Value(name, shape), indices), found.phase)
    return lift.made[key]


def flat(lift: Lift, found: Tensor) -> str:
    """A value that holds the tensor's elements in order, whatever its shape."""
    value = lift.values[found.value]
    if np.array_equal(found.table.ravel(), np.arange(value.size)):
        return found.value
    return materialise(lift, found, (found.table.size,))


def constant(lift: Lift, array: Known, phase: Phase) -> str:
    """A value that is a parameter."""
    weights = np.ascontiguousarray(array, np.float64)
    key = ("constant", phase, weights.shape, weights.tobytes())
    if key not in lift.made:
        name = lift.made[key] = lift.fresh("constant")
        lift.weights[f"{name}_value"] = weights
        lift.emit(Constant(Value(name, weights.shape), f"{name}_value"), phase)
    return lift.made[key]


def at_end(found: Tensor, value: str) -> Tensor:
    """The tensor once the sequence has ended, its elements now those of `value`; time has size one."""
    axes = tuple(without(axis, "time") for axis in found.axes)
    return replace(found, value=value, phase="end", axes=axes, pads=(0, 0), tail=0)


def has_time(axes: Axes) -> bool:
    """Whether any axis carries time."""
    return any("time" in labels(axis) for axis in axes)


def per_step(array: Known, axes: Axes, sizes: Sizes) -> Known:
    """A constant that meets data with these axes, of size one along batch and time, where it may not vary."""
    for i, axis in enumerate(axes):
        if not labels(axis) or array.shape[i] == 1:
            continue
        first = array.take([0], axis=i)
        same = array.shape[i] == extent(axis, sizes) and inner(axis) == 1
        if not same or not np.array_equal(array, np.broadcast_to(first, array.shape)):
            require_inner(axis, "uses a constant that varies along")
        array = first
    return array
