"""The integer model as ONNX graphs of standard operators, which any runtime evaluates to the same bits.

One file a function, in it one Scan over time a stage, which has the step graph as its body. All arithmetic is
int32, as in the generated C; weights stay int8 in the file. `finish` is part of the body of a step function,
because the chip may be read after any step; it comes behind the last Scan of a function over sequences.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import AttributeProto, helper

from stepcell import __version__
from stepcell.exporters import integer_attention as attention
from stepcell.exporters import integer_elementwise as elementwise
from stepcell.exporters import integer_functions as functions
from stepcell.exporters import integer_layers as layers
from stepcell.exporters import integer_tflite
from stepcell.exporters import integer_windows as windows
from stepcell.exporters.integer_scope import Scope
from stepcell.exporters.integer_writer import ELEMENT, Writer
from stepcell.ir.qmodel import (
    NUMERICS_VERSION,
    QActivate,
    QAdd,
    QConcat,
    QConstant,
    QConv,
    QCount,
    QDense,
    QFunction,
    QGru,
    QHold,
    QLstm,
    QMax,
    QMean,
    QModel,
    QMul,
    QRescale,
    QRnn,
    QStage,
    QState,
    QTake,
    QTotal,
    QValue,
)

OPSET, IR_VERSION = 18, 8
"""The first with BitwiseAnd; ONNX Runtime reads it since 1.14."""

_WRITE: dict[type, Callable[[Scope, Any], None]] = {
    QLstm: layers.lstm,
    QGru: layers.gru,
    QRnn: layers.rnn,
    QDense: layers.dense,
    QConv: windows.conv,
    QActivate: elementwise.activate,
    QAdd: elementwise.add,
    QMul: elementwise.mul,
    QMax: elementwise.maximum,
    QRescale: elementwise.rescale,
    QConstant: elementwise.constant,
    QTake: windows.take,
    QConcat: elementwise.concat,
    QTotal: elementwise.total,
    QCount: elementwise.count,
    QMean: elementwise.mean,
    QHold: elementwise.hold,
    **attention.WRITE,
    **functions.WRITE,
    **integer_tflite.WRITE,
}


def export_integer(qmodel: QModel, function: str | None = None) -> onnx.ModelProto:
    """The graph of `run_integer` of one function (by default the only one), bit for bit.

    Inputs: the function's, NAME [batch, time, ...], already quantized (int8 or int16). Sequences start from
    the initial states; where the model has several functions, from the inputs `initial/STATE` [batch, ...].
    Outputs, all integers as wide as the QModel stores them: first the function's, NAME [batch, time, ...], as
    read after each step; then `states/STATE` [batch, time, ...] after each step; then `final/STATE`
    [batch, ...] after the last. A function over sequences (several stages, or a backward one) has no
    `states/`, its finished outputs are [batch, ...], and all sequences of a batch are equally long.
    """
    called = qmodel.function(function)
    outer = Writer("")
    graph = _Graph(qmodel, called, outer, _batch(outer, called.inputs[0].name))
    starts = [graph.start(state) for state in qmodel.states]
    streams = {
        value.name: outer.node("Transpose", outer.cast(value.name, 32), perm=_swapped(value))
        for value in called.inputs
    }
    if called.is_step:
        finals = _step_function(graph, starts, streams)
    else:
        finals = _sequence_function(graph, starts, streams)
    for value, final in zip(graph.states, finals, strict=True):
        outer.cast(final, value.bits, name=f"final/{value.name}")
    return _model(graph)


@dataclass(frozen=True, eq=False)
class _Graph:
    """One function's graph while it is written."""

    qmodel: QModel
    function: QFunction
    outer: Writer
    batch: str
    tables: dict[str, str] = field(default_factory=dict)

    def scope(self, step: Writer) -> Scope:
        """Where the operations of a stage, or of finish, are written."""
        return Scope(self.outer, step, self.batch, self.tables)

    @property
    def states(self) -> list[QValue]:
        return [state.value for state in self.qmodel.states]

    @property
    def takes_states(self) -> bool:
        """Whether another function may have run before this one."""
        return len(self.qmodel.functions) != 1

    def start(self, state: QState) -> str:
        """int32 [batch, ...]: where the sequences start."""
        if self.takes_states:
            return self.outer.cast(f"initial/{state.value.name}", 32)
        return self.scope(self.outer).repeated(state.initial)


def _batch(outer: Writer, x: str) -> str:
    return outer.node("Slice", outer.node("Shape", x), outer.shape([0]), outer.shape([1]))


def _step_function(graph: _Graph, starts: list[str], streams: dict[str, str]) -> list[str]:
    """One Scan, whose body reads `finish` after every step; the names of the last states."""
    (stage,) = graph.function.stages
    outputs = {output.value.name: output.value for output in graph.function.outputs}
    recorded = [*outputs.items(), *((f"states/{value.name}", value) for value in graph.states)]
    scope = graph.scope(Writer("step/"))
    _write_stage(graph, scope, stage)
    after = _after(graph, scope, stage)
    scope.names |= after
    for op in graph.function.finish:
        _WRITE[type(op)](scope, op)
    tensors = [*(scope.names[name] for name in outputs), *after.values()]
    yielded = [
        (scope.step.cast(tensor, value.bits, name=f"step/stored/{name}"), value, value.bits)
        for tensor, (name, value) in zip(tensors, recorded, strict=True)
    ]
    finals, stacks = _scan(graph, scope, stage, starts, streams, after, yielded)
    for (name, value), stack in zip(recorded, stacks, strict=True):
        graph.outer.node("Transpose", stack, name=name, perm=_swapped(value))
    return finals


