"""The parameter lists of the generated functions, and how `run` calls its stages."""

import re
from collections.abc import Iterable

from stepcell.lower.parts import Body
from stepcell.lower.plan import FunctionPlan, Plan, Port, Row, StagePlan


def step_parameters(plan: Plan, function: FunctionPlan) -> str:
    """Of `step`: one typed, named parameter each, in source order."""
    return _parameters(plan, function, (*function.inputs, *function.outputs))


def push_parameters(plan: Plan, function: FunctionPlan) -> str:
    """Of `push`: the outputs that come with every step go with it."""
    return _parameters(plan, function, (*function.inputs, *function.each_step))


def read_parameters(plan: Plan, function: FunctionPlan) -> str:
    """Of `read`, and of what ends a run."""
    return f"const {_parameters(plan, function, function.finished)}"


def run_parameters(plan: Plan, function: FunctionPlan) -> str:
    """Of `run`: arrays over time, but for the outputs that exist once a sequence."""
    inputs = [f"const {_type(function, port)} *{port.name}" for port in function.inputs]
    outputs = [
        _parameter(function, port) if port.finished else f"{_type(function, port)} *{port.name}"
        for port in function.outputs
    ]
    return ", ".join([f"{plan.name}_state *s", *inputs, "uint16_t steps", *outputs])


def stage_parameters(plan: Plan, stage: StagePlan) -> str:
    """Of a stage: a pointer to one step of each array."""
    rows = [f"{'const ' * row.is_const}{row.ctype} *{row.name}" for row in stage.rows]
    return ", ".join([f"{plan.name}_state *s", *rows])


def stage_arguments(stage: StagePlan) -> str:
    """What `run` passes to a stage for step t."""
    return ", ".join(["s", *map(_row_of_step, stage.rows)])


def arguments(ports: Iterable[Port]) -> str:
    """The state and the ports by their names."""
    return ", ".join(["s", *(port.name for port in ports)])


def helper(ports: tuple[Port, ...], port: Port, only: str) -> str:
    """What a helper of a port is called after: `only` where there is one port, else the port."""
    return only if len(ports) == 1 else port.name


def quantize_parameters(function: FunctionPlan, port: Port) -> str:
    """Of a helper: real numbers in, integers out."""
    size = f"{function.prefix.upper()}_{port.macro}"
    return f"const float x[{size}], {_type(function, port)} q[{size}]"


def dequantize_parameters(function: FunctionPlan, port: Port) -> str:
    """Of a helper: integers in, real numbers out."""
    size = f"{function.prefix.upper()}_{port.macro}"
    return f"const {_type(function, port)} y[{size}], float real[{size}]"


def selftest_arguments(function: FunctionPlan) -> str:
    """The known frames of a step t, or of a whole run, and where the answers go."""
    assert function.selftest is not None
    at = "t" if function.is_step else "0"
    inputs = [f"{function.name}_{port.name}[{at}]" for port in function.inputs]
    outputs = [f"found_{port.name}" + "[0]" * (not function.is_step) for port in function.outputs]
    steps = [] if function.is_step else [str(function.selftest.steps)]
    return ", ".join(["s", *inputs, *steps, *outputs])


def unused(body: Body, names: Iterable[str]) -> list[str]:
    """The parameters that no call of a body reads or writes, which compilers want to be told of."""
    words = {word for call in body.calls for text in call.arguments for word in re.findall(r"\w+", text)}
    return [name for name in names if name not in words]


def names_of(items: Iterable[Port | Row]) -> list[str]:
    """The parameters of a body: the state, and these."""
    return ["s", *(item.name for item in items)]


def _row_of_step(row: Row) -> str:
    return f"{row.array} + (size_t)t * {row.stride}"


def _parameters(plan: Plan, function: FunctionPlan, ports: Iterable[Port]) -> str:
    inputs = function.inputs
    return ", ".join(
        [
            f"{plan.name}_state *s",
            *(f"{'const ' * (port in inputs)}{_parameter(function, port)}" for port in ports),
        ]
    )


def _parameter(function: FunctionPlan, port: Port) -> str:
    return f"{_type(function, port)} {port.name}[{function.prefix.upper()}_{port.macro}]"


def _type(function: FunctionPlan, port: Port) -> str:
    return f"{function.prefix}_{port.name}_t"
