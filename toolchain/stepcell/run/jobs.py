"""What to run and what came out, the same for every backend."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stepcell.build import Bundle, Function, Port
from stepcell.errors import StepcellError

Array = NDArray[Any]


class Kind(IntEnum):
    """What a job does with its lanes."""

    RUN = 0
    STACK = 1
    SELFTEST = 2


@dataclass(frozen=True)
class Part:
    """T steps of one function: input name -> integers [T, count]. A run takes them all in one call."""

    function: Function
    inputs: Mapping[str, Array]

    @property
    def steps(self) -> int:
        """T."""
        return len(next(iter(self.inputs.values()))) if self.inputs else 0

    @property
    def calls(self) -> int:
        """How often the function is called."""
        return self.steps if self.function.is_step else 1


@dataclass(frozen=True)
class Lane:
    """One state of one model, and what its functions are fed, one after the other."""

    bundle: Bundle
    parts: tuple[Part, ...]

    @property
    def steps(self) -> int:
        """Of all parts."""
        return sum(part.steps for part in self.parts)


@dataclass(frozen=True)
class Job:
    """Lanes that start from the initial state and call in turns, all equally often.

    `misaligned` moves every input and output one byte off its natural alignment.
    """

    lanes: tuple[Lane, ...]
    kind: Kind = Kind.RUN
    misaligned: bool = False

    @property
    def steps(self) -> int:
        """Of all lanes."""
        return sum(lane.steps for lane in self.lanes)


@dataclass(frozen=True)
class PartResult:
    """After each call: the raw state [calls, state bytes]; output name -> integers [T, count].

    Of a run, finished outputs are [1, count]. `stack_bytes` [calls] is what each call used, of a stack job.
    """

    states: NDArray[np.uint8]
    outputs: Mapping[str, Array]
    stack_bytes: NDArray[np.uint32] | None = None


@dataclass(frozen=True)
class LaneResult:
    """What each part gave; `selftest` is the code of the model's self-test (0: passed), of such a job."""

    parts: tuple[PartResult, ...]
    selftest: int | None = None

    @property
    def only(self) -> PartResult:
        """The result of a lane with one part."""
        (part,) = self.parts
        return part

    @property
    def states(self) -> NDArray[np.uint8]:
        """Of the only part."""
        return self.only.states

    @property
    def outputs(self) -> Mapping[str, Array]:
        """Of the only part."""
        return self.only.outputs


JobResult = tuple[LaneResult, ...]
"""One result per lane, in the job's order."""


def lane(bundle: Bundle, *inputs: ArrayLike) -> Lane:
    """A lane from one array [T, ...] per input of the only function, in the manifest's order.

    Inner axes are flattened. Raises StepcellError for a wrong number of inputs, a wrong size, values that the
    dtype cannot hold, or more steps than a run may have.
    """
    return Lane(bundle, (_part(bundle, bundle.main, inputs),))


def lane_of(bundle: Bundle, inputs: Sequence[Sequence[ArrayLike]]) -> Lane:
    """A lane from the inputs of every function, in the manifest's order; see `lane`."""
    given = zip(bundle.functions, inputs, strict=True)
    return Lane(bundle, tuple(_part(bundle, function, arrays) for function, arrays in given))


def _part(bundle: Bundle, function: Function, inputs: Sequence[ArrayLike]) -> Part:
    who = f"Model {bundle.name}"
    if len(bundle.functions) > 1:
        who = f"Function {function.name} of model {bundle.name}"
    if len(inputs) != len(function.inputs):
        names = ", ".join(port.name for port in function.inputs)
        raise StepcellError(
            f"{who} takes {len(function.inputs)} inputs ({names}); {len(inputs)} were given.",
            "Give one array per input.",
        )
    given = zip(function.inputs, inputs, strict=True)
    arrays = {port.name: _fit(bundle.name, port, values) for port, values in given}
    if len({len(array) for array in arrays.values()}) > 1:
        lengths = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        raise StepcellError(
            f"Inputs of model {bundle.name} differ in length: {lengths}.", "Give every input the same steps."
        )
    part = Part(function, arrays)
    if function.max_steps is not None and part.steps > function.max_steps:
        raise StepcellError(
            f"A sequence for {who[0].lower()}{who[1:]} has {part.steps} steps; it was compiled for at most "
            f"{function.max_steps}.",
            f"give shorter sequences, or compile it again with --max-steps {part.steps}.",
        )
    return part


def split_state(bundle: Bundle, states: NDArray[np.uint8]) -> dict[str, Array]:
    """Raw states [calls, state bytes] as field name -> integers [calls, count]."""
    return {f.name: take(states, f.offset, f.dtype, f.count) for f in bundle.state_fields}


def take(rows: NDArray[np.uint8], offset: int, dtype: np.dtype[Any], count: int) -> Array:
    """`count` values of `dtype` at byte `offset` of every row [T, bytes]: integers [T, count]."""
    part = np.ascontiguousarray(rows[:, offset : offset + count * dtype.itemsize])
    return part.view(dtype).reshape(len(rows), count)


def _fit(model: str, port: Port, values: ArrayLike) -> Array:
    array = np.asarray(values)
    array = array.reshape(len(array), -1) if len(array) else array.reshape(0, port.count)
    limits = np.iinfo(port.dtype)
    if array.dtype.kind not in "iu" or array.shape[1] != port.count:
        found = f"{array.dtype} with {array.shape[1]} values a step"
        allowed = f"integers with {port.count} values a step"
    elif array.size and (array.min() < limits.min or array.max() > limits.max):
        found, allowed = f"values {array.min()} to {array.max()}", f"{limits.min} to {limits.max}"
    else:
        return array.astype(port.dtype)
    raise StepcellError(
        f"Input {port.name} of model {model}: found {found}; allowed are {allowed}.", "Quantize it first."
    )
