"""Which numbers a file stores as integers, and the same file with its weights as floats."""

from typing import Any

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.tflite.schema import TensorInfo, TfliteFile


def is_integer(file: TfliteFile) -> bool:
    """Whether activations are integers, so that the file says how to compute with integers."""
    main = file.graphs[0]
    made = (main.tensors[index] for op in main.operators for index in op.outputs)
    return any(
        tensor.quantization is not None and tensor.dtype is not None and tensor.dtype.kind == "i"
        for tensor in made
    )


def is_dynamic_range(file: TfliteFile) -> bool:
    """Whether weights are integers, but no activations."""
    return not is_integer(file) and any(
        _is_stored_weight(tensor) for graph in file.graphs for tensor in graph.tensors
    )


def _is_stored_weight(tensor: TensorInfo) -> bool:
    return (
        tensor.data is not None
        and tensor.quantization is not None
        and tensor.dtype is not None
        and tensor.dtype.kind in "iu"
    )


def with_float_weights(file: TfliteFile) -> bytes:
    """The file with every integer weight replaced by the float that it stands for.

    An interpreter then runs float kernels: those for integer weights round activations to 8 bits as they run.
    Uses the schema that comes with ai-edge-litert.
    """
    try:
        return _rewritten(file)
    except Exception as error:  # its writer raises many types for fields that it would not have written
        raise StepcellError(
            f"{file.file}: its weights cannot be taken out of it: {str(error)[:200]}.",
            "convert the model again, with float weights.",
        ) from error


def _rewritten(file: TfliteFile) -> bytes:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(file.content, 0))
    for graph, written in zip(file.graphs, model.subgraphs, strict=True):
        for tensor, found in zip(graph.tensors, written.tensors, strict=True):
            if _is_stored_weight(tensor):
                _make_float(schema, model, tensor, found)
    builder = flatbuffers.Builder(len(file.content) * 4)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _make_float(schema: Any, model: Any, tensor: TensorInfo, found: Any) -> None:
    assert tensor.data is not None
    assert tensor.quantization is not None
    along = [1] * len(tensor.shape)
    if len(tensor.quantization.scales) > 1:
        along[tensor.quantization.axis] = -1
    scales, zeros = (
        np.reshape(np.asarray(part, np.float64), along if tensor.shape else ())
        for part in (tensor.quantization.scales, tensor.quantization.zero_points)
    )
    real = ((tensor.data.astype(np.float64) - zeros) * scales).astype(np.float32)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(real.tobytes(), np.uint8)
    model.buffers.append(buffer)
    found.buffer = len(model.buffers) - 1
    found.type = schema.TensorType.FLOAT32
    found.quantization = None
