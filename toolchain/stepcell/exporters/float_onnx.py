"""`export_float`: a Model as an ONNX graph of standard operators in float32.

Input x [batch, time, ...], outputs [batch, time, ...] of every step or [batch, ...] of `finish`; all
sequences of a batch are equally long. A recurrent operation becomes LSTM, GRU or RNN over the whole
sequence. Where a step graph feeds a state back in another way, it becomes the body of a Scan.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from stepcell.errors import StepcellError
from stepcell.exporters.float_writer import Writer, batch_shape, write, write_recurrent
from stepcell.ir import Finish, Model, Stage, State
from stepcell.ir.model import FloatArray
from stepcell.ir.ops import (
    Binary,
    Count,
    Embed,
    Gru,
    Lstm,
    Mean,
    Op,
    Recurrent,
    Rnn,
    Value,
    reads,
    writes,
)

OPSET = 17
_LOWEST = float(np.finfo(np.float32).min)


def export_float(model: Model) -> onnx.ModelProto:
    """The model as ONNX (opset 17), checked by onnx's checker; the same model gives the same bytes.

    Raises StepcellError for a model of several stages or functions, or with operations that no
    standard operator computes (embeddings, peepholes, projections).
    """
    if (
        len(model.functions) != 1
        or len(model.main.stages) != 1
        or model.main.stages[0].direction != "forward"
    ):
        raise StepcellError(f"{model.name}: only one forward stage is exported.", "export a forward model.")
    (stage,) = model.main.stages
    writer = Writer(model, 2)
    for value in stage.inputs:
        name = f"{value.name}_by_time"
        writer.add("Transpose", [value.name], name, perm=_swapped(value))
        writer.names[value.name] = name
    finals = _sequence(writer, stage) if _is_plain(stage) else _scan(writer, stage)
    _finish(writer, model.main.finish, finals)
    return _proto(model, writer, _outputs(writer, model))


def _swapped(value: Value) -> list[int]:
    return [1, 0, *range(2, 2 + len(value.shape))]


def _is_plain(stage: Stage) -> bool:
    """Whether every state is a recurrent operation's own, a running sum, maximum or count, or a last one."""
    updates = dict(stage.updates)
    readers: dict[str, list[Op]] = {}
    for op in stage.ops:
        for name in reads(op):
            readers.setdefault(name, []).append(op)
        if isinstance(op, Lstm) and op.c_next.name in stage.outputs:
            return False
    cells = {op.c_next.name for op in stage.ops if isinstance(op, Lstm)}
    if any(name in readers for name in cells):
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
    loop = isinstance(op, Count) or (
        isinstance(op, Binary) and op.operator in ("add", "max") and op.a != op.b
    )
    return loop and made == [update] and update not in readers and update not in stage.outputs


def _sequence(w: Writer, stage: Stage) -> dict[str, str]:
    """The stage over whole sequences; where each state's last value lies."""
    for value in stage.inputs:
        w.shapes[value.name] = value.shape
    running = {made: s for s, made in stage.updates}
    finals: dict[str, str] = {}
    for op in stage.ops:
        made = writes(op)[0].name
        if isinstance(op, Recurrent):
            finals |= _sequence_cell(w, op)
        elif made in running and running[made] in reads(op):
            finals[running[made]] = _running(w, op, running[made])
        else:
            write(w, op)
    for state, update in stage.updates:
        if state not in finals:
            finals[state] = w.add("Gather", [w.names[update], _scalar(w, -1)], f"{state}_end", axis=0)
    return finals


def _scalar(w: Writer, value: int) -> str:
    name = f"int_{value}".replace("-", "m")
    w.tensors[name] = numpy_helper.from_array(np.array(value, np.int64), name)
    return name


def _sequence_cell(w: Writer, op: Recurrent) -> dict[str, str]:
    states = [op.h, op.c] if isinstance(op, Lstm) else [op.h]
    initial = {s: w.model.state(s).initial for s in states}
    starts = {s: _start(w, s, first) for s, first in initial.items() if first.any()}
    made = write_recurrent(w, op, starts)
    w.add("Squeeze", [made["y"], w.ints(1)], w.define(op.h_next))
    return {
        s: w.add("Squeeze", [made[k], w.ints(0)], f"{s}_end")
        for s, k in zip(states, ("h", "c"), strict=False)
    }


