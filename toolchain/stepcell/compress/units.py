"""Structured removal of hidden units: what is left is an ordinary, smaller model."""

from collections.abc import Mapping, Sequence

import numpy as np

from stepcell.compress.criteria import criterion_named
from stepcell.compress.fold import fold
from stepcell.compress.importance import Criterion
from stepcell.compress.unit_cut import cut, weights_left
from stepcell.compress.unit_graph import Numbers, Units, find_units
from stepcell.errors import StepcellError
from stepcell.ir.graph import matrices
from stepcell.ir.model import FloatArray, Model, recurrent_ops
from stepcell.ir.ops import Lstm, Recurrent
from stepcell.ir.sequences import Sequences


def remove_units(
    model: Model,
    fraction: float = 0.5,
    criterion: str | Criterion = "magnitude",
    *,
    width: int | None = None,
    data: Sequences | None = None,
    layers: Sequence[str] | None = None,
    seed: int = 0,
) -> Model:
    """Remove the fraction `fraction` [0, 1) of the hidden units of each layer: those that matter least.

    A unit leaves with its gates' rows, its states, and the columns of all that reads it, however many takes,
    sums and elementwise functions lie between. It is scored by the sum of its weights' scores, rows and
    columns. layers: names of recurrent operations' results, by default all; width: leave that many units in
    each in place of a fraction. With `data`, calibration sequences, what the removed units were worth, their
    mean and what the kept ones say about them, is folded into the columns and biases of what read them.

    Raises StepcellError where an operation mixes units with others (as a normalization does), for layers that
    are no layers, and fractions that are none.
    """
    _check(fraction)
    units = find_units(model)
    scores = _scores(model, units, criterion_named(criterion, seed)(model, data))
    leaving = [
        _worst(numbers, scores, len(numbers) - _width(len(numbers), fraction, width))
        for numbers in _layers(model, units, layers).values()
    ]
    gone = np.unique(np.concatenate(leaving))
    return cut(model if data is None else fold(model, units, gone, data), units, gone)


def remove_weights_in_units(
    model: Model,
    fraction: float,
    criterion: str | Criterion = "magnitude",
    *,
    data: Sequences | None = None,
    seed: int = 0,
) -> Model:
    """`remove_units`, as few of each as take `fraction` [0, 1) of the recurrent layers' weights away."""
    _check(fraction)
    units = find_units(model)
    names = tuple(dict.fromkeys(name for op in recurrent_ops(model) for name in matrices(op)))
    layers = _layers(model, units, None).values()
    budget = (1.0 - fraction) * sum(model.weights[name].size for name in names)
    most = max(len(numbers) for numbers in layers)
    for kept in range(most, 0, -1):
        removed = 1.0 - kept / most
        gone = [numbers[_width(len(numbers), removed, None) :] for numbers in layers]
        if weights_left(units, np.concatenate(gone), names) <= budget:
            break
    return remove_units(model, removed, criterion, data=data, seed=seed)


def _check(fraction: float) -> None:
    if not 0.0 <= fraction < 1.0:
        raise StepcellError(
            f"removing units: the fraction {fraction} is no removed fraction.", "0.5 removes every second."
        )


def _layers(model: Model, units: Units, names: Sequence[str] | None) -> Mapping[str, Numbers]:
    """The numbers of the units of each layer; layers that share their units are one."""
    found = {op.h_next.name: _numbers(op, units) for op in recurrent_ops(model)}
    if not found:
        raise StepcellError(f"{model.name}: it has no recurrent layer.", "prune matrices by name instead.")
    unknown = [name for name in names or () if name not in found]
    if unknown:
        raise StepcellError(
            f"{model.name}: '{unknown[0]}' is no recurrent layer.", f"it has {', '.join(found)}."
        )
    chosen = {name: found[name] for name in (found if names is None else names)}
    for name, numbers in chosen.items():
        why = next((units.stuck[int(n)] for n in numbers if int(n) in units.stuck), None)
        if why is not None:
            raise StepcellError(
                f"{model.name}: no units can be removed from '{name}', for {why}.", "name other layers."
            )
    return {name: n for name, n in chosen.items() if n.tobytes() not in _before(chosen, name)}


def _before(layers: Mapping[str, Numbers], name: str) -> set[bytes]:
    names = list(layers)
    return {layers[other].tobytes() for other in names[: names.index(name)]}


def _numbers(op: Recurrent, units: Units) -> Numbers:
    return units.states[op.c if isinstance(op, Lstm) else op.h].reshape(-1)


def _scores(model: Model, units: Units, scores: Mapping[str, FloatArray]) -> Mapping[int, float]:
    """Of every unit, by number: the sum of the scores of the weights that compute it or read it."""
    total: dict[int, float] = {}
    for name, of_weights in scores.items():
        mask = model.masks.get(name)
        alive = of_weights if mask is None else np.where(mask.keep, of_weights, 0.0)
        for axis, numbers in enumerate(units.parameters.get(name, ())):
            if numbers is None:
                continue
            along = alive.sum(axis=tuple(a for a in range(alive.ndim) if a != axis))
            for number, score in zip(numbers, along, strict=True):
                total[int(number)] = total.get(int(number), 0.0) + float(score)
    return total


def _worst(numbers: Numbers, scores: Mapping[int, float], count: int) -> Numbers:
    order = np.argsort([scores.get(int(n), 0.0) for n in numbers], kind="stable")
    return numbers[order[:count]]


def _width(units: int, fraction: float, width: int | None) -> int:
    """How many units a layer keeps, at least one."""
    if width is not None:
        return min(max(width, 1), units)
    return max(round((1.0 - fraction) * units), 1)
