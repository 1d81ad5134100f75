"""`share`: one matrix for several layers. Weights have names, so that sharing them is naming them alike.

Tables that layers share lie in flash once (lower/merge.py), each layer with scales of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import numpy as np

from stepcell.compress.inputs import matrix_inputs
from stepcell.compress.restructure.rewrite import Graph, check_matrices, rewritten
from stepcell.errors import StepcellError
from stepcell.ir.graph import matrices as matrices_of
from stepcell.ir.model import FloatArray, Model, all_ops, recurrent_ops
from stepcell.ir.ops import Op
from stepcell.ir.sequences import Sequences

Moments = Mapping[str, Sequence[tuple[slice, FloatArray]]]
"""By a matrix: rows, and the sum of x x^T [columns, columns] of what they read (r*h, some of a GRU's)."""
DAMPING = 1e-3
"""Of the mean second moment of the inputs, added to each."""


def share(
    model: Model,
    groups: Sequence[Sequence[str]] | None = None,
    *,
    data: Sequences | None = None,
    most: float | None = None,
) -> Model:
    """The model in which the matrices of each group are one, under the name of the group's first.

    groups: names of matrices of equal shape; by default the input matrices, and the recurrent ones, of
    recurrent layers of one kind and shape. The shared matrix is the mean; with data, calibration sequences,
    what leaves the least error in the sums of all its layers: (sum of W H) (sum of H)^-1, H the second
    moments of what each W reads. most: groups that err by a larger share of their sums (`shared_errors`)
    stay as they are.
    Layers trained apart have little in common: share before training, or train afterwards.

    Raises StepcellError for matrices that are unknown, pruned or of unequal shapes, `most` without data, and
    if no group is left.
    """
    if most is not None and data is None:
        raise StepcellError("sharing: `most` bounds an error over data, and there is none.", "give data.")
    found = [tuple(group) for group in (_alike(model) if groups is None else groups)]
    _check(model, found)
    reads = None if data is None else _second_moments(model, data)
    shared = {group: _shared(model, group, reads) for group in found}
    if most is not None and reads is not None:
        errors = {g: max(_error(model, n, w, reads) for n in g) for g, w in shared.items()}
        shared = {g: w for g, w in shared.items() if errors[g] <= most}
        if not shared:
            raise StepcellError(
                f"{model.name}: sharing errs by {min(errors.values()):.2f} of the sums at least, and "
                f"{most:g} is the most that is allowed.",
                "raise `most`, and train afterwards.",
            )
    return _renamed(model, shared)


def shared_errors(before: Model, after: Model, data: Sequences) -> dict[str, float]:
    """By a matrix of `before` that is another in `after`: how much its sums err, as a share of them.

    The sums are those over what it reads in `before`.
    """
    reads = _second_moments(before, data)
    pairs = zip(_uses(before), _uses(after), strict=True)
    changed = [(a, b) for a, b in pairs if not np.array_equal(before.weights[a], after.weights[b])]
    return {a: _error(before, a, after.weights[b], reads) for a, b in changed}


def _uses(model: Model) -> list[str]:
    return [name for op in all_ops(model) for name in matrices_of(op)]


def _alike(model: Model) -> list[tuple[str, ...]]:
    """Input and recurrent matrices of layers of one kind and shape, two or more each."""
    found: dict[tuple[type, int, tuple[int, ...]], dict[str, None]] = {}
    for op in recurrent_ops(model):
        for place, name in enumerate(matrices_of(op)):
            found.setdefault((type(op), place, model.weights[name].shape), {})[name] = None
    return [tuple(names) for names in found.values() if len(names) > 1]


def _check(model: Model, groups: Sequence[tuple[str, ...]]) -> None:
    check_matrices(model, [name for group in groups for name in group], "sharing")
    for group in groups:
        shapes = {model.weights[name].shape for name in group}
        if len(shapes) > 1 or len(set(group)) < 2 or any(len(shape) != 2 for shape in shapes):
            raise StepcellError(
                f"{model.name}: {', '.join(group)} cannot be one matrix.",
                "a group is two matrices or more, all of one shape, and none a convolution's.",
            )
    names = [name for group in groups for name in group]
    if not groups or len(set(names)) < len(names):
        raise StepcellError(
            f"{model.name}: no matrices are left to share, or one is in two groups.",
            "layers of one kind need inputs and states of equal sizes.",
        )


def _second_moments(model: Model, data: Sequences) -> Moments:
    """Of what each matrix reads: the sum of x x^T over all steps."""
    found: dict[str, list[tuple[slice, FloatArray]]] = {}
    for operand in matrix_inputs(model, data):
        weights = model.weights[operand.matrix]
        if weights.ndim == 2:
            x = operand.x.reshape(-1, weights.shape[1])
            rows = slice(*operand.rows.indices(len(weights)))
            found.setdefault(operand.matrix, []).append((rows, x.T @ x))
    return found


def _at(moments: Moments, name: str, row: int) -> FloatArray:
    """H of one row, of all layers that have the matrix."""
    own = [h for rows, h in moments[name] if rows.start <= row < rows.stop]
    return np.asarray(sum(own[1:], own[0]))


def _spans(moments: Moments, names: Sequence[str], rows: int) -> list[slice]:
    """Rows that read the same, in all of these matrices."""
    starts = sorted({part.start for name in names for part, _ in moments[name]})
    return [slice(a, b) for a, b in pairwise((*starts, rows))]


def _shared(model: Model, group: tuple[str, ...], reads: Moments | None) -> FloatArray:
    matrices = [model.weights[name] for name in group]
    mean: FloatArray = np.mean(matrices, axis=0)
    if reads is None:
        return mean
    shared = np.empty_like(mean)
    for rows in _spans(reads, group, len(mean)):
        moments = [_at(reads, name, rows.start) for name in group]
        total = np.sum(moments, axis=0)
        damping = np.eye(len(total)) * (DAMPING * np.trace(total) / len(total) + 1e-12)
        parts = (w[rows] @ h for w, h in zip(matrices, moments, strict=True))
        shared[rows] = np.linalg.solve(total + damping, sum(parts, mean[rows] @ damping).T).T
    return shared


def _error(model: Model, name: str, weights: FloatArray, reads: Moments) -> float:
    """Root mean square error of the sums, with `weights` in place of the matrix, as a share of theirs."""
    w, error, whole = model.weights[name], 0.0, 0.0
    for rows in _spans(reads, (name,), len(w)):
        h, changed = _at(reads, name, rows.start), (weights - w)[rows]
        error += float(np.sum(changed @ h * changed))
        whole += float(np.sum(w[rows] @ h * w[rows]))
    return float(np.sqrt(max(error, 0.0) / whole)) if whole > 0.0 else 0.0


def _renamed(model: Model, shared: Mapping[tuple[str, ...], FloatArray]) -> Model:
    names = {name: group[0] for group in shared for name in group}
    weights = {group[0]: matrix for group, matrix in shared.items()}

    def rewrite(_: Graph, op: Op) -> Sequence[Op]:
        used = [f.name for f in fields(op) if f.name.endswith("weights") and getattr(op, f.name) in names]
        changed: dict[str, Any] = {f: names[getattr(op, f)] for f in used}
        return (replace(op, **changed),)

    return rewritten(model, rewrite, weights)
