"""What a step will cost, from the core's measured table: an affine model of every runtime function.

The table (targets/cores/*.toml, `costs`) gives for a function the instructions of a `call`, of each
row `group`, of each `unit` or `item`, and the `stack` bytes of its frame.
"""

from collections import Counter
from collections.abc import Mapping

from stepcell.lower.plan import Body, Call, Estimate
from stepcell.target.model import Core

Features = Counter[tuple[str, str]]


def estimate(core: Core, bodies: tuple[Body, ...], shapes: Mapping[str, int] | None = None) -> Estimate | None:
    """Instructions and stack of one step; None for a core without measured costs."""
    return None
