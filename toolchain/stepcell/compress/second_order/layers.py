"""Layers as rows of sums: the matrices that make them side by side, and the bias: [W R b] times [x; h; 1]."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from stepcell.compress.operands import Site, matrix_sites
from stepcell.errors import StepcellError
from stepcell.ir.graph import matrices
from stepcell.ir.logits import logits_of
from stepcell.ir.model import BoolArray, FloatArray, Model
from stepcell.ir.ops import Conv, Dense, Op, Recurrent


@dataclass(frozen=True, eq=False)
class Layer:
    """Matrices of the same rows, `columns` of each, the bias that is fitted with them, and who uses them.

    Of recurrent layers that is the recurrent bias, which a GRU's reset gate may scale; `fixed` is the other.
    """

    matrices: tuple[str, ...]
    columns: tuple[int, ...]
    bias: str
    fixed: str | None
    sites: tuple[Site, ...]

    def weights(self, model: Model) -> FloatArray:
        """[W R b], [rows, n]."""
        parts = [model.weights[name].reshape(len(model.weights[name]), -1) for name in self.matrices]
        return np.concatenate([*parts, model.weights[self.bias][:, None]], axis=1)

    def alive(self, model: Model) -> BoolArray:
        """Which of them masks keep; the bias always is."""
        masks = [model.masks.get(name) for name in self.matrices]
        rows = len(model.weights[self.bias])
        parts = [
            np.ones((rows, n), np.bool_) if mask is None else mask.keep.reshape(rows, n)
            for mask, n in zip(masks, self.columns, strict=True)
        ]
        return np.concatenate([*parts, np.ones((rows, 1), np.bool_)], axis=1)

    def parameters(self, model: Model, joined: FloatArray) -> dict[str, FloatArray]:
        """[W R b] taken apart again, by name, in the shapes of the model."""
        ends = np.cumsum(self.columns)
        parts = np.split(joined, ends, axis=1)
        named = zip((*self.matrices, self.bias), parts, strict=True)
        return {name: part.reshape(model.weights[name].shape) for name, part in named}

    def spans(self) -> dict[str, tuple[int, int]]:
        """The columns of each matrix, from and to."""
        return dict(zip(self.matrices, pairwise((0, *np.cumsum(self.columns).tolist())), strict=True))


def layers_of(model: Model, names: Sequence[str]) -> tuple[Layer, ...]:
    """The layers that the named matrices belong to.

    Raises StepcellError for convolutions in groups, and for matrices or biases that layers share in part.
    """
    found: dict[tuple[str, ...], list[Site]] = {}
    for site in matrix_sites(model):
        if set(names).intersection(matrices(site.op)):
            found.setdefault((*matrices(site.op), _biases(site.op)[0]), []).append(site)
            _check(model, site.op)
    used = [name for key in found for name in key]
    shared = next((name for name in used if used.count(name) > 1), None)
    if shared is not None:
        raise StepcellError(
            f"{model.name}: several layers use '{shared}', each with other weights beside it, so none "
            "can be fitted alone.",
            "leave these layers out of `matrices`.",
        )
    return tuple(_layer(model, key, tuple(sites)) for key, sites in found.items())


def heads_of(model: Model) -> tuple[str, ...]:
    """The matrices whose sums are answers: of Dense operations right before an output or its softmax."""
    answers = {(f.name, logits_of(f, name)[0]) for f in model.functions for name in f.outputs}
    sites = [site for site in matrix_sites(model) if isinstance(site.op, Dense)]
    heads = [site.op for site in sites if (site.function.name, site.key[2]) in answers]
    return tuple(dict.fromkeys(name for op in heads for name in matrices(op)))


def _layer(model: Model, key: tuple[str, ...], sites: tuple[Site, ...]) -> Layer:
    *names, bias = key
    columns = tuple(model.weights[name].size // len(model.weights[name]) for name in names)
    return Layer(tuple(names), columns, bias, _biases(sites[0].op)[1], sites)


def _biases(op: Op) -> tuple[str, str | None]:
    """(the one that is fitted, the one that is not)."""
    if isinstance(op, Recurrent):
        return op.recurrent_bias, op.input_bias
    assert isinstance(op, (Dense, Conv))
    return op.bias, None


def _check(model: Model, op: Op) -> None:
    if isinstance(op, Conv) and op.groups > 1:
        raise StepcellError(
            f"{model.name}: '{op.weights}' is a convolution in {op.groups} groups, whose rows read different "
            "channels; pruning in closed form takes convolutions of one group.",
            "leave it out of `matrices`, or prune it by magnitude.",
        )
