"""The same real value in another scale."""

from stepcell.errors import StepcellError
from stepcell.ir.qmodel import QOp, QRescale, QValue
from stepcell.quantize.context import Context
from stepcell.quantize.requantize import MAX_MULTIPLIER, single_multiplier


def rescaled(context: Context, name: str, scale: float) -> tuple[str, list[QOp]]:
    """The int16 value `name` in another scale: its name, and the operations that make it (if any)."""
    x = context.values[name]
    if x.bits == 16 and x.scale == scale:
        return name, []
    if x.bits == 32:
        raise StepcellError(
            f"{name}: a sum over time leaves 16 bits, which this version does not lower to C but in a mean.",
            "take the mean over time.",
        )
    if x.scale / scale > MAX_MULTIPLIER:  # a unit so much finer takes more than one multiplication
        name, before = rescaled(context, name, x.scale / MAX_MULTIPLIER)
        last, then = rescaled(context, name, scale)
        return last, [*before, *then]
    y = QValue(f"{name}_rescaled{len(context.values)}", x.shape, 16, scale)
    (multiplier,), shift = single_multiplier(name, x.scale / scale)
    context.values[y.name] = y
    return y.name, [QRescale(name, y, multiplier, shift)]
