"""What to run and what came out, the same for every backend."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stepcell.build import Bundle, Port
from stepcell.errors import StepcellError

Array = NDArray[Any]


class Kind(IntEnum):
    """What a job does with its lanes."""

    RUN = 0
    STACK = 1
    SELFTEST = 2


@dataclass(frozen=True)
class Lane:
    """One state of one model, and its frames: input name -> integers [T, count]."""

    bundle: Bundle
    inputs: Mapping[str, Array]

    @property
    def steps(self) -> int:
        """T."""
        return len(next(iter(self.inputs.values()))) if self.inputs else 0


@dataclass(frozen=True)
class Job:
    """Lanes that start from the initial state and step in turns, all of the same T.

    `misaligned` moves every input and output one byte off its natural alignment.
    """

    lanes: tuple[Lane, ...]
    kind: Kind = Kind.RUN
    misaligned: bool = False


@dataclass(frozen=True)
class LaneResult:
    """After each step: the raw state [T, state bytes], and output name -> integers [T, count].

    `stack_bytes` [T] is what each call of step used, of a stack job only; `selftest` is the code that the
    model's self-test returned (0: passed), of a self-test job only.
    """

    states: NDArray[np.uint8]
    outputs: Mapping[str, Array]
    stack_bytes: NDArray[np.uint32] | None = None
    selftest: int | None = None


JobResult = tuple[LaneResult, ...]
"""One result per lane, in the job's order."""


def lane(bundle: Bundle, *inputs: ArrayLike) -> Lane:
    """A lane from one array [T, ...] per input, in the manifest's order; inner axes are flattened.

    Raises StepcellError for a wrong number of inputs, a wrong size, or values that the dtype cannot hold.
    """
    if len(inputs) != len(bundle.inputs):
        names = ", ".join(port.name for port in bundle.inputs)
        raise StepcellError(
            f"Model {bundle.name} takes {len(bundle.inputs)} inputs ({names}); {len(inputs)} were given.",
            "Give one array per input.",
        )
    given = zip(bundle.inputs, inputs, strict=True)
    arrays = {port.name: _fit(bundle.name, port, values) for port, values in given}
    if len({len(array) for array in arrays.values()}) > 1:
        lengths = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        raise StepcellError(
            f"Inputs of model {bundle.name} differ in length: {lengths}.", "Give every input the same steps."
        )
    return Lane(bundle, arrays)


def split_state(bundle: Bundle, states: NDArray[np.uint8]) -> dict[str, Array]:
    """Raw states [T, state bytes] as field name -> integers [T, count]."""
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
