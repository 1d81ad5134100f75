"""What ONNX allows and ONNX Runtime does not run, written as it does: the same numbers, other nodes.

It runs no layout 1 (transposes around layout 0 are the same), and takes the activations of RNN by their
exact spelling only. tests/test_recurrent_operators.py holds this against onnx's ReferenceEvaluator.
"""

import onnx
from onnx import helper

from stepcell.ir.gates import FUNCTIONS

_RECURRENT = ("LSTM", "GRU", "RNN")
_SWAPPED = (1, 0, 2)
_Y_BATCH_FIRST = (2, 0, 1, 3)


def as_runtime_runs_it(graph: onnx.GraphProto) -> None:
    """Change the graph in place, and the graphs inside its nodes."""
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                as_runtime_runs_it(attribute.g)
        nodes += _rewritten(node, taken) if node.op_type in _RECURRENT and not node.domain else [node]
    if len(nodes) != len(graph.node):
        del graph.node[:]
        graph.node.extend(nodes)


def _rewritten(node: onnx.NodeProto, taken: set[str]) -> list[onnx.NodeProto]:
    spelling = {name.lower(): name.encode() for name in FUNCTIONS}
    for attribute in node.attribute:
        if attribute.name == "activations":
            attribute.strings[:] = [
                spelling.get(name.decode("utf-8", "replace").lower(), name) for name in attribute.strings
            ]
    if not any(attribute.name == "layout" and attribute.i == 1 for attribute in node.attribute):
        return [node]
    return _time_first(node, taken)


def _time_first(node: onnx.NodeProto, taken: set[str]) -> list[onnx.NodeProto]:
    """The node with layout 0 between transposes of X, the initial states and the outputs."""
    before: list[onnx.NodeProto] = []
    after: list[onnx.NodeProto] = []
    turned = onnx.NodeProto()
    turned.CopyFrom(node)
    del turned.attribute[:]
    turned.attribute.extend(attribute for attribute in node.attribute if attribute.name != "layout")
    for i, name in enumerate(node.input):
        if name and i in (0, 5, 6):
            turned.input[i] = _fresh(f"{name}_time_first", taken)
            before.append(helper.make_node("Transpose", [name], [turned.input[i]], perm=_SWAPPED))
    for i, name in enumerate(node.output):
        if name:
            turned.output[i] = _fresh(f"{name}_time_first", taken)
            perm = _SWAPPED if i else _Y_BATCH_FIRST
            after.append(helper.make_node("Transpose", [turned.output[i]], [name], perm=perm))
    return [*before, turned, *after]


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name
