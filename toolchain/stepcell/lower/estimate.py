"""What a step will cost, from the core's measured table: an affine model of every runtime function.

The table (`costs` in targets/cores/*.toml) gives for a function the instructions of a `call` and of each
`group`, `item`, ... in it, and the `stack` bytes of its frame. `glue` stands for the generated functions:
a `call` for each runtime call that they make, the bytes of an `address`, and the `stack` that their frames
take at most beyond their arrays and `spilled_bytes`.
"""

from collections import Counter

from stepcell.lower.parts import Body, Call, Work
from stepcell.lower.plan import Estimate, FunctionPlan
from stepcell.target.model import Core, Costs

GLUE = "glue"
REGISTER_ARGUMENTS = 4
"""How many arguments every core passes in registers."""


def estimate(core: Core, function: FunctionPlan) -> Estimate | None:
    """Instructions and stack of one step; None where the core has no measured costs of all that it calls.

    Of delta it is the most that a step can take: every column changes. The end of a run is no part of a step.
    """
    bodies = function.bodies if function.is_step else tuple(stage.body for stage in function.stages)
    work = [item for body in bodies for call in body.calls for item in call.work]
    if core.costs_of or any(name not in core.costs for name in (GLUE, *(name for name, _, _ in work))):
        return None
    work += [(GLUE, "function", len(bodies)), *((GLUE, "call", 1) for body in bodies for _ in body.calls)]
    address = int(core.costs[GLUE].get("address", 4))
    stack = max(_stack(core.costs, body, address) for body in function.bodies) + _caller(function, address)
    return Estimate(round(instructions(core.costs, tuple(work))), -(-stack // 8) * 8)


def _caller(function: FunctionPlan, address: int) -> int:
    """Bytes of stack for parameters beyond one input and one output, and of a function that calls the others.

    That is a step of push and read, which keeps the state and the outputs between them, or a run, which keeps
    a counter and where every array is, too.
    """
    more = len(function.inputs) + len(function.outputs) - 2
    rows = max((len(stage.rows) for stage in function.stages), default=0)
    kept = 0 if function.is_step and function.read is None else 4 + 2 * rows
    return address * (2 * max(0, more) + kept)


def instructions(costs: Costs, work: Work) -> float:
    """Sum over the work; what the table does not know costs nothing."""
    return sum(costs.get(function, {}).get(what, 0.0) * count for function, what, count in work)


def _stack(costs: Costs, body: Body, address: int) -> int:
    """The generated function with its buffers, and below it the deepest call."""
    buffers = sum(buffer.bytes for buffer in body.buffers)
    deepest = max((_call_stack(costs, call) for call in body.calls), default=0)
    return buffers + int(costs[GLUE].get("stack", 0)) + spilled_bytes(body, address) + deepest


def spilled_bytes(body: Body, address: int) -> int:
    """Bytes of stack for what a generated function passes and keeps; an address has `address` of them.

    Arguments beyond the fourth go over the stack. An address that several calls are given may be kept between
    them, on the stack or in a register whose content is saved there first.
    """
    passed = max((len(call.arguments) - REGISTER_ARGUMENTS for call in body.calls), default=0)
    uses = Counter(a for call in body.calls for a in set(call.arguments) if not a.lstrip("-").isdigit())
    kept = sum(count > 1 for count in uses.values())
    return address * (max(0, passed) + kept)


def _call_stack(costs: Costs, call: Call) -> int:
    kernels = max((costs.get(kernel, {}).get("stack", 0) for kernel in call.kernels), default=0)
    inside = costs.get("sc_dense", {}).get("stack", 0) if call.function == "sc_conv" else 0
    return int(costs.get(call.function, {}).get("stack", 0) + inside + kernels)
