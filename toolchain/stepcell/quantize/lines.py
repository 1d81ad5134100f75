"""A clamped line, and what becomes of it by arithmetic with single numbers."""

import math
from dataclasses import dataclass, replace

from stepcell.ir.ops import Activate, Binary
from stepcell.reference.float_functions import DEFAULTS


@dataclass(frozen=True)
class Line:
    """clamp(slope * x + offset, least, greatest)."""

    slope: float = 1.0
    offset: float = 0.0
    least: float = -math.inf
    greatest: float = math.inf

    def times(self, factor: float) -> "Line":
        """This line, multiplied."""
        bounds = sorted((_times(self.least, factor), _times(self.greatest, factor)))
        return Line(self.slope * factor, self.offset * factor, *bounds)

    def plus(self, term: float) -> "Line":
        """This line, moved."""
        return Line(self.slope, self.offset + term, self.least + term, self.greatest + term)

    def clipped(self, least: float, greatest: float) -> "Line":
        """This line within narrower bounds."""
        return replace(
            self,
            least=min(max(self.least, least), greatest),
            greatest=max(min(self.greatest, greatest), least),
        )


def _times(bound: float, factor: float) -> float:
    return 0.0 if factor == 0.0 else bound * factor


def line_after(line: Line | None, op: Activate) -> Line | None:
    """A line after a function that keeps it one."""
    if line is None:
        return None
    alpha, beta = DEFAULTS.get(op.function, (0.0, 0.0))
    alpha, beta = alpha if op.alpha is None else op.alpha, beta if op.beta is None else op.beta
    match op.function:
        case "identity":
            return line
        case "neg":
            return line.times(-1.0)
        case "relu":
            return line.clipped(0.0, math.inf)
        case "clip":
            return line.clipped(alpha, beta)
        case "affine":
            return line.times(alpha).plus(beta)
        case "hard_sigmoid":
            return line.times(alpha).plus(beta).clipped(0.0, 1.0)
        case _:
            return None


def line_with(line: Line | None, op: Binary, number: float, first: bool) -> Line | None:
    """A line after arithmetic with a number, which is the first operand or the second."""
    if line is None:
        return None
    match op.operator:
        case "add":
            return line.plus(number)
        case "sub":
            return line.times(-1.0).plus(number) if first else line.plus(-number)
        case "mul":
            return line.times(number)
        case "max":
            return line.clipped(number, math.inf)
        case "min":
            return line.clipped(-math.inf, number)
        case _:
            return None
