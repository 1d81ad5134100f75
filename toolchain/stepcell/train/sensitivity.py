"""How much the outputs depend on every sum that a matrix makes: derivatives with respect to added zeros."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stepcell.ir.graph import writes
from stepcell.ir.logits import logits_of
from stepcell.ir.model import Model, Stage
from stepcell.ir.ops import Op, Recurrent
from stepcell.ir.sequences import Sequences, by_function, in_steps
from stepcell.train.cells import Weights
from stepcell.train.operations import Values, evaluate
from stepcell.train.stages import Apply, Batch, run_stage
from stepcell.train.weights import MaskedWeights

Key = tuple[str, str, str]
"""Function, stage ("" for its finish graph), and the first value that the operation defines."""
Array = NDArray[np.float32]
_STEPS_AT_ONCE = 8192


def output_sensitivity(
    model: Model, data: Sequences, keys: Collection[Key], seed: int = 0
) -> dict[Key, Array]:
    """The squared derivative of the outputs by the sums of the operations `keys`: [valid steps, ..., rows].

    Of a finish graph [N, ..., rows]. Sums are what gates' activations read, and what Dense and Conv compute.
    The outputs are logits where they end in a softmax or sigmoid; what is derived is their product with one
    draw of normal numbers, so that its square is, in the mean, the sum of the squares by all
    of them (the diagonal of the Gauss-Newton matrix). Each output counts in units of its own spread.
    """
    weights = {name: value.detach() for name, value in MaskedWeights(model)().items()}
    random = torch.Generator().manual_seed(seed)
    found: dict[Key, list[tuple[NDArray[np.int64], list[Array]]]] = {key: [] for key in keys}
    for members in _chunks(data):
        probes = _Probes(keys, len(members))
        total, lengths = _projected(model, weights, data.take(members), probes, random)
        if total.requires_grad:
            total.backward()
        for key, squares in probes.squares(model, lengths).items():
            found[key].append((members, squares))
    return {key: _in_order(parts) for key, parts in found.items()}


class _Probes:
    """Zeros that are added to the sums of some operations, one tensor an execution."""

    def __init__(self, keys: Collection[Key], count: int) -> None:
        self._added: dict[Key, list[Tensor]] = {key: [] for key in keys}
        self._count = count

    def within(self, function: str, stage: str) -> Apply:
        """`evaluate`, with zeros added to sums."""

        def evaluate_probed(op: Op, weights: Weights, values: Values) -> None:
            key = function, stage, writes(op)[0].name
            if key not in self._added:
                evaluate(op, weights, values)
            elif isinstance(op, Recurrent):
                bias = weights[op.input_bias]
                x = values[op.x].expand(self._count, *values[op.x].shape[1:])
                probed = {**weights, op.input_bias: bias + self._zeros(key, bias.shape)}
                evaluate(op, probed, read := {**values, op.x: x})
                values.update({value.name: read[value.name] for value in writes(op)})
            else:
                evaluate(op, weights, values)
                values[key[2]] = values[key[2]] + self._zeros(key, values[key[2]].shape[1:])

        return evaluate_probed

    def squares(self, model: Model, lengths: dict[str, NDArray[np.int64]]) -> dict[Key, list[Array]]:
        """Of each sequence: [its steps, ..., rows], or [1, ..., rows] in a finish graph."""
        return {key: list(_squares(model, key, added, lengths[key[0]])) for key, added in self._added.items()}

    def _zeros(self, key: Key, shape: torch.Size) -> Tensor:
        added = torch.zeros(self._count, *shape, requires_grad=True)
        self._added[key].append(added)
        return added


def _squares(model: Model, key: Key, added: list[Tensor], lengths: NDArray[np.int64]) -> Iterator[Array]:
    function, stage, _ = key
    gradients = [torch.zeros_like(zeros) if zeros.grad is None else _finite(zeros.grad) for zeros in added]
    squares = torch.stack(gradients, dim=1).square().numpy()
    stages = {s.name: s.direction for s in model.function(function).stages}
    for own, length in zip(squares, lengths, strict=True):
        if not stage:
            yield own
        else:
            yield own[:length] if stages[stage] == "forward" else own[:length][::-1]


def _finite(gradient: Tensor) -> Tensor:
    """Where a function has no derivative (a root, at the zeros of a silent frame), 0: it tells nothing."""
    return gradient.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def _projected(
    model: Model, weights: Values, data: Sequences, probes: _Probes, random: torch.Generator
) -> tuple[Tensor, dict[str, NDArray[np.int64]]]:
    """(the outputs of all functions times random numbers, added up; the sequences' lengths in steps)."""
    count, total = len(data), torch.zeros(())
    states = {s.name: _tensor(s.initial).repeat(count, *[1] * s.initial.ndim) for s in model.states}
    steps: dict[str, NDArray[np.int64]] = {}
    for function in model.functions:
        own = by_function(model.functions, data)[function.name]
        named, steps[function.name] = in_steps(
            function, own.feed([v.name for v in function.inputs]), own.lengths
        )
        lengths = torch.from_numpy(steps[function.name])
        streams = {v.name: _tensor(named[v.name], v.dtype == "token") for v in function.inputs}
        wanted = [logits_of(function, name) for name in function.outputs]
        for stage in function.stages:
            batch = Batch(streams, states, lengths, next(iter(streams.values())).shape[1])
            apply = probes.within(function.name, stage.name)
            run = run_stage(stage, weights, batch, _recorded(stage, wanted), fuse=False, apply=apply)
            streams, states = streams | run.streams, run.states
        ends, apply = dict(states), probes.within(function.name, "")
        for op in function.finish.ops if function.finish is not None else ():
            apply(op, weights, ends)
        for name, relative in wanted:
            total = total + _product(ends, streams, name, lengths, relative, random)
    return total, steps


def _recorded(stage: Stage, wanted: Sequence[tuple[str, bool]]) -> tuple[str, ...]:
    made = {value.name for op in stage.ops for value in writes(op)}
    return tuple(dict.fromkeys((*stage.outputs, *(name for name, _ in wanted if name in made))))


def _product(
    ends: Values, streams: Values, name: str, lengths: Tensor, relative: bool, random: torch.Generator
) -> Tensor:
    """One output times normal numbers, added up over its valid steps."""
    y = ends[name] if name in ends else streams[name]
    if not y.is_floating_point():
        return torch.zeros(())
    if name not in ends:
        y = y[torch.arange(y.shape[1]) < lengths[:, None]]
    signs = torch.randn(y.shape, generator=random)
    if relative:
        signs = signs - signs.mean(dim=-1, keepdim=True)
    spread = float(y.detach().double().std(dim=0).mean()) if len(y) > 1 else 1.0
    return (y * signs).sum() / (spread if spread > 0.0 else 1.0)


def _chunks(data: Sequences) -> Iterator[NDArray[np.int64]]:
    """Sequences of like lengths together, so that padding costs little."""
    order = np.argsort(data.lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = data.lengths[order[start:]] // data.frames_per_step
        fits = np.arange(1, len(longest) + 1) * longest <= _STEPS_AT_ONCE
        size = max(1, int(fits.argmin()) if not fits.all() else len(fits))
        yield order[start : start + size]
        start += size


def _in_order(parts: list[tuple[NDArray[np.int64], list[Array]]]) -> Array:
    """What each sequence has, in the order of the data and after each other."""
    by_number = {
        int(number): own for members, squares in parts for number, own in zip(members, squares, strict=True)
    }
    return np.concatenate([by_number[number] for number in sorted(by_number)])


def _tensor(array: NDArray[np.generic], token: bool = False) -> Tensor:
    return torch.from_numpy(np.array(array, np.int64 if token else np.float32))
