"""`export_float`: a Model's function as an ONNX graph of standard operators in float32.

Inputs [batch, time, ...] (tokens int64), outputs [batch, time, ...] of every step or [batch, ...] of
`finish`; all sequences of a batch are equally long. A recurrent operation becomes LSTM, GRU or RNN over the
whole sequence. Where a step graph feeds a state back in another way, its stage becomes the body of a Scan.
"""

import onnx
from onnx import helper

from stepcell.exporters.float_stages import element, spread, write_stage
from stepcell.exporters.float_writer import Writer, write
from stepcell.ir import Function, Model
from stepcell.ir.factors import multiplied_out
from stepcell.ir.graph import reads, writes
from stepcell.ir.ops import Mean, Value
from stepcell.ir.sequences import frame_values

OPSET = 17


def export_float(model: Model, function: str | None = None) -> onnx.ModelProto:
    """One function (by default the only one) as ONNX, checked by onnx's checker; the same bytes every time.

    Where the model has several functions, sequences start from inputs `initial/STATE` [batch, ...], and the
    outputs `final/STATE` [batch, ...] say where they end.
    Matrices in factors are multiplied out. Raises StepcellError for operations that are not exported.
    """
    model = multiplied_out(model)
    called = model.function(function)
    w = Writer(model, 2)
    _read_inputs(w, called)
    starts = {s.name: f"initial/{s.name}" for s in model.states} if len(model.functions) > 1 else {}
    for stage in called.stages:
        starts |= write_stage(w, stage, stage.inputs or called.inputs[:1], starts)
    sequences = dict(w.names)
    _finish(w, called, starts)
    outputs = _outputs(w, called, sequences)
    if len(model.functions) > 1:
        for state in model.states:
            name = w.add("Identity", [starts[state.name]], f"final/{state.name}")
            outputs.append(_info(model, state.value, ["batch"], name))
    return _proto(model, called, w, outputs)


def _read_inputs(w: Writer, function: Function) -> None:
    """[time, batch, ...], the frames of a step together."""
    for value in function.inputs:
        x = value.name
        if function.frames_per_step != 1:
            x = w.add("Reshape", [x, w.ints(0, -1, *value.shape)], f"{value.name}_in_steps")
        w.add("Transpose", [x], f"{value.name}_by_time", perm=_swapped(value.shape))
        w.define(value, f"{value.name}_by_time")
    x = w.names[function.inputs[0].name]
    w.steps = w.add("Shape", [x], "number_of_steps", start=0, end=1)
    w.batch = w.add("Shape", [x], "number_of_sequences", start=1, end=2)


def _swapped(shape: tuple[int, ...]) -> list[int]:
    return [1, 0, *range(2, 2 + len(shape))]


def _finish(w: Writer, function: Function, ends: dict[str, str]) -> None:
    """The graph that reads the states once."""
    w.lead = 1
    finish = function.finish
    read = {name for op in finish.ops for name in reads(op)} | set(finish.outputs) if finish else set()
    for state in w.model.states:
        if state.name in read:
            w.define(state.value, ends.get(state.name) or spread(w, state))
    for op in finish.ops if finish is not None else ():
        if isinstance(op, Mean) and op.total in w.sums and not w.model.state(op.count).initial.any():
            w.add("ReduceMean", [w.sums[op.total]], w.define(op.y), axes=[0], keepdims=0)
        elif isinstance(op, Mean):
            _mean(w, op)
        else:
            write(w, op)


def _mean(w: Writer, op: Mean) -> None:
    count = w.names[op.count]
    if w.shapes[op.total] and _is_batched(w, count):
        count = w.reshaped(count, (1,) * len(w.shapes[op.total]), f"{op.y.name}_count")
    w.add("Div", [w.names[op.total], count], w.define(op.y))


def _is_batched(w: Writer, name: str) -> bool:
    """Whether a count lies per sequence (out of a Scan or another function), not as one number for all."""
    made_by = next((node for node in w.nodes if name in node.output), None)
    if made_by is None or made_by.op_type in ("Scan", "Expand"):
        return True
    return made_by.op_type == "Add" and any(x.startswith("initial/") for x in made_by.input)


def _outputs(w: Writer, function: Function, sequences: dict[str, str]) -> list[onnx.ValueInfoProto]:
    """Identity or Transpose nodes that give the outputs their names and layout."""
    infos = []
    ends = function.finish.outputs if function.finish is not None else ()
    made = {v.name: v for v in _values(w.model, function)}
    for name in function.outputs:
        shape, value = w.shapes[name], made[name]
        if name in ends:
            source = w.names[name]
            if source != name:
                w.add("Identity", [source], name)
                w.nodes[-1].name = f"{name}_output"  # a recurrent node has the name of its state
            infos.append(_info(w.model, value, ["batch"], name))
        else:
            source = sequences[name]
            if source == name:
                _rename(w, source)
                source = f"{source}_by_time"
            w.add("Transpose", [source], name, perm=_swapped(shape))
            infos.append(_info(w.model, value, ["batch", "time"], name))
    return infos


def _values(model: Model, function: Function) -> list[Value]:
    finish = function.finish.ops if function.finish is not None else ()
    ops = (*(op for stage in function.stages for op in stage.ops), *finish)
    return [
        *(state.value for state in model.states),
        *function.inputs,
        *(v for op in ops for v in writes(op)),
    ]


def _rename(w: Writer, name: str) -> None:
    """Append `_by_time` to a tensor's name, because the output takes the name itself."""
    for node in w.nodes:
        node.name = f"{name}_by_time" if node.name == name else node.name
        for names in (node.input, node.output):
            names[:] = [f"{name}_by_time" if found == name else found for found in names]


def _info(model: Model, value: Value, leading: list[str], name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element(model, value), [*leading, *value.shape])


def _proto(
    model: Model, function: Function, w: Writer, outputs: list[onnx.ValueInfoProto]
) -> onnx.ModelProto:
    inputs = [_info(model, v, ["batch", "time"], v.name) for v in frame_values(function)]
    name = model.name
    if len(model.functions) > 1:
        inputs += [_info(model, s.value, ["batch"], f"initial/{s.name}") for s in model.states]
        name = f"{model.name}_{function.name}"
    nodes = _live(w.nodes, {info.name for info in outputs})
    used = {x for node in nodes for x in _inputs(node)}
    tensors = [tensor for tensor_name, tensor in w.tensors.items() if tensor_name in used]
    graph = helper.make_graph(nodes, name, inputs, outputs, tensors)
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
