"""The integer model as an ONNX graph of standard operators, which any runtime evaluates to the same bits.

One Scan over time has the step graph as its body. All arithmetic is int32, as in the generated C; weights
stay int8 in the file. `finish` is part of the body, because the chip may be read after any step.
"""

from collections.abc import Callable
from typing import Any

import onnx
from onnx import helper

from stepcell import __version__
from stepcell.exporters import integer_elementwise as elementwise
from stepcell.exporters import integer_layers as layers
from stepcell.exporters.integer_scope import Scope
from stepcell.exporters.integer_writer import ELEMENT, Writer
from stepcell.ir.qmodel import (
    NUMERICS_VERSION,
    QActivate,
    QAdd,
    QConcat,
    QConstant,
    QCount,
    QDense,
    QGru,
    QHold,
    QLstm,
    QMax,
    QMean,
    QModel,
    QMul,
    QRescale,
    QRnn,
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
    QActivate: elementwise.activate,
    QAdd: elementwise.add,
    QMul: elementwise.mul,
    QMax: elementwise.maximum,
    QRescale: elementwise.rescale,
    QConstant: elementwise.constant,
    QTake: elementwise.take,
    QConcat: elementwise.concat,
    QTotal: elementwise.total,
    QCount: elementwise.count,
    QMean: elementwise.mean,
    QHold: elementwise.hold,
}


def export_integer(qmodel: QModel) -> onnx.ModelProto:
    """The graph of `run_integer`: every state and output at every step, bit for bit.

    Input: `qmodel.input.name` [batch, time, ...], already quantized (int8 or int16). Outputs, all
    integers as wide as the QModel stores them: first `qmodel.output.name` [batch, time, ...], as read
    after each step; then `states/NAME` [batch, time, ...] for every state after each step; then
    `final/NAME` [batch, ...] after the last. Every sequence starts from the initial states.
    """
    outer, step = Writer(""), Writer("step/")
    x = qmodel.input.name
    scope = Scope(outer, step, _batch(outer, x))
    initial = [scope.repeated(state.initial) for state in qmodel.states]
    body = _body(qmodel, scope)
    frames = outer.node("Transpose", outer.cast(x, 32), perm=_swapped(qmodel.input))
    values = _stacked_values(qmodel)
    finals = [f"final.{v.name}" for v in _states(qmodel)]
    stacks = [f"steps.{i}" for i in range(len(values))]
    scan = helper.make_node("Scan", [*initial, frames], [*finals, *stacks], num_scan_inputs=1, body=body)
    outer.nodes.append(scan)
    for (name, value), stack in zip(values, stacks, strict=True):
        outer.node("Transpose", stack, name=name, perm=_swapped(value))
    for value, final in zip(_states(qmodel), finals, strict=True):
        outer.cast(final, value.bits, name=f"final/{value.name}")
    return _model(qmodel, outer, values)


def _batch(outer: Writer, x: str) -> str:
    return outer.node("Slice", outer.node("Shape", x), outer.shape([0]), outer.shape([1]))


def _body(qmodel: QModel, scope: Scope) -> onnx.GraphProto:
    """(states, frame) -> (states', output, states' again as they are stored)."""
    step = scope.step
    for value in (*_states(qmodel), qmodel.input):
        scope.define(value, f"step/{value.name}")
    inputs = [_info(f"step/{v.name}", v, ["batch"], 32) for v in (*_states(qmodel), qmodel.input)]
    for op in qmodel.ops:
        _WRITE[type(op)](scope, op)
    updates = dict(qmodel.updates)
    after = {v.name: scope.names[updates.get(v.name, v.name)] for v in _states(qmodel)}
    if qmodel.output_is_finished:
        scope.names |= after
        for op in qmodel.finish:
            _WRITE[type(op)](scope, op)
    carried = [step.node("Identity", after[v.name], name=f"step/next/{v.name}") for v in _states(qmodel)]
    recorded = {"output": scope.names[qmodel.output.name], **{v.name: after[v.name] for v in _states(qmodel)}}
    stored = [qmodel.output, *_states(qmodel)]
    for (name, tensor), value in zip(recorded.items(), stored, strict=True):
        step.cast(tensor, value.bits, name=f"step/stored/{name}")
    outputs = [_info(n, v, ["batch"], 32) for n, v in zip(carried, _states(qmodel), strict=True)]
    outputs += [
        _info(f"step/stored/{n}", v, ["batch"], v.bits) for n, v in zip(recorded, stored, strict=True)
    ]
    return helper.make_graph(step.nodes, "step", inputs, outputs, step.initializers)


def _states(qmodel: QModel) -> list[QValue]:
    return [state.value for state in qmodel.states]


def _stacked_values(qmodel: QModel) -> list[tuple[str, QValue]]:
    """(name in the file, value) of everything that leaves at every step."""
    return [(qmodel.output.name, qmodel.output), *((f"states/{v.name}", v) for v in _states(qmodel))]


def _swapped(value: QValue) -> list[int]:
    """The permutation between [batch, time, ...] and the [time, batch, ...] that Scan wants."""
    return [1, 0, *range(2, 2 + len(value.shape))]


def _info(name: str, value: QValue, leading: list[str], bits: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, ELEMENT[bits], [*leading, *value.shape])


def _model(qmodel: QModel, outer: Writer, values: list[tuple[str, QValue]]) -> onnx.ModelProto:
    x = _info(qmodel.input.name, qmodel.input, ["batch", "time"], qmodel.input.bits)
    outputs = [_info(name, value, ["batch", "time"], value.bits) for name, value in values]
    outputs += [_info(f"final/{v.name}", v, ["batch"], v.bits) for v in _states(qmodel)]
    graph = helper.make_graph(outer.nodes, qmodel.name, [x], outputs, outer.initializers)
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="stepcell",
        producer_version=__version__,
    )
    scales = {"input_scale": qmodel.input.scale, "output_scale": qmodel.output.scale}
    helper.set_model_props(
        model, {"numerics_version": str(NUMERICS_VERSION)} | {k: repr(v) for k, v in scales.items()}
    )
    onnx.checker.check_model(model, full_check=True)
    return model
