"""scaled_dot_product_attention and the masks that it is given."""

import math
from typing import Any

from stepcell.errors import StepcellError
from stepcell.importers.builder import Builder, Translator

Args = list[Any]
Kwargs = dict[str, Any]


def _attention(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    """softmax(scale * query key' + mask) value; scale is 1 / sqrt(width) where none is given."""
    query, key, value, mask, dropout, causal = args + [None, 0.0, False][len(args) - 3 :]
    mask, causal = kwargs.get("attn_mask", mask), kwargs.get("is_causal", causal)
    if kwargs.get("dropout_p", dropout):
        raise StepcellError(f"{b.file}: node '{where}' drops attention weights.", "set dropout_p to 0.")
    width = b.shapes[query][-1]
    scale = kwargs.get("scale") or 1.0 / math.sqrt(width)
    product = b.one("MatMul", where, query, b.one("SwapAxes", where, key, axes=[-1, -2]))
    scores = b.one("Mul", where, product, b.operand(scale))
    if causal:
        scores = b.one("CausalMask", where, scores)
    if mask is not None and mask in b.integers:
        scores = b.one("Where", where, mask, scores, b.operand(-math.inf))
    elif mask is not None:
        scores = b.one("Add", where, scores, mask)
    return b.one("MatMul", where, b.one("Softmax", where, scores, axis=-1), value)


def _masked_fill(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
    del kwargs
    x, mask, value = args
    return b.one("Where", where, mask, b.operand(value), b.operand(x))


def _triangle(upper: int) -> Translator:
    """triu and tril."""

    def make(b: Builder, where: str, args: Args, kwargs: Kwargs) -> str:
        del kwargs
        x, diagonal = args + [0][len(args) - 1 :]
        return b.one("Trilu", where, x, b.constant(diagonal), upper=upper)

    return make


TRANSLATORS: dict[str, Translator] = {
    "aten.scaled_dot_product_attention.default": _attention,
    "aten.masked_fill.Scalar": _masked_fill,
    "aten.masked_fill.Tensor": _masked_fill,
    "aten.triu.default": _triangle(1),
    "aten.tril.default": _triangle(0),
}
