"""What a step will cost, from the core's measured table: an affine model of every runtime function.

The table (`costs` in targets/cores/*.toml) gives for a function the instructions of a `call` and of each
`group`, `item`, ... in it, and the `stack` bytes of its frame. `glue` stands for the generated functions:
a `call` for each runtime call that they make, and the registers that they save.
"""

from stepcell.lower.plan import Body, Call, Estimate, Work
from stepcell.target.model import Core, Costs

GLUE = "glue"


def estimate(core: Core, bodies: tuple[Body, ...]) -> Estimate | None:
    """Instructions and stack of one step; None for a core without measured costs of its own.

    Of delta it is the most that a step can take: every column changes.
    """
    if core.costs_of or GLUE not in core.costs:
        return None
    work = [item for body in bodies for call in body.calls for item in call.work]
    if any(_is_delta(function) and function not in core.costs for function, _, _ in work):
        return None
    work += [(GLUE, "function", len(bodies)), *((GLUE, "call", 1) for body in bodies for _ in body.calls)]
    stack = max(_stack(core.costs, body) for body in bodies)
    return Estimate(round(instructions(core.costs, tuple(work))), -(-stack // 8) * 8)


def _is_delta(function: str) -> bool:
    """Tables may be older than these functions, which make up most of a step."""
    return function.startswith(("sc_hold", "sc_delta")) or function.endswith("_delta")


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
    return int(costs.get(call.function, {}).get("stack", 0) + kernels)
