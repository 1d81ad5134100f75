"""Constant folding of rarer operators, each by onnx's own reference implementation in the file's opset."""

from math import prod

import numpy as np

from stepcell.importers.graph import Array, Node, Unsupported
from stepcell.importers.lift.attributes import Operands

# fmt: off
FOLDED = frozenset([
    "Abs", "Acos", "Asin", "Atan", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "CastLike",
    "Clip", "Cos", "CumSum", "DequantizeLinear", "Dropout", "Einsum", "Elu", "Erf", "Flatten",
    "GatherElements", "GatherND", "Gemm", "GreaterOrEqual", "HardSigmoid", "LeakyRelu", "LessOrEqual",
    "Log", "LogSoftmax", "Mean", "Mod", "OneHot", "Pad", "Pow", "QuantizeLinear", "Reciprocal",
    "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "ReduceSumSquare",
    "Round", "ScatterElements", "ScatterND", "Selu", "Sign", "Sin", "Softmax", "Softplus", "Softsign",
    "Sum", "Tile", "Trilu", "Xor",
])
# fmt: on
_ALIKE_SINCE = {"DequantizeLinear": 19, "QuantizeLinear": 19}
"""Operators of which the reference has no older version; older ones mean the same where they are used."""
_LARGEST = 2**26
_LARGEST_PRODUCT = 2**32


def fold_by_reference(node: Node, operands: Operands, opset: int) -> list[Array]:
    """The outputs of a node whose operands are constants. Raises Unsupported for what is too large."""
    import onnx
    from onnx import helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    if node.op in _ALIKE_SINCE:
        opset = max(opset, _ALIKE_SINCE[node.op])
    arrays = [None if operand is None else np.asarray(operand) for operand in operands]
    _check_size(node, [array for array in arrays if array is not None])
    feeds = {f"x{k}": array for k, array in enumerate(arrays) if array is not None}
    inputs = ["" if array is None else f"x{k}" for k, array in enumerate(arrays)]
    attributes = {
        key: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for key, value in node.attributes.items()
        if value is not None
    }
    outputs = [f"y{k}" for k in range(len(node.outputs))]
    made = helper.make_node(node.op, inputs, outputs, **attributes)
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in feeds.items()
    ]
    results = [helper.make_tensor_value_info(name, onnx.TensorProto.UNDEFINED, None) for name in outputs]
    graph = helper.make_graph([made], "fold", infos, results)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        return [np.asarray(found) for found in ReferenceEvaluator(model).run(None, feeds)]
    except Exception as error:  # the reference raises many types
        raise Unsupported(
            f"cannot be computed from its constants: {type(error).__name__}",
            "check the file with onnx.checker.",
        ) from error


def _check_size(node: Node, arrays: list[Array]) -> None:
    """Refuse results, and work, that a damaged file could ask for."""
    size = prod(np.broadcast_shapes(*(a.shape for a in arrays))) if node.op == "Sum" else 0
    if node.op == "Tile":
        size = prod(int(n) for n in arrays[0].shape) * prod(max(int(n), 0) for n in arrays[1].ravel())
    elif node.op == "Pad":
        pads = arrays[1] if len(arrays) > 1 else np.asarray(node.attributes.get("pads", ()))
        size = prod(n + int(np.abs(pads).sum()) for n in arrays[0].shape)
    elif node.op == "OneHot":
        size = arrays[0].size * abs(int(arrays[1].ravel()[0]))
    elif node.op in ("Einsum", "Gemm"):
        work = prod(max(a.size, 1) for a in arrays[:2])
        size = work if work > _LARGEST_PRODUCT else 0
    if size > _LARGEST:
        raise Unsupported(f"makes a constant of {size} elements; at most {_LARGEST}", "check the file.")