def _sequence_function(graph: _Graph, states: list[str], streams: dict[str, str]) -> list[str]:
    """A Scan a stage, then `finish` once; the names of the last states."""
    outer = graph.outer
    for stage in graph.function.stages:
        scope = graph.scope(Writer(f"{stage.name}/"))
        _write_stage(graph, scope, stage)
        after = _after(graph, scope, stage)
        yielded = [
            (scope.step.node("Identity", scope.names[v.name], name=f"{stage.name}/yield/{v.name}"), v, 32)
            for v in stage.outputs
        ]
        states, stacks = _scan(graph, scope, stage, states, streams, after, yielded)
        streams |= {value.name: stack for value, stack in zip(stage.outputs, stacks, strict=True)}
    ended = graph.scope(outer)
    for value, name in zip(graph.states, states, strict=True):
        ended.define(value, name)
    for op in graph.function.finish:
        _WRITE[type(op)](ended, op)
    for output in graph.function.outputs:
        value = output.value
        if output.finished:
            outer.cast(ended.names[value.name], value.bits, name=value.name)
        else:
            stored = outer.cast(streams[value.name], value.bits)
            outer.node("Transpose", stored, name=value.name, perm=_swapped(value))
    return states


def _scanned(graph: _Graph, stage: QStage) -> tuple[QValue, ...]:
    """What a Scan runs along: a stage that reads no sequence still needs its number of steps."""
    return stage.inputs or graph.function.inputs[:1]


def _write_stage(graph: _Graph, scope: Scope, stage: QStage) -> None:
    for value in (*graph.states, *_scanned(graph, stage)):
        scope.define(value, f"{scope.step.prefix}{value.name}")
    for op in stage.ops:
        _WRITE[type(op)](scope, op)


def _after(graph: _Graph, scope: Scope, stage: QStage) -> dict[str, str]:
    """Where each state lies after a step."""
    updates = dict(stage.updates)
    return {value.name: scope.names[updates.get(value.name, value.name)] for value in graph.states}


def _scan(
    graph: _Graph,
    scope: Scope,
    stage: QStage,
    starts: list[str],
    streams: dict[str, str],
    after: dict[str, str],
    yielded: Sequence[tuple[str, QValue, int]],
) -> tuple[list[str], list[str]]:
    """The Scan node of a stage, (states, frames) -> (states', what is yielded); names of its outputs."""
    step, scanned = scope.step, _scanned(graph, stage)
    prefix = step.prefix
    inputs = [_info(f"{prefix}{v.name}", v, ["batch"], 32) for v in (*graph.states, *scanned)]
    carried = [step.node("Identity", after[v.name], name=f"{prefix}next/{v.name}") for v in graph.states]
    outputs = [_info(name, v, ["batch"], 32) for name, v in zip(carried, graph.states, strict=True)]
    outputs += [_info(name, value, ["batch"], bits) for name, value, bits in yielded]
    body = helper.make_graph(step.nodes, prefix.rstrip("/"), inputs, outputs, step.initializers)
    finals = [f"{prefix}final.{value.name}" for value in graph.states]
    stacks = [f"{prefix}steps.{i}" for i in range(len(yielded))]
    scan = helper.make_node(
        "Scan",
        [*starts, *(streams[value.name] for value in scanned)],
        [*finals, *stacks],
        num_scan_inputs=len(scanned),
        body=body,
    )
    if stage.direction == "backward":
        scan.attribute.append(helper.make_attribute("scan_input_directions", [1] * len(scanned)))
        scan.attribute.append(
            helper.make_attribute("scan_output_directions", [1] * len(stacks), attr_type=AttributeProto.INTS)
        )
    graph.outer.nodes.append(scan)
    return finals, stacks


def _swapped(value: QValue) -> list[int]:
    """The permutation between [batch, time, ...] and the [time, batch, ...] that Scan wants."""
    return [1, 0, *range(2, 2 + len(value.shape))]


def _info(name: str, value: QValue, leading: list[str], bits: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, ELEMENT[bits], [*leading, *value.shape])


def _model(graph: _Graph) -> onnx.ModelProto:
    function, outer, every_step = graph.function, graph.outer, ["batch", "time"]
    inputs = [_info(v.name, v, every_step, v.bits) for v in function.inputs]
    if graph.takes_states:
        inputs += [_info(f"initial/{v.name}", v, ["batch"], v.bits) for v in graph.states]
    outputs = []
    for output in function.outputs:
        leading = ["batch"] if output.finished and not function.is_step else every_step
        outputs.append(_info(output.value.name, output.value, leading, output.value.bits))
    if function.is_step:
        outputs += [_info(f"states/{v.name}", v, every_step, v.bits) for v in graph.states]
    outputs += [_info(f"final/{v.name}", v, ["batch"], v.bits) for v in graph.states]
    name = f"{graph.qmodel.name}_{function.name}" if graph.takes_states else graph.qmodel.name
    model = helper.make_model(
        helper.make_graph(outer.nodes, name, inputs, outputs, outer.initializers),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="stepcell",
        producer_version=__version__,
    )
    helper.set_model_props(model, _properties(function))
    onnx.checker.check_model(model, full_check=True)
    return model


def _properties(function: QFunction) -> dict[str, str]:
    """What a caller has to know, and which outputs of a function over sequences exist once."""
    properties = {"numerics_version": str(NUMERICS_VERSION)}
    outputs = [output.value for output in function.outputs]
    for kind, values in (("input", list(function.inputs)), ("output", outputs)):
        for value in values:
            key = f"{kind}_scale" if len(values) == 1 else f"{kind}_scale/{value.name}"
            properties[key] = repr(value.scale)
            if value.zero_point:
                properties[key.replace("scale", "zero_point")] = str(value.zero_point)
    if not function.is_step:
        properties["runs_over"] = "sequences"
    return properties
