"""A stage of a Model over whole sequences: recurrent operators where they fit, else the body of a Scan."""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from stepcell.exporters.float_attention import stored
from stepcell.exporters.float_recurrent import write_clipped_step, write_projected_step, write_recurrent
from stepcell.exporters.float_writer import Writer, batch_shape, full, write
from stepcell.ir import Model, Stage, State, all_ops
from stepcell.ir.graph import reads, writes
from stepcell.ir.model import FloatArray
from stepcell.ir.ops import (
    Append,
    Binary,
    Count,
    Gru,
    Lstm,
    Op,
    Recurrent,
    Rnn,
    Value,
)

_LOWEST = float(np.finfo(np.float32).min)
Starts = Mapping[str, str]
"""Tensors [batch, ...] that states start from; those that it does not name start as the Model says."""


def write_stage(w: Writer, stage: Stage, scanned: tuple[Value, ...], starts: Starts) -> dict[str, str]:
    """The stage's nodes; where the last value of each of its states lies, [batch, ...].

    `scanned` are its inputs, or any sequence where it reads none.
    """
    if stage.inputs and _is_plain(stage, {state.name for state in w.model.states}, starts):
        return _sequence(w, stage, starts)
    return _scan(w, stage, scanned, starts)


def spread(w: Writer, state: State) -> str:
    """An initial state as [batch, ...]."""
    first = w.array(f"{state.name}_initial", state.initial[None])
    sizes = [w.ints(*state.initial.shape)] if state.initial.ndim else []
    shape = w.add("Concat", [batch_shape(w), *sizes], f"{state.name}_shape", axis=0)
    whole = w.add("Expand", [first, shape], f"{state.name}_start")
    if element(w.model, state.value) == TensorProto.FLOAT:
        return whole
    return w.add("Cast", [whole], f"{state.name}_start_token", to=TensorProto.INT64)


def element(model: Model, value: Value) -> int:
    """ONNX's type of a value: tokens are int64, but what counts steps is float like what it divides."""
    counted = any(isinstance(op, Count) and value.name == op.x for op in all_ops(model))
    return int(TensorProto.INT64 if value.dtype == "token" and not counted else TensorProto.FLOAT)


def _is_plain(stage: Stage, states: set[str], starts: Starts) -> bool:
    """Whether every state is carried by one operation, or a last one.

    That is a recurrent operation's own, a running sum, maximum or count, or an empty memory that nothing
    reads before it is full.
    """
    updates = dict(stage.updates)
    readers: dict[str, list[Op]] = {}
    for op in stage.ops:
        for name in (op.memory, op.x) if isinstance(op, Append) else reads(op):
            readers.setdefault(name, []).append(op)
        if isinstance(op, Append) and op.memory in starts:
            return False
        stepwise = isinstance(op, Lstm) and (op.projection or op.cell_clip is not None)
        if stepwise or (isinstance(op, Lstm) and op.c_next.name in stage.outputs):
            return False
    cells = {op.c_next.name for op in stage.ops if isinstance(op, Lstm)}
    still = states - updates.keys()
    if any(name in readers for name in cells | still):
        return False
    return all(
        (len(readers.get(state, [])) == 0 and update not in cells)
        or (len(readers.get(state, [])) == 1 and _carries(readers[state][0], state, update, readers, stage))
        for state, update in updates.items()
    )


def _carries(op: Op, state: str, update: str, readers: dict[str, list[Op]], stage: Stage) -> bool:
    """Whether `op` is the whole loop from a state back to it."""
    made = [value.name for value in writes(op)]
    if isinstance(op, Recurrent):
        own = (op.h, *((op.c,) if isinstance(op, Lstm) else ()))
        return update in made and own.index(state) == made.index(update) if state in own else False
    loop = isinstance(op, Count | Append) or (
        isinstance(op, Binary) and op.operator in ("add", "max", "min") and op.a != op.b
    )
    return loop and made == [update] and update not in readers and update not in stage.outputs


