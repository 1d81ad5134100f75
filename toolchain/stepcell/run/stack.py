"""The worst stack of a call, measured by painting."""

from collections.abc import Sequence

from stepcell.run.jobs import JobResult


def worst_stack(results: Sequence[JobResult]) -> int:
    """Bytes of stack that the deepest call used, of the results of stack jobs (multiples of 4)."""
    depths = [part.stack_bytes for result in results for lane in result for part in lane.parts]
    return max(int(depth.max()) for depth in depths if depth is not None and depth.size)
