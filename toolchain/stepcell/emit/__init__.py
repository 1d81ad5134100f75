"""From a Plan to a folder of C."""

from stepcell.emit.bundle import emit

__all__ = ["emit"]
