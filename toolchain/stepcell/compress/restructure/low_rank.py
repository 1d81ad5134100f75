"""`low_rank`: matrices as products of two thin ones, W = B A, by their singular values.

A recurrent layer's input matrix becomes a Dense A before the layer, whose matrix is then B; its recurrent
matrix is B, too, and reads A h (`recurrent_input`). All gates share A: the decomposition is that of the whole
matrix (Prabhavalkar et al. 2016, "On the compression of recurrent neural networks with an application to
LVCSR acoustic modeling for embedded speech recognition", arXiv 1603.08042).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stepcell.compress.inputs import matrix_inputs
from stepcell.compress.restructure.rewrite import Graph, check_matrices, new_name, rewritten, taken_apart
from stepcell.errors import StepcellError
from stepcell.ir.graph import parameters
from stepcell.ir.model import FloatArray, Model, all_ops, recurrent_ops
from stepcell.ir.ops import Conv, Dense, Gru, Op, Recurrent, Take, Value
from stepcell.ir.sequences import Sequences
from stepcell.ir.window import window_indices, window_of

DAMPING = 1e-6
"""Of the mean second moment of the inputs, added to each: directions that data never takes count a little."""


@dataclass(frozen=True, eq=False)
class Factors:
    """W [rows, columns] = b [rows, rank] @ a [rank, columns]."""

    b: FloatArray
    a: FloatArray


def low_rank(
    model: Model,
    rank: int | Mapping[str, int] | None = None,
    *,
    energy: float | None = None,
    fraction: float | None = None,
    data: Sequences | None = None,
    matrices: Sequence[str] | None = None,
    share_projections: bool = False,
) -> Model:
    """The model with matrices in two factors, as good as products of that rank can be.

    One of: rank, of every matrix or by name; energy, the share (0, 1) of the squared singular values that
    stays; fraction, the share (0, 1) of each matrix's bytes to remove. data: calibration sequences; the
    factors are then those of W H^(1/2), H the second moments of what W reads, so that the error of the sums
    is least (closed form), not that of the weights. matrices: those of LSTM, GRU, RNN, Dense and Conv by
    name; by default the input and recurrent ones of recurrent layers. A matrix whose factors would not be
    smaller stays. share_projections: the recurrent matrix of a layer and the input matrices that read its h
    have one A, stored once; it is computed of h before the step and after it.
    A GRU that resets h before its matrix is taken apart into operations first: its n rows read r * h, and
    have factors of their own.

    Raises StepcellError for a budget that is none, matrices that are unknown, pruned or in factors already,
    convolutions in groups, and if no matrix would be smaller.
    """
    by_name = rank if isinstance(rank, Mapping) else None
    _check_budget(rank, energy, fraction)
    wanted = _chosen(model, tuple(by_name) if by_name is not None else matrices)
    apart, names = _apart(model, wanted)
    moments = {} if data is None else _second_moments(apart, data)
    found: dict[str, Factors] = {}
    projections: dict[str, str] = {}
    for group in _groups(apart, tuple(names)) if share_projections else [(name,) for name in names]:
        origin = names[group[0]]
        of_rank = by_name[origin] if by_name is not None else rank if isinstance(rank, int) else None
        w = np.concatenate([_rows(apart.weights[name]) for name in group])
        seen = [moments[name] for name in group if name in moments]
        factors = _factors(w, sum(seen[1:], seen[0]) if seen else None, of_rank, energy, fraction)
        if factors is not None:
            ends = np.cumsum([len(apart.weights[name]) for name in group])[:-1]
            parts = zip(group, np.split(factors.b, ends), strict=True)
            found |= {name: Factors(b, factors.a) for name, b in parts}
            projections |= dict.fromkeys(group, group[0])
    if not found:
        raise StepcellError(
            f"{model.name}: no matrix is smaller as two factors of that rank.",
            "lower the rank, or name larger matrices.",
        )
    return _in_factors(apart, found, projections)


def _check_budget(rank: int | Mapping[str, int] | None, energy: float | None, fraction: float | None) -> None:
    if sum(given is not None for given in (rank, energy, fraction)) != 1:
        raise StepcellError(
            "low rank: it takes one of rank, energy and fraction.", "say one, such as fraction=0.5."
        )
    ranks = () if rank is None else rank.values() if isinstance(rank, Mapping) else (rank,)
    wrong = next((r for r in ranks if r < 1), None)
    if wrong is not None:
        raise StepcellError(f"low rank: a rank of {wrong} is none.", "it is 1 or more.")
    for name, share in (("energy", energy), ("fraction", fraction)):
        if share is not None and not 0.0 < share < 1.0:
            raise StepcellError(f"low rank: {name} is {share:g}.", "it lies between 0 and 1.")


def _chosen(model: Model, names: Sequence[str] | None) -> tuple[str, ...]:
    """The matrices to factor: those named, or what recurrent layers have that is not in factors."""
    factors = {name for op in all_ops(model) for name in _made_of_factors(model, op)}
    if names is None:
        own = (n for op in recurrent_ops(model) for n in (op.input_weights, op.recurrent_weights))
        found = tuple(dict.fromkeys(n for n in own if n not in factors))
    else:
        found = tuple(dict.fromkeys(names))
    check_matrices(model, found, "low rank")
    again = next((name for name in found if name in factors), None)
    if again is not None:
        raise StepcellError(
            f"{model.name}: '{again}' is a factor already.", "take a lower rank when it is made."
        )
    for op in all_ops(model):
        if isinstance(op, Conv) and op.groups != 1 and op.weights in found:
            raise StepcellError(
                f"{model.name}: '{op.weights}' is a convolution in {op.groups} groups, whose rows read "
                "different channels.",
                "leave it out of `matrices`.",
            )
    return found


def _made_of_factors(model: Model, op: Op) -> tuple[str, ...]:
    """The two matrices whose product a recurrent layer multiplies h by."""
    if not isinstance(op, Recurrent) or op.recurrent_input is None:
        return ()
    dense = (o for o in all_ops(model) if isinstance(o, Dense) and o.y.name == op.recurrent_input)
    return op.recurrent_weights, *(o.weights for o in dense)


def _apart(model: Model, wanted: Sequence[str]) -> tuple[Model, dict[str, str]]:
    """(the model without GRUs whose n rows would read another product, matrix -> what it was called)."""
    layers = [
        op
        for op in recurrent_ops(model)
        if isinstance(op, Gru) and not op.linear_before_reset and op.recurrent_weights in wanted
    ]
    apart = taken_apart(model, layers)
    names: dict[str, str] = {}
    for name in wanted:
        parts = [name] if name in apart.weights else [f"{name}_gates", f"{name}_candidate"]
        names |= dict.fromkeys(parts, name)
    return apart, names


def _groups(model: Model, names: Sequence[str]) -> list[tuple[str, ...]]:
    """Recurrent matrices with the input matrices of what reads the same h; all others alone."""
    layers = recurrent_ops(model)
    groups: dict[str, str] = {}
    for op in layers:
        for other in layers:
            pair = op.recurrent_weights, other.input_weights
            if other.x == op.h_next.name and set(pair) <= set(names) and pair[1] not in groups:
                groups[pair[1]] = pair[0]
    first = [name for name in names if name not in groups]
    return [(name, *(other for other, origin in groups.items() if origin == name)) for name in first]


def _second_moments(model: Model, data: Sequences) -> dict[str, FloatArray]:
    """Of what each matrix reads: the mean of x x^T, [columns, columns]."""
    sums: dict[str, FloatArray] = {}
    for operand in matrix_inputs(model, data):
        x = operand.x
        if isinstance(operand.op, Conv):
            x = _windows(model, operand.op, x)
        x = x.reshape(-1, _rows(model.weights[operand.matrix]).shape[1])
        sums[operand.matrix] = sums.get(operand.matrix, 0.0) + x.T @ x / len(x)
    return sums


def _windows(model: Model, op: Conv, x: FloatArray) -> FloatArray:
    """What a convolution's rows read at every position."""
    indices = window_indices(window_of(op, x.shape[1:], model.weights[op.weights].shape))
    indices = indices.reshape(len(indices), -1)
    return np.where(indices < 0, 0.0, x.reshape(len(x), -1)[:, np.maximum(indices, 0)])