def _start(w: Writer, state: str, initial: FloatArray) -> str:
    """An initial state as [1, batch, hidden]."""
    shape = w.add("Concat", [w.ints(1), batch_shape(w), w.ints(initial.size)], f"{state}_shape", axis=0)
    return w.add("Expand", [w.array(f"{state}_initial", initial.reshape(1, 1, -1)), shape], f"{state}_start")


def _running(w: Writer, op: Op, state: str) -> str:
    """A sum, maximum or count over all steps, from the initial value on."""
    initial = w.model.state(state).initial
    end = f"{state}_end"
    first = w.array(f"{state}_initial", initial)
    if not isinstance(op, Binary):
        steps = w.add("Shape", [next(iter(w.names.values()))], f"{state}_steps", start=0, end=1)
        scalar = w.add("Squeeze", [steps, w.ints(0)], f"{state}_scalar")
        return w.add("Add", [w.add("Cast", [scalar], f"{state}_float", to=TensorProto.FLOAT), first], end)
    value = w.names[op.b if op.a == state else op.a]
    if op.operator == "add":
        w.sums |= {} if initial.any() else {state: value}
        total = w.add(
            "ReduceSum", [value, w.ints(0)], end if not initial.any() else f"{state}_sum", keepdims=0
        )
        return w.add("Add", [total, first], end) if initial.any() else total
    lowest = bool((initial <= _LOWEST).all())
    largest = w.add("ReduceMax", [value], end if lowest else f"{state}_max", axes=[0], keepdims=0)
    return largest if lowest else w.add("Max", [largest, first], end)


def _scan(w: Writer, stage: Stage) -> dict[str, str]:
    """The stage as the body of a Scan; where each state's last value lies."""
    states = [w.model.state(name) for name, _ in stage.updates]
    body = Writer(w.model, 1, tensors=w.tensors)
    for value in (*(state.value for state in states), *stage.inputs):
        body.define(value, f"{value.name}_now")
    for op in stage.ops:
        _step(body, op)
    updates = dict(stage.updates)
    ends = [body.add("Identity", [body.names[updates[s.name]]], f"{s.name}_new") for s in states]
    yields = [body.add("Identity", [body.names[name]], f"{name}_yield") for name in stage.outputs]
    inside = [*(s.value for s in states), *stage.inputs]
    _mark_inside(body, [f"{value.name}_now" for value in inside])
    graph = helper.make_graph(
        body.nodes,
        "step",
        [_info(f"step/{v.name}_now", ["batch", *v.shape]) for v in inside],
        [_info(f"step/{name}", None) for name in (*ends, *yields)],
    )
    starts = [_spread(w, state) for state in states]
    finals = {s.name: f"{s.name}_end" for s in states}
    for name in stage.outputs:
        w.names[name], w.shapes[name] = name, body.shapes[name]
    w.nodes.append(
        helper.make_node(
            "Scan",
            [*starts, *(w.names[v.name] for v in stage.inputs)],
            [*finals.values(), *stage.outputs],
            name="scan",
            body=graph,
            num_scan_inputs=len(stage.inputs),
        )
    )
    return finals


def _mark_inside(body: Writer, inputs: list[str]) -> None:
    """Prefix every name of the body, because a body may not use a name of the graph around it."""
    inside = {*inputs, *(name for node in body.nodes for name in node.output)}
    for node in body.nodes:
        node.name = f"step/{node.name}"
        for names in (node.input, node.output):
            names[:] = [f"step/{name}" if name in inside else name for name in names]


