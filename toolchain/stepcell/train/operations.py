"""One operation of a step graph in torch, over any batch: sequences at one step, or all steps folded."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import conv1d, conv2d, embedding, linear, pad

from stepcell.ir.graph import recurrent_operand
from stepcell.ir.ops import (
    Activate,
    Append,
    ArgMax,
    Attend,
    Binary,
    Concat,
    Constant,
    Conv,
    Count,
    Dense,
    Embed,
    Gru,
    Lstm,
    Mean,
    Normalize,
    Op,
    Reduce,
    Rnn,
    Take,
)
from stepcell.train import cells, functions
from stepcell.train.cells import Weights

Values = dict[str, Tensor]

_BINARIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "max": torch.maximum,
    "min": torch.minimum,
}


def evaluate(op: Op, weights: Weights, values: Values) -> None:
    """Add what `op` defines to `values`; every tensor is [B, *shape], or [1, *shape] where it is constant."""
    match op:
        case Lstm():
            h, c = cells.lstm(op, weights, flat(values[op.x]), values[recurrent_operand(op)], values[op.c])
            values[op.h_next.name], values[op.c_next.name] = h, c
        case Gru():
            before = values[recurrent_operand(op)]
            values[op.h_next.name] = cells.gru(op, weights, flat(values[op.x]), values[op.h], before)
        case Rnn():
            values[op.h_next.name] = cells.rnn(op, weights, flat(values[op.x]), values[recurrent_operand(op)])
        case Mean():
            count = values[op.count].clamp(min=1)
            values[op.y.name] = values[op.total] / count.reshape(-1, *[1] * len(op.y.shape))
        case Reduce():
            values[op.y.name] = functions.reduce(op, values[op.x])
        case Normalize():
            values[op.y.name] = functions.normalize(op, weights, values[op.x])
        case ArgMax():
            values[op.y.name] = values[op.x].argmax(dim=-1)
        case Append():
            values[op.y.name] = functions.append(op, values[op.memory], values[op.count], values[op.x])
        case Attend():
            read = (values[name] for name in (op.query, op.keys, op.values, op.count))
            values[op.y.name] = functions.attend(op, *read)
        case _:
            values[op.y.name] = _pointwise(op, weights, values)


def _pointwise(
    op: Dense | Conv | Activate | Binary | Constant | Take | Concat | Embed | Count,
    weights: Weights,
    values: Values,
) -> Tensor:
    match op:
        case Dense():
            return linear(values[op.x], weights[op.weights], weights[op.bias])
        case Conv():
            return _conv(op, weights, values[op.x])
        case Activate():
            return functions.activate(op, values[op.x])
        case Binary():
            return _broadcast(op, values[op.a], values[op.b])
        case Constant():
            return weights[op.weights][None]
        case Take():
            return _take(op, flat(values[op.x]))
        case Concat():
            return _join([flat(values[x]) for x in op.xs]).reshape(-1, *op.y.shape)
        case Embed():
            return embedding(values[op.token].long(), weights[op.table])
        case Count():
            return values[op.x] + 1


def flat(x: Tensor) -> Tensor:
    """[B, ...] -> [B, size]."""
    return x.reshape(x.shape[0], -1)


def _conv(op: Conv, weights: Weights, x: Tensor) -> Tensor:
    """x [B, *spatial, C], channels last, padded by hand since torch pads both ends alike."""
    w = weights[op.weights].movedim(-1, 1)
    pads = [n for pair in reversed(op.pads) for n in pair]
    function = conv1d if w.ndim == 3 else conv2d
    y = function(pad(x.movedim(-1, 1), pads), w, weights[op.bias], op.strides, 0, op.dilations, op.groups)
    return y.movedim(1, -1)


def _take(op: Take, x: Tensor) -> Tensor:
    whole = op.indices == tuple(range(x.shape[1]))
    if -1 in op.indices:
        x, op = pad(x, [0, 1]), replace(op, indices=tuple(i if i >= 0 else x.shape[1] for i in op.indices))
    taken = x if whole else x[:, _index(op.indices).to(x.device)]
    return taken.reshape(-1, *op.y.shape)


@cache
def _index(indices: tuple[int, ...]) -> Tensor:
    return torch.tensor(indices, dtype=torch.int64)


def _join(parts: list[Tensor]) -> Tensor:
    count = max(part.shape[0] for part in parts)
    return torch.cat([part.expand(count, -1) for part in parts], dim=1)


def _broadcast(op: Binary, a: Tensor, b: Tensor) -> Tensor:
    """Per-step shapes broadcast from the right, so pad the one of lower rank behind its batch axis."""
    rank = max(a.ndim, b.ndim)
    a, b = (v.reshape(v.shape[0], *[1] * (rank - v.ndim), *v.shape[1:]) for v in (a, b))
    return _BINARIES[op.operator](a, b)


def fold(x: Tensor) -> Tensor:
    """[N, T, ...] -> [N * T, ...]."""
    return x.reshape(-1, *x.shape[2:])


def unfold(x: Tensor, count: int, steps: int) -> Tensor:
    """[N * T, ...] (or [1, ...], a constant) -> [N, T, ...]."""
    if x.shape[0] == 1 and count * steps > 1:
        return x[None].expand(count, steps, *x.shape[1:])
    return x.reshape(count, steps, *x.shape[1:])
