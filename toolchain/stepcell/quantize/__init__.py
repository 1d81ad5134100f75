"""From a float Model to the integer QModel."""

from stepcell.quantize.calibrate import Ranges, calibrate
from stepcell.quantize.post_training import Settled, quantize, quantize_settled, settle

__all__ = ["Ranges", "Settled", "calibrate", "quantize", "quantize_settled", "settle"]
