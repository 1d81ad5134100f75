"""The first frame, which reads no state, computes what the others do from states of zero."""

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from stepcell.importers.graph import Array, Graph, Node
from stepcell.importers.unrolled.cells import Cell, Steps, ancestors

_TOLERANCE = 1e-5


def zeros_of(graph: Graph, steps: Steps, cell: Cell) -> list[Array] | None:
    """States of zero, if the first frame's results are the cell's from them, on random frames; else None."""
    first = ancestors(steps, list(cell.first), 0)
    nodes = [node for node in graph.nodes if node.outputs and node.outputs[0] in first]
    rng = np.random.default_rng(0)
    try:
        shape = _frame_shape(graph, steps)
        for _ in range(3):
            frame = rng.standard_normal(shape).astype(np.float32)
            wanted = _run(graph, nodes, {steps.frames.names[0]: frame}, cell.first)
            zeros = [np.zeros_like(one) for one in wanted]
            feeds = {steps.frames.names[2]: frame, **dict(zip(cell.before, zeros, strict=True))}
            mine = _run(graph, cell.nodes, feeds, cell.after)
            if any(not np.allclose(a, b, atol=_TOLERANCE) for a, b in zip(mine, wanted, strict=True)):
                return None
    except Exception:  # noqa: BLE001  # onnx's evaluator raises many types; what it cannot run is not proven
        return None
    return zeros


def _frame_shape(graph: Graph, steps: Steps) -> tuple[int, ...]:
    """The shape of a frame: [1, inputs], the inputs as the first matrix product has them."""
    for node in graph.nodes:
        if node.op in ("MatMul", "Gemm") and node.inputs[0] in steps.frames.names:
            return 1, int(graph.constants[node.inputs[1]].shape[0])
    raise ValueError("no matrix reads a frame")


def _run(
    graph: Graph, nodes: Iterable[Node], feeds: Mapping[str, Array], outputs: tuple[str, ...]
) -> list[Array]:
    """Evaluate some nodes of the graph."""
    from onnx.reference import ReferenceEvaluator

    listed = list(nodes)
    reads = {name for node in listed for name in node.inputs if name in graph.constants}
    info = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in (*feeds, *outputs)]
    constants = [numpy_helper.from_array(_narrow(graph.constants[name]), name) for name in sorted(reads)]
    protos = [helper.make_node(n.op, list(n.inputs), list(n.outputs), **n.attributes) for n in listed]
    made = helper.make_graph(protos, "cell", info[: len(feeds)], info[len(feeds) :], constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", graph.opset)], ir_version=9)
    return [np.asarray(found) for found in ReferenceEvaluator(model).run(list(outputs), dict(feeds))]


def _narrow(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype.kind == "f" else array
