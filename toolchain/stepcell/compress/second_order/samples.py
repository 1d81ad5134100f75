"""What the rows of a layer multiply at steps drawn at random, and how much each sum matters there."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepcell.compress.operands import Key, Recording, Site
from stepcell.compress.second_order.layers import Layer
from stepcell.ir.graph import recurrent_operand
from stepcell.ir.model import BoolArray, FloatArray, Model
from stepcell.ir.ops import Conv, Dense, Gru, Recurrent
from stepcell.ir.sequences import Sequences
from stepcell.ir.window import window_indices, window_of
from stepcell.reference.float_ops import gate_function

Floats = NDArray[np.float32]
Importance = Mapping[Key, NDArray[np.float32]]
"""[valid steps, ..., rows] of each site, [N, rows] in a finish graph; sites that are missing have ones."""


@dataclass(frozen=True, eq=False)
class Part:
    """Rows from `start` on that multiply the same v [n, S], or v with a gate of their own times a part."""

    start: int
    rows: int
    v: Floats
    gate: Floats | None = None
    """[rows, S]: what a row's columns from `first` on are multiplied by."""
    first: int = 0

    def operand(self, row: int, factors: Floats, columns: BoolArray | None = None) -> Floats:
        """What a row (counted in the layer) multiplies, times factors [S]: [n, S], or some columns of it."""
        u = (self.v if columns is None else self.v[columns]) * factors
        if self.gate is not None:
            plain = self.first if columns is None else int(columns[: self.first].sum())
            u[plain:] *= self.gate[row - self.start]
        return np.asarray(u)

    def sums(self, weights: FloatArray) -> Floats:
        """[rows, S] for the layer's weights [rows, n]."""
        w = weights[self.start : self.start + self.rows].astype(np.float32)
        if self.gate is None:
            return np.asarray(w @ self.v)
        (plain, gated), (w_plain, w_gated) = np.split(self.v, [self.first]), np.split(w, [self.first], axis=1)
        return np.asarray(w_plain @ plain + self.gate * (w_gated @ gated))

    def mean_squares(self, importance: Floats) -> Floats:
        """[rows, n]: the diagonals of the rows' Hessians, from the importance [rows, S] of all."""
        own, squares = importance[self.start : self.start + self.rows], self.v**2
        found = own @ squares.T
        if self.gate is not None:
            found[:, self.first :] = (own * self.gate**2) @ squares[self.first :].T
        return np.asarray(found)


@dataclass(frozen=True, eq=False)
class Samples:
    """S samples of a layer. importance [rows, S] holds what a sample stands for, too: sums are over data."""

    parts: tuple[Part, ...]
    importance: Floats
    fixed: FloatArray | None
    """What is added to the sums of each row, [rows]."""

    def part(self, row: int) -> Part:
        """The part that a row lies in."""
        return next(part for part in self.parts if part.start <= row < part.start + part.rows)

    def sums(self, weights: FloatArray) -> Floats:
        """[rows, S], what is fixed included."""
        found = np.concatenate([part.sums(weights) for part in self.parts])
        return found if self.fixed is None else found + self.fixed[:, None].astype(np.float32)

    def variance(self, weights: FloatArray) -> float:
        """The weighted sum of squares of all sums of the layer around their means."""
        sums = self.sums(weights)
        squares = (sums - sums.mean(axis=1, keepdims=True)) ** 2
        return float((self.importance * squares).sum(dtype=np.float64))

    def mean_squares(self) -> Floats:
        """The diagonals of the Hessians of all rows, [rows, n]."""
        return np.concatenate([part.mean_squares(self.importance) for part in self.parts])


