"""The integers of an already quantized source, kept beside the float Model that they stand for.

`Model.quantized` names them by the first value that an operation defines, and formats of inputs by the input.
"""

from dataclasses import dataclass

from stepcell.ir.ops import Quant
from stepcell.ir.qvalue import IntArray


@dataclass(frozen=True, eq=False)
class LstmIntegers:
    """An int8 LSTM: rows i o f c~; weights symmetric, one scale a gate; biases in the input's products."""

    input_weights: IntArray
    recurrent_weights: IntArray
    bias: IntArray
    input_scales: tuple[float, ...]
    recurrent_scales: tuple[float, ...]
    x: Quant
    h: Quant
    """As the recurrent matrix reads it."""
    written: Quant
    """As the layer writes it."""
    y: Quant
    """As what follows reads it."""
    cell_bits: int
    cell_limit: int


@dataclass(frozen=True, eq=False)
class DenseIntegers:
    """A fully connected int8 layer; weights symmetric, one scale a row; clamped by its activation."""

    weights: IntArray
    bias: IntArray
    scales: tuple[float, ...]
    x: Quant
    y: Quant
    relu: bool


SourceIntegers = LstmIntegers | DenseIntegers | Quant