def _sequence(w: Writer, stage: Stage, starts: Starts) -> dict[str, str]:
    """The stage over whole sequences."""
    for value in stage.inputs:
        w.shapes[value.name] = value.shape
    w.backward = stage.direction == "backward"
    running = {made: s for s, made in stage.updates}
    finals: dict[str, str] = {}
    for op in stage.ops:
        made = writes(op)[0].name
        if isinstance(op, Recurrent):
            finals |= _sequence_cell(w, op, starts)
        elif made in running and running[made] in reads(op):
            finals[running[made]] = _running(w, op, running[made], starts)
        else:
            write(w, op)
    last = 0 if w.backward else -1
    for state, update in stage.updates:
        if state not in finals:
            finals[state] = w.add("Gather", [w.names[update], _scalar(w, last)], f"{state}_end", axis=0)
    return finals


def _scalar(w: Writer, value: int) -> str:
    name = f"int_{value}".replace("-", "m")
    w.tensors[name] = numpy_helper.from_array(np.array(value, np.int64), name)
    return name


def _sequence_cell(w: Writer, op: Recurrent, starts: Starts) -> dict[str, str]:
    states = [op.h, op.c] if isinstance(op, Lstm) else [op.h]
    initial = {s: w.model.state(s).initial for s in states}
    first = {s: _start(w, s, array) for s, array in initial.items() if array.any() and s not in starts}
    first |= {
        s: w.add("Unsqueeze", [starts[s], w.ints(0)], f"{s}_start_{op.h_next.name}")
        for s in states
        if s in starts
    }
    made = write_recurrent(w, op, first)
    w.add("Squeeze", [made["y"], w.ints(1)], w.define(op.h_next))
    return {
        s: w.add("Squeeze", [made[k], w.ints(0)], f"{s}_end")
        for s, k in zip(states, ("h", "c"), strict=False)
    }


def _start(w: Writer, state: str, initial: FloatArray) -> str:
    """An initial state as [1, batch, hidden]."""
    shape = w.add("Concat", [w.ints(1), batch_shape(w), w.ints(initial.size)], f"{state}_shape", axis=0)
    return w.add("Expand", [w.array(f"{state}_initial", initial.reshape(1, 1, -1)), shape], f"{state}_start")


def _running(w: Writer, op: Op, state: str, starts: Starts) -> str:
    """A sum, maximum, minimum or count over all steps, from the initial value on."""
    initial = w.model.state(state).initial
    end, given = f"{state}_end", state in starts
    if isinstance(op, Append):
        return stored(w, op, full(w, op.x, f"{state}_sequence"), end)
    first = starts[state] if given else w.array(f"{state}_initial", initial)
    if not isinstance(op, Binary):
        scalar = w.add("Squeeze", [w.steps, w.ints(0)], f"{state}_scalar")
        return w.add("Add", [w.add("Cast", [scalar], f"{state}_float", to=TensorProto.FLOAT), first], end)
    value = w.names[op.b if op.a == state else op.a]
    if op.operator == "add":
        from_zero = not given and not initial.any()
        w.sums |= {state: value} if from_zero else {}
        total = w.add("ReduceSum", [value, w.ints(0)], end if from_zero else f"{state}_sum", keepdims=0)
        return total if from_zero else w.add("Add", [total, first], end)
    kind, operator = ("ReduceMax", "Max") if op.operator == "max" else ("ReduceMin", "Min")
    lowest = (initial <= _LOWEST).all() if op.operator == "max" else (initial >= -_LOWEST).all()
    neutral = bool(lowest) and not given
    extreme = w.add(kind, [value], end if neutral else f"{state}_extreme", axes=[0], keepdims=0)
    return extreme if neutral else w.add(operator, [extreme, first], end)