def _rows(weights: FloatArray) -> FloatArray:
    """A convolution's weights as the matrix that it multiplies by."""
    return weights.reshape(len(weights), -1)


def _factors(
    weights: FloatArray,
    moments: FloatArray | None,
    rank: int | None,
    energy: float | None,
    fraction: float | None,
) -> Factors | None:
    """The best factors, the scale of each component shared between them; None where they are not smaller.

    With W H^(1/2) = U S V', the best W of a rank is U_r U_r' W: the sums along their own largest directions.
    """
    w = _rows(weights)
    seen = w if moments is None else w @ _root(moments)
    u, s, _ = np.linalg.svd(seen, full_matrices=False)
    if energy is not None:
        rank = int(np.searchsorted(np.cumsum(s**2), energy * np.sum(s**2)) + 1)
    elif fraction is not None:
        rank = max(1, int((1.0 - fraction) * w.size / sum(w.shape)))
    assert rank is not None
    if rank * sum(w.shape) >= w.size:
        return None
    scale = np.sqrt(np.maximum(s[:rank], 1e-9 * max(float(s[0]), 1e-300)))
    return Factors(u[:, :rank] * scale, (u[:, :rank] / scale).T @ w)


def _root(moments: FloatArray) -> FloatArray:
    """The symmetric root of H, damped."""
    mean = np.trace(moments) / len(moments)
    values, vectors = np.linalg.eigh(moments + np.eye(len(moments)) * (DAMPING * mean + 1e-12))
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)


