"""Restructuring: matrices said as products of smaller ones, or once for several layers, in IR operations.

Nothing is multiplied out again: the kernels run the factors, and training trains them.
"""

from stepcell.compress.restructure.kronecker import kronecker
from stepcell.compress.restructure.low_rank import low_rank
from stepcell.compress.restructure.rewrite import matrix_bytes
from stepcell.compress.restructure.share import share, shared_errors

__all__ = ["kronecker", "low_rank", "matrix_bytes", "share", "shared_errors"]
