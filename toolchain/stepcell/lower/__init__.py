"""From the integer QModel to the Plan that the C text is written from."""

from stepcell.lower.lower import lower
from stepcell.lower.plan import Plan

__all__ = ["Plan", "lower"]
