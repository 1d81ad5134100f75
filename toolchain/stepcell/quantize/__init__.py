"""From a float Model to the integer QModel."""

from stepcell.quantize.calibrate import Ranges, calibrate
from stepcell.quantize.post_training import quantize

__all__ = ["Ranges", "calibrate", "quantize"]