def _step(w: Writer, op: Op) -> None:
    """One operation of one step, in the body of a Scan."""
    match op:
        case Lstm() | Gru() | Rnn():
            states = [op.h, op.c] if isinstance(op, Lstm) else [op.h]
            starts = {s: w.add("Unsqueeze", [w.names[s], w.ints(0)], f"{s}_start") for s in states}
            made = write_recurrent(w, op, starts)
            for value, kind in zip(writes(op), ("h", "c"), strict=False):
                w.add("Squeeze", [made[kind], w.ints(0)], w.define(value))
        case Count():
            w.add("Add", [w.names[op.x], w.array("one", np.ones(()))], w.define(op.y))
        case _:
            write(w, op)


def _spread(w: Writer, state: State) -> str:
    """An initial state as [batch, ...]."""
    first = w.array(f"{state.name}_initial", state.initial[None])
    sizes = [w.ints(*state.initial.shape)] if state.initial.ndim else []
    shape = w.add("Concat", [batch_shape(w), *sizes], f"{state.name}_shape", axis=0)
    return w.add("Expand", [first, shape], f"{state.name}_start")


def _finish(w: Writer, finish: Finish | None, finals: dict[str, str]) -> None:
    """The graph that reads the states once."""
    w.lead = 1
    for state in w.model.states:
        if state.name in finals:
            w.define(state.value, finals[state.name])
    for op in finish.ops if finish is not None else ():
        if isinstance(op, Mean) and op.total in w.sums and not w.model.state(op.count).initial.any():
            w.add("ReduceMean", [w.sums[op.total]], w.define(op.y), axes=[0], keepdims=0)
        elif isinstance(op, Mean):
            count = w.names[op.count]
            if w.shapes[op.total] and _is_batched(w, count):
                count = w.reshaped(count, (1,) * len(w.shapes[op.total]), f"{op.y.name}_count")
            w.add("Div", [w.names[op.total], count], w.define(op.y))
        elif isinstance(op, Embed):
            raise StepcellError(
                f"{w.model.name}: embeddings are not exported.", "feed the embedding's output."
            )
        else:
            write(w, op)


def _is_batched(w: Writer, name: str) -> bool:
    """Whether a count lies per sequence (out of a Scan), not as one number for all."""
    return any(node.op_type == "Scan" and name in node.output for node in w.nodes)


def _outputs(w: Writer, model: Model) -> list[onnx.ValueInfoProto]:
    """Identity or Transpose nodes that give the outputs their names and layout."""
    infos = []
    ends = set(model.main.finish.outputs) if model.main.finish is not None else set()
    for name in model.main.outputs:
        shape, source = w.shapes[name], w.names[name]
        if name in ends:
            tensor = name if source == name else w.add("Identity", [source], name)
            infos.append(_info(tensor, ["batch", *shape]))
        else:
            _rename(w, source)
            w.add("Transpose", [f"{source}_by_time"], name, perm=[1, 0, *range(2, 2 + len(shape))])
            infos.append(_info(name, ["batch", "time", *shape]))
    return infos


def _rename(w: Writer, name: str) -> None:
    """Append `_by_time` to a tensor's name, because the output takes the name itself."""
    for node in w.nodes:
        node.name = f"{name}_by_time" if node.name == name else node.name
        for names in (node.input, node.output):
            names[:] = [f"{name}_by_time" if found == name else found for found in names]


def _info(name: str, shape: list[str | int] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _proto(model: Model, w: Writer, outputs: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
    inputs = [_info(v.name, ["batch", "time", *v.shape]) for v in model.main.inputs]
    nodes = _live(w.nodes, {info.name for info in outputs})
    used = {name for node in nodes for name in _inputs(node)}
    tensors = [tensor for name, tensor in w.tensors.items() if name in used]
    graph = helper.make_graph(nodes, model.name, inputs, outputs, tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="stepcell")
    proto.ir_version = 8
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _live(nodes: list[onnx.NodeProto], wanted: set[str]) -> list[onnx.NodeProto]:
    """The nodes that the outputs depend on."""
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted |= set(_inputs(node))
            kept.append(node)
    return kept[::-1]


def _inputs(node: onnx.NodeProto) -> list[str]:
    """What a node reads, in the body of a Scan, too."""
    bodies = [inside for attribute in node.attribute for inside in attribute.g.node]
    return [*node.input, *(name for inside in bodies for name in inside.input)]
