"""Memories and attention over them for all steps of a sequence at once."""

from torch import Tensor

from stepcell.ir.ops import Append, Attend
from stepcell.train import functions


def filled(op: Append, x: Tensor, lengths: Tensor) -> Tensor:
    """The memory [N, S, ...] after sequences x [N, T, ...], T <= S: empty beyond a sequence's length."""
    steps = x.shape[1]
    memory = x.new_zeros(len(x), *op.y.shape)
    valid = (lengths.new_tensor(range(steps)) < lengths[:, None]).reshape(len(x), steps, *[1] * (x.ndim - 2))
    memory[:, :steps] = x.where(valid, 0.0)
    return memory


def attended(op: Attend, query: Tensor, keys: Tensor, values: Tensor, count: Tensor) -> Tensor:
    """Queries [N, T, ...] to full memories [N, S, ...] of `count` [N] rows; [N, T, *y.shape]."""
    steps = query.shape[1]
    every = functions.attend_rows(op, query.flatten(2), keys.flatten(2), values.flatten(2), count)
    return every.reshape(len(every), steps, *op.y.shape)