def few_sequences(data: Sequences, steps: int, seed: int) -> Sequences:
    """Sequences drawn at random until they have twice as many steps as are used, so that these differ."""
    order = np.random.default_rng(seed).permutation(len(data))
    total = np.cumsum(data.lengths[order] // data.frames_per_step)
    return data.take(order[: int(np.searchsorted(total, 2 * steps)) + 1])


def samples_of(
    model: Model, layer: Layer, recording: Recording, importance: Importance, steps: int, seed: int
) -> Samples:
    """At most `steps` samples of each site; the same ones for the same data, whatever the weights are."""
    found = [_at_site(model, layer, recording, site, importance, steps, seed) for site in layer.sites]
    fixed = None if layer.fixed is None else model.weights[layer.fixed]
    first, *others = [parts for parts, _ in found]
    joined = tuple(_joined([part, *more]) for part, *more in zip(first, *others, strict=True))
    return Samples(joined, np.concatenate([s for _, s in found], axis=1), fixed)


def _at_site(
    model: Model,
    layer: Layer,
    recording: Recording,
    site: Site,
    importance: Importance,
    steps: int,
    seed: int,
) -> tuple[tuple[Part, ...], Floats]:
    lengths = recording.lengths[site.function.name]
    v, chosen, total = _read(model, recording, site, steps, seed)
    rows = len(model.weights[layer.bias])
    weight = np.float32(total / len(lengths) / len(chosen))  # of one sample, as a mean over sequences
    s = importance.get(site.key)
    flat = np.ones((rows, len(chosen)), np.float32) if s is None else s.reshape(-1, rows)[chosen].T
    return _parts(model, layer, site, v, rows), np.ascontiguousarray(flat * weight)


def _read(
    model: Model, recording: Recording, site: Site, steps: int, seed: int
) -> tuple[Floats, NDArray[np.int64], int]:
    """(what the operation reads and a 1 [n, S], which of all sums these are, how many there are)."""
    op = site.op
    if isinstance(op, Recurrent):
        x, h = (recording.read(site, name) for name in (op.x, recurrent_operand(op)))
        chosen = _chosen(len(x), steps, seed)
        return _with_one(x[chosen].reshape(len(chosen), -1), h[chosen]), chosen, len(x)
    assert isinstance(op, (Dense, Conv))
    x = recording.read(site, op.x)
    if isinstance(op, Dense):
        x = x.reshape(-1, x.shape[-1])
        chosen = _chosen(len(x), steps, seed)
        return _with_one(x[chosen]), chosen, len(x)
    indices = window_indices(window_of(op, x.shape[1:], model.weights[op.weights].shape))
    chosen = _chosen(len(x) * len(indices), steps, seed)
    at = indices.reshape(len(indices), -1)[chosen % len(indices)]
    read = x.reshape(len(x), -1)[(chosen // len(indices))[:, None], at]
    return _with_one(np.where(at < 0, 0.0, read)), chosen, len(x) * len(indices)


def _chosen(total: int, count: int, seed: int) -> NDArray[np.int64]:
    if total <= count:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, count, replace=False))


def _with_one(*arrays: NDArray[Any]) -> Floats:
    ones = np.ones((1, len(arrays[0])))
    return np.concatenate([*(array.T for array in arrays), ones], dtype=np.float32)


def _parts(model: Model, layer: Layer, site: Site, v: Floats, rows: int) -> tuple[Part, ...]:
    """The n rows of a GRU read r * h (and r in place of 1 where the bias is reset, too)."""
    op = site.op
    if not isinstance(op, Gru):
        return (Part(0, rows, v),)
    units, first = op.h_next.size, layer.columns[0]
    w = layer.weights(model)[units : 2 * units]
    p = w @ v + model.weights[op.input_bias][units : 2 * units, None]
    gate = gate_function(op.gates[0])(p if op.clip is None else np.clip(p, -op.clip, op.clip))
    r = np.asarray(gate, np.float32)
    if op.linear_before_reset:
        return Part(0, 2 * units, v), Part(2 * units, units, v, r, first)
    after = v.copy()
    after[first:-1] *= r
    return Part(0, 2 * units, v), Part(2 * units, units, after)


def _joined(parts: list[Part]) -> Part:
    """The same rows at several sites: their samples after each other."""
    gates = [part.gate for part in parts if part.gate is not None]
    v = np.concatenate([part.v for part in parts], axis=1)
    return replace(parts[0], v=v, gate=np.concatenate(gates, axis=1) if gates else None)
