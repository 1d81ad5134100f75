"""The Plan: everything that the C text says, with every number finished. `emit` reads only this."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepcell.lower.parts import Body, Call, Descriptor, Field, Table


@dataclass(frozen=True)
class Port:
    """An input or an output of a function: real = stored * scale; a token has no scale.

    `name` is the C parameter, `source` the value's name in the model. PREFIX_`macro` is its size, and
    PREFIX_`macro`_SCALE its scale; prefix_`name`_t is its type. `finished`: an output that exists once a
    sequence.
    """

    name: str
    source: str
    macro: str
    ctype: str
    count: int
    scale: float
    token: bool = False
    zero_point: int = 0
    """real = (stored - zero_point) * scale, where an already quantized source has it so."""
    tokens: int | None = None
    """How many different tokens an input takes, where something is indexed with it."""
    finished: bool = False
    left_to_caller: str | None = None

    @property
    def limit(self) -> int:
        """Largest |stored| that quantization gives."""
        return 127 if self.ctype == "int8_t" else 32767


@dataclass(frozen=True, eq=False)
class SelfTest:
    """Known answers of a function: frames [K, X] by input, outputs [K, Y] by output, checksums of the state.

    A step's checksums [K] follow each step; of a run there is one, and its finished outputs are [1, Y].
    """

    steps: int
    inputs: Mapping[str, NDArray[np.int64]]
    outputs: Mapping[str, NDArray[np.int64]]
    checksums: NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """What a step costs by the core's measured cost table: instructions, and a bound of the stack."""

    instructions: int
    stack_bytes: int


@dataclass(frozen=True)
class Row:
    """One step's part of an array over time: the parameter `name` of a stage, `stride` elements a step.

    `array` is where step 0 lies: a parameter of `run`, or a buffer in the state.
    """

    name: str
    ctype: str
    array: str
    stride: int
    is_const: bool


@dataclass(frozen=True)
class StagePlan:
    """One stage of a run: a static function, called once a step; if `backward`, for the last step first."""

    name: str
    backward: bool
    rows: tuple[Row, ...]
    body: Body


@dataclass(frozen=True, eq=False)
class FunctionPlan:
    """What the user calls. A step has one stage; `read` is None where no output waits for the end.

    A run has `max_steps`, and several stages or a backward one.
    """

    name: str
    prefix: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    stages: tuple[StagePlan, ...]
    read: Body | None
    max_steps: int | None
    frames_per_step: int
    selftest: SelfTest | None
    estimate: Estimate | None
    memory_steps: int | None = None
    """How many steps its memories hold, where it appends to any."""

    @property
    def is_step(self) -> bool:
        """Whether it is called a step at a time."""
        return self.max_steps is None

    @property
    def step(self) -> Body:
        """The body of a step."""
        (stage,) = self.stages
        return stage.body

    @property
    def bodies(self) -> tuple[Body, ...]:
        """Of every C function that computes something."""
        return (*(stage.body for stage in self.stages), *(() if self.read is None else (self.read,)))

    @property
    def calls(self) -> tuple[Call, ...]:
        """Every runtime call of one step, in order; of `read`, too."""
        return tuple(call for body in self.bodies for call in body.calls)

    @property
    def each_step(self) -> tuple[Port, ...]:
        """The outputs that come with every step."""
        return tuple(port for port in self.outputs if not port.finished)

    @property
    def finished(self) -> tuple[Port, ...]:
        """The outputs that `read`, or the end of a run, gives."""
        return tuple(port for port in self.outputs if port.finished)

    @property
    def macs(self) -> int:
        """Multiplications of one step with every matrix dense."""
        return sum(call.macs for call in self.calls)

    @property
    def attends(self) -> bool:
        """Whether a step takes longer the more rows a memory has; estimates are then of a full one."""
        return any(call.function == "sc_weights" for call in self.calls)

    @property
    def depends_on_data(self) -> bool:
        """Whether a step takes other instructions for other data; estimates are then of the most."""
        return any(call.function.startswith("sc_hold") for call in self.calls)


@dataclass(frozen=True, eq=False)
class Plan:
    """A whole bundle. `shifts`: the rounding shifts that calls are given, constants of its C file."""

    name: str
    core: str
    kernel_folder: str
    functions: tuple[FunctionPlan, ...]
    state: tuple[Field, ...]
    state_bytes: int
    tables: tuple[Table, ...]
    descriptors: tuple[Descriptor, ...]
    shifts: tuple[int, ...]
    banner: tuple[str, ...]
    choices: Mapping[str, str]

    @property
    def main(self) -> FunctionPlan:
        """The only function of a model that has one."""
        (function,) = self.functions
        return function

    @property
    def is_ordinary(self) -> bool:
        """One step function from one input to one output."""
        first = self.functions[0]
        ports = len(first.inputs), len(first.outputs)
        return len(self.functions) == 1 and first.is_step and ports == (1, 1)

    @property
    def quantized_inputs(self) -> tuple[tuple[FunctionPlan, Port], ...]:
        """Inputs that stand for real numbers."""
        return tuple((f, port) for f in self.functions for port in f.inputs if not port.token)

    @property
    def real_outputs(self) -> tuple[tuple[FunctionPlan, Port], ...]:
        """Outputs that stand for real numbers."""
        return tuple((f, port) for f in self.functions for port in f.outputs if not port.token)

    @property
    def buffers(self) -> tuple[Field, ...]:
        """What stages of a run leave in the state for later ones."""
        return tuple(field for field in self.state if field.is_buffer)

    @property
    def calls(self) -> tuple[Call, ...]:
        """Every runtime call of one step of each function, in order."""
        return tuple(call for function in self.functions for call in function.calls)

    @property
    def macs(self) -> int:
        """Multiplications of one step of each function with every matrix dense."""
        return sum(call.macs for call in self.calls)

    @property
    def bodies(self) -> tuple[Body, ...]:
        """Of every C function that computes something."""
        return tuple(body for function in self.functions for body in function.bodies)

    def facts(self) -> dict[str, Any]:
        """The choices and sizes that the manifest lists."""
        return {
            "macs_per_step": self.macs,
            "weights_bytes": sum(table.bytes for table in self.tables),
            "choices": dict(self.choices),
        }