def _scan(w: Writer, stage: Stage, scanned: tuple[Value, ...], starts: Starts) -> dict[str, str]:
    """The stage as the body of a Scan."""
    states = [w.model.state(name) for name, _ in stage.updates]
    prefix = f"{stage.name}_step"
    body = Writer(w.model, 1, tensors=w.tensors, batch=w.batch)
    inside = [*(s.value for s in states), *scanned]
    for value in inside:
        body.define(value, f"{value.name}_now")
    for name in dict.fromkeys(name for op in stage.ops for name in reads(op)):
        if name not in body.names and any(name == state.name for state in w.model.states):
            body.define(w.model.state(name).value, starts.get(name) or spread(w, w.model.state(name)))
    for op in stage.ops:
        _step(body, op)
    updates = dict(stage.updates)
    ends = [body.add("Identity", [body.names[updates[s.name]]], f"{s.name}_new") for s in states]
    yields = [body.add("Identity", [body.names[name]], f"{name}_yield") for name in stage.outputs]
    made = {v.name: v for op in stage.ops for v in writes(op)} | {v.name: v for v in stage.inputs}
    types = [element(w.model, v) for v in (*(s.value for s in states), *(made[n] for n in stage.outputs))]
    _mark_inside(body, prefix, [f"{value.name}_now" for value in inside])
    graph = helper.make_graph(
        body.nodes,
        prefix,
        [_info(f"{prefix}/{v.name}_now", element(w.model, v), ["batch", *v.shape]) for v in inside],
        [
            _info(f"{prefix}/{name}", of_type, None)
            for name, of_type in zip((*ends, *yields), types, strict=True)
        ],
    )
    finals = {s.name: f"{s.name}_end" for s in states}
    node = helper.make_node(
        "Scan",
        [*(starts.get(s.name) or spread(w, s) for s in states), *(w.names[v.name] for v in scanned)],
        [*finals.values(), *stage.outputs],
        name=prefix,
        body=graph,
        num_scan_inputs=len(scanned),
    )
    if stage.direction == "backward":
        node.attribute.extend(_backwards(len(scanned), len(stage.outputs)))
    w.nodes.append(node)
    for name in stage.outputs:
        w.names[name], w.shapes[name] = name, body.shapes[name]
    return finals


def _backwards(inputs: int, outputs: int) -> list[onnx.AttributeProto]:
    return [
        helper.make_attribute(f"scan_{kind}_directions", [1] * count, attr_type=AttributeProto.INTS)
        for kind, count in (("input", inputs), ("output", outputs))
    ]


def _info(name: str, of_type: int, shape: list[str | int] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, of_type, shape)


def _mark_inside(body: Writer, prefix: str, inputs: list[str]) -> None:
    """Prefix every name of the body, because a body may not use a name of the graph around it."""
    inside = {*inputs, *(name for node in body.nodes for name in node.output)}
    for node in body.nodes:
        node.name = f"{prefix}/{node.name}"
        for names in (node.input, node.output):
            names[:] = [f"{prefix}/{name}" if name in inside else name for name in names]


def _step(w: Writer, op: Op) -> None:
    """One operation of one step, in the body of a Scan."""
    match op:
        case Lstm() | Gru() | Rnn():
            states = [op.h, op.c] if isinstance(op, Lstm) else [op.h]
            starts = {s: w.add("Unsqueeze", [w.names[s], w.ints(0)], f"{s}_start") for s in states}
            if isinstance(op, Lstm) and op.projection:
                made = write_projected_step(w, op, starts)
            elif isinstance(op, Lstm) and op.cell_clip is not None:
                made = write_clipped_step(w, op, starts)
            else:
                made = write_recurrent(w, op, starts)
            for value, kind in zip(writes(op), ("h", "c"), strict=False):
                w.add("Squeeze", [made[kind], w.ints(0)], w.define(value))
        case Count():
            w.add("Add", [w.names[op.x], w.array("one", np.ones(()))], w.define(op.y))
        case _:
            write(w, op)
