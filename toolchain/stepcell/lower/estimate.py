"""What a step will cost, from the core's measured table: an affine model of every runtime function.

The table (`costs` in targets/cores/*.toml) gives for a function the instructions of a `call` and of each
`group`, `item`, ... in it, and the `stack` bytes of its frame. `glue` stands for the generated functions:
a `call` for each runtime call that they make, and the registers that they save.
"""

from stepcell.lower.plan import Body, Call, Estimate, FunctionPlan, Work
from stepcell.target.model import Core, Costs

GLUE = "glue"


def estimate(core: Core, function: FunctionPlan) -> Estimate | None:
    """Instructions and stack of one step; None where the core has no measured costs of all that it calls.

    Of delta it is the most that a step can take: every column changes. The end of a run is no part of a step.
    """
    bodies = function.bodies if function.is_step else tuple(stage.body for stage in function.stages)
    work = [item for body in bodies for call in body.calls for item in call.work]
    if core.costs_of or any(name not in core.costs for name in (GLUE, *(name for name, _, _ in work))):
        return None
    work += [(GLUE, "function", len(bodies)), *((GLUE, "call", 1) for body in bodies for _ in body.calls)]
    stack = max(_stack(core.costs, body) for body in function.bodies) + _parameters(function)
    return Estimate(round(instructions(core.costs, tuple(work))), -(-stack // 8) * 8)


def _parameters(function: FunctionPlan) -> int:
    """Bytes of stack for what a function and those it calls are given beyond one input and one output.

    A run holds a counter and an address of each array besides.
    """
    more = len(function.inputs) + len(function.outputs) - 2
    rows = max((len(stage.rows) for stage in function.stages), default=0)
    return 8 * max(0, more) + (0 if function.is_step else 16 + 8 * rows)


def instructions(costs: Costs, work: Work) -> float:
    """Sum over the work; what the table does not know costs nothing."""
    return sum(costs.get(function, {}).get(what, 0.0) * count for function, what, count in work)


def _stack(costs: Costs, body: Body) -> int:
    """The generated function with its buffers, and below it the deepest call."""
    buffers = sum(buffer.bytes for buffer in body.buffers)
    deepest = max((_call_stack(costs, call) for call in body.calls), default=0)
    return buffers + int(costs.get(GLUE, {}).get("stack", 0)) + deepest


def _call_stack(costs: Costs, call: Call) -> int:
    kernels = max((costs.get(kernel, {}).get("stack", 0) for kernel in call.kernels), default=0)
    inside = costs.get("sc_dense", {}).get("stack", 0) if call.function == "sc_conv" else 0
    return int(costs.get(call.function, {}).get("stack", 0) + inside + kernels)
