"""A whole recurrent layer taken out of a stack of equally wide ones."""

from dataclasses import fields, replace
from typing import Any, NoReturn

from stepcell.errors import StepcellError
from stepcell.ir.graph import factor_of, parameters, reads
from stepcell.ir.model import Function, Model, Stage, all_ops, recurrent_ops
from stepcell.ir.ops import Lstm, Op, Recurrent, Value
from stepcell.ir.verify import verify


def remove_layer(model: Model, layer: str) -> Model:
    """Take out a recurrent layer that is as wide as what it reads; its readers then read that.

    layer: the name of the operation's result. A hidden state that something else reads stays, and holds the
    last value of what the layer read. Raises StepcellError for a layer that is none, one of another width
    than its input, one that is an output of the model, and one whose states others share.
    """
    owner, stage, op = _find(model, layer)
    x = next((v for f in (owner,) for v in _values(f) if v.name == op.x), None)
    if x is None or x.shape != op.h_next.shape:
        _refuse(model, layer, f"it makes {op.h_next.size} values out of '{op.x}', which is not as wide")
    if layer in owner.outputs:
        _refuse(model, layer, "it is an output of the model")
    own = (op.h, op.c) if isinstance(op, Lstm) else (op.h,)
    results = (op.h_next.name, op.c_next.name) if isinstance(op, Lstm) else (op.h_next.name,)
    if any(update not in stage.updates for update in zip(own, results, strict=True)):
        _refuse(model, layer, "its states do not become what it computes")
    others = [other for other in all_ops(model) if other is not op and other != op]
    if any(state in reads(other) for other in others if isinstance(other, Recurrent) for state in own):
        _refuse(model, layer, "it shares its states with another layer")
    if isinstance(op, Lstm) and any({op.c, op.c_next.name} & set(reads(other)) for other in others):
        _refuse(model, layer, "something else reads its cell state")
    functions = tuple(_function(f, stage, op, x) if f is owner else f for f in model.functions)
    return _without_unused(replace(model, functions=functions, quantized={}), own)


def _find(model: Model, layer: str) -> tuple[Function, Stage, Recurrent]:
    for function in model.functions:
        for stage in function.stages:
            for op in stage.ops:
                if isinstance(op, Recurrent) and op.h_next.name == layer:
                    return function, stage, op
    known = ", ".join(op.h_next.name for op in recurrent_ops(model))
    raise StepcellError(f"{model.name}: '{layer}' is no recurrent layer.", f"it has {known}.")


def _values(function: Function) -> tuple[Value, ...]:
    """Inputs, and what stages define."""
    made = [v for s in function.stages for op in s.ops for v in _of(op)]
    return (*function.inputs, *made)


def _of(op: Op) -> list[Value]:
    return [v for f in fields(op) if isinstance(v := getattr(op, f.name), Value)]


def _function(function: Function, stage: Stage, op: Recurrent, x: Value) -> Function:
    """`x` wherever the layer's result was read, and the layer gone."""
    stages = tuple(_stage(s, stage, op, x) for s in function.stages)
    return replace(function, stages=stages)


def _stage(stage: Stage, own: Stage, op: Recurrent, x: Value) -> Stage:
    old = op.h_next.name
    inputs = tuple(dict.fromkeys(x if value.name == old else value for value in stage.inputs))
    own_ops = (op, factor_of(op, stage.ops)) if stage is own else (op,)
    ops = tuple(_reading(other, old, x.name) for other in stage.ops if other not in own_ops)
    outputs, updates = stage.outputs, stage.updates
    if stage is own:
        is_given = x.name in {value.name for value in stage.inputs}
        renamed = [x.name if name == old else name for name in outputs]
        outputs = tuple(dict.fromkeys(name for name in renamed if not (is_given and name == x.name)))
    cell = op.c if isinstance(op, Lstm) else None
    updates = tuple((s, x.name if v == old else v) for s, v in updates if s != cell)
    return replace(stage, inputs=inputs, ops=ops, outputs=outputs, updates=updates)


def _reading(op: Op, old: str, new: str) -> Op:
    """The operation, reading `new` in place of `old`."""
    changed: dict[str, Any] = {}
    for field in fields(op):
        value = getattr(op, field.name)
        if value == old:
            changed[field.name] = new
        elif isinstance(value, tuple) and old in value:
            changed[field.name] = tuple(new if part == old else part for part in value)
    return replace(op, **changed)


def _without_unused(model: Model, states: tuple[str, ...]) -> Model:
    """Without parameters that nothing uses, and without those of the states that nothing reads."""
    read = {name for op in all_ops(model) for name in reads(op)}
    gone = {state for state in states if state not in read}
    functions = tuple(
        replace(f, stages=tuple(_without_updates(stage, gone) for stage in f.stages)) for f in model.functions
    )
    used = {name for op in all_ops(model) for name in parameters(op)}
    return verify(
        replace(
            model,
            functions=functions,
            states=tuple(state for state in model.states if state.name not in gone),
            weights={name: w for name, w in model.weights.items() if name in used},
            masks={name: mask for name, mask in model.masks.items() if name in used},
        )
    )


def _without_updates(stage: Stage, gone: set[str]) -> Stage:
    return replace(stage, updates=tuple((s, v) for s, v in stage.updates if s not in gone))


def _refuse(model: Model, layer: str, why: str) -> NoReturn:
    raise StepcellError(f"{model.name}: the layer '{layer}' cannot be taken out, for {why}.", "name another.")
