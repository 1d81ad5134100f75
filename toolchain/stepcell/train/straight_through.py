"""Values that are what integers say they are, with the gradients of what floats computed in their place."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class _Replace(torch.autograd.Function):
    """Forward: `exact`, to the bit. Backward: all of the gradient goes to `computed`."""

    @staticmethod
    def forward(_: Any, computed: Tensor, exact: Tensor) -> Tensor:
        """Both [N, ...] of one shape."""
        assert computed.shape == exact.shape
        return exact.clone()

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Straight through."""
        return gradient, None


def straight_through(computed: Tensor, exact: Tensor) -> Tensor:
    """`exact` [N, ...] with the gradients of `computed`, which broadcasts to it; tokens just are exact."""
    if not computed.is_floating_point():
        return exact.to(computed.dtype)
    return _Replace.apply(computed.expand(exact.shape), exact)  # type: ignore[no-any-return, no-untyped-call]


def pass_through(names: Iterable[str], exact: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    """Replace those of `values` that `exact` knows."""
    for name in names:
        if name in exact:
            values[name] = straight_through(values[name], exact[name])