def _in_factors(model: Model, found: Mapping[str, Factors], projections: Mapping[str, str]) -> Model:
    """projections: whose A each matrix has."""
    weights: dict[str, FloatArray] = {}
    names: dict[str, tuple[str, str, str]] = {}
    for name, factors in found.items():
        a, bias = (new_name(model, f"{projections[name]}_{part}") for part in ("A", "A_bias"))
        b = new_name(model, f"{name}_B")
        shape = model.weights[name].shape
        weights |= {a: factors.a.reshape(-1, *shape[1:]), b: factors.b, bias: np.zeros(len(factors.a))}
        names[name] = a, b, bias

    def rewrite(graph: Graph, op: Op) -> Sequence[Op]:
        if not names.keys() & set(parameters(op)):
            return (op,)
        if isinstance(op, Recurrent):
            return _recurrent(graph, op, names)
        return _plain(graph, op, names) if isinstance(op, Dense | Conv) else (op,)

    return rewritten(model, rewrite, weights)


def _recurrent(graph: Graph, op: Recurrent, names: Mapping[str, tuple[str, str, str]]) -> Sequence[Op]:
    """A Dense before the layer for each of its matrices that is in factors."""
    ops: list[Op] = []
    new = op
    if op.input_weights in names:
        a, b, bias = names[op.input_weights]
        flat = _flat(graph, graph.values[op.x])
        x = flat[0].y.name if flat else op.x
        thin = graph.value(f"{op.h_next.name}_x_factor", len(graph.weights[a]))
        ops += [*flat, Dense(x, thin, a, bias)]
        new = replace(new, x=thin.name, input_weights=b)
    if op.recurrent_weights in names:
        a, b, bias = names[op.recurrent_weights]
        thin = graph.value(f"{op.h_next.name}_h_factor", len(graph.weights[a]))
        ops.append(Dense(op.h, thin, a, bias))
        new = replace(new, recurrent_input=thin.name, recurrent_weights=b)
    return (*ops, new)


def _flat(graph: Graph, x: Value) -> list[Take]:
    """The value as a vector, where it is none."""
    if len(x.shape) == 1:
        return []
    return [Take(x.name, graph.value(f"{x.name}_flat", x.size), tuple(range(x.size)))]


def _plain(graph: Graph, op: Dense | Conv, names: Mapping[str, tuple[str, str, str]]) -> Sequence[Op]:
    """The thin matrix in the place of the whole one, and a Dense over what it makes."""
    a, b, bias = names[op.weights]
    thin = graph.value(f"{op.y.name}_factor", *op.y.shape[:-1], len(graph.weights[a]))
    return replace(op, y=thin, weights=a, bias=bias), Dense(thin.name, op.y, b, op.bias)
