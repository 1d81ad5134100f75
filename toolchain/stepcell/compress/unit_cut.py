"""Units taken out of a model: smaller layers, smaller states, and smaller matrices in all that reads them."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepcell.compress.unit_graph import Numbers, Units
from stepcell.errors import StepcellError
from stepcell.ir.model import Block, BoolArray, Function, Mask, Model, Stage, State
from stepcell.ir.ops import Op, Take, Value
from stepcell.ir.verify import verify

Gone = Mapping[str, BoolArray]
"""Which elements leave, by value or state, shaped as it."""


def cut(model: Model, units: Units, leaving: Numbers) -> Model:
    """The model without the units of those numbers. What is left computes what it did without reading them.

    Raises StepcellError for a unit that cannot leave, and for values whose shape would be ragged.
    """
    for number in leaving:
        if int(number) in units.stuck:
            raise StepcellError(
                f"{model.name}: a unit cannot be removed, for {units.stuck[int(number)]}.",
                "remove units of other layers.",
            )
    states = {name: np.isin(numbers, leaving) for name, numbers in units.states.items()}
    functions = tuple(_function(model, f, _gone(units, f, leaving) | states) for f in model.functions)
    made = replace(
        model,
        functions=functions,
        states=tuple(_state(model, state, states[state.name]) for state in model.states),
        weights={name: _parameter(w, units, name, leaving) for name, w in model.weights.items()},
        masks={n: _mask(mask, units, n, leaving) for n, mask in model.masks.items()},
        quantized={},
    )
    return verify(made)


def weights_left(units: Units, leaving: Numbers, names: tuple[str, ...]) -> int:
    """How many weights the named matrices of recurrent layers have without those units."""
    axes = [[a for a in units.parameters[name] if a is not None] for name in names]
    return sum(int(np.prod([(~np.isin(a, leaving)).sum() for a in along])) for along in axes)


def _gone(units: Units, function: Function, leaving: Numbers) -> dict[str, BoolArray]:
    of = {name: numbers for (owner, name), numbers in units.values.items() if owner == function.name}
    return {name: np.isin(numbers, leaving) for name, numbers in of.items()}


def _parameter(array: NDArray[Any], units: Units, name: str, leaving: Numbers) -> NDArray[Any]:
    """What of a parameter, or its mask, stays."""
    axes = units.parameters.get(name, ())
    for at, axis in enumerate(axes):
        if axis is not None:
            array = np.compress(~np.isin(axis, leaving), array, axis=at)
    return array


def _mask(mask: Mask, units: Units, name: str, leaving: Numbers) -> Mask:
    """What is left of whole blocks need not be whole."""
    keep = _parameter(mask.keep, units, name, leaving)
    return mask if keep.shape == mask.keep.shape else Mask(keep, Block(1, 1))


def _state(model: Model, state: State, gone: BoolArray) -> State:
    shape = _left(model, state.value, gone)
    return replace(state, initial=state.initial[~gone].reshape(shape))


def _function(model: Model, function: Function, gone: Gone) -> Function:
    stages = tuple(_stage(model, stage, gone) for stage in function.stages)
    finish = function.finish
    if finish is not None:
        finish = replace(finish, ops=tuple(_op(model, op, gone) for op in finish.ops))
    return replace(function, stages=stages, finish=finish)


def _stage(model: Model, stage: Stage, gone: Gone) -> Stage:
    inputs = tuple(_value(model, value, gone) for value in stage.inputs)
    return replace(stage, inputs=inputs, ops=tuple(_op(model, op, gone) for op in stage.ops))


def _op(model: Model, op: Op, gone: Gone) -> Op:
    own = {f.name: getattr(op, f.name) for f in fields(op)}
    changed: dict[str, Any] = {
        name: _value(model, v, gone) for name, v in own.items() if isinstance(v, Value)
    }
    if isinstance(op, Take):
        at = np.append(np.cumsum(~gone[op.x].reshape(-1)) - 1, -1)
        left = np.asarray(op.indices, np.int64)[~gone[op.y.name].reshape(-1)]
        return replace(op, y=changed["y"], indices=tuple(int(i) for i in at[left]))
    return replace(op, **changed)


def _value(model: Model, value: Value, gone: Gone) -> Value:
    return replace(value, shape=_left(model, value, gone[value.name]))


def _left(model: Model, value: Value, gone: BoolArray) -> tuple[int, ...]:
    """The shape without what leaves, which must be whole slices along one axis."""
    if not gone.any():
        return value.shape
    for axis, size in enumerate(value.shape):
        others = tuple(a for a in range(gone.ndim) if a != axis)
        slices = gone.all(axis=others)
        if (gone == np.expand_dims(slices, others)).all():
            return (*value.shape[:axis], size - int(slices.sum()), *value.shape[axis + 1 :])
    raise StepcellError(
        f"{model.name}: '{value.name}' {list(value.shape)} would be ragged without these units.",
        "remove units of other layers.",
    )
