"""From an ONNX file to a Graph: sizes, types and every tensor are checked before anything is computed."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import external_data_helper, numpy_helper

from stepcell.errors import StepcellError
from stepcell.importers.graph import Array, Body, Graph, GraphInput, Node

Shapes = Mapping[str, Sequence[int | str | None]]

_LARGEST_FILE = 2**30
_LARGEST_TENSOR = 2**26
# fmt: off
_PLAIN = frozenset([
    "FLOAT", "UINT8", "INT8", "UINT16", "INT16", "INT32", "INT64", "BOOL", "FLOAT16", "DOUBLE",
    "UINT32", "UINT64", "BFLOAT16",
])
# fmt: on
"""Tensor types that numpy holds as they are, and bfloat16, which becomes float32."""

_DEEPEST = 16
"""Graphs within graphs; exporters write four."""


def read_model(path: Path) -> tuple[onnx.ModelProto, str]:
    """The file parsed, with its external data, local functions inlined; and the file's SHA-256.

    Raises StepcellError if it is missing, too large, not ONNX, or names data outside its folder.
    """
    if not path.is_file():
        raise StepcellError(f"{path}: there is no such file.", "check the path.")
    if path.stat().st_size > _LARGEST_FILE:
        raise StepcellError(
            f"{path.name}: it is larger than {_LARGEST_FILE >> 20} MiB.", "export a smaller model."
        )
    content = path.read_bytes()
    model = parse(content, path.name)
    _read_external(model, path)
    if model.functions:
        from onnx import inliner

        model = inliner.inline_local_functions(model)
    return model, hashlib.sha256(content).hexdigest()


def parse(content: bytes, file: str) -> onnx.ModelProto:
    """The bytes as an ONNX model with a graph."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:  # protobuf's implementations raise different types
        raise _not_onnx(file) from error
    if not model.graph.node or not model.graph.output or not model.opset_import or not _is_text(model.graph):
        raise _not_onnx(file)
    return model


def _is_text(graph: onnx.GraphProto) -> bool:
    """Whether every name is UTF-8; protobuf hands out bytes where a damaged one is not."""
    names: list[object] = [tensor.name for tensor in graph.initializer]
    for info in (*graph.input, *graph.output):
        names += [info.name, *(dim.dim_param for dim in info.type.tensor_type.shape.dim)]
    for node in graph.node:
        names += [node.op_type, node.name, node.domain, *node.input, *node.output]
        names += [attribute.name for attribute in node.attribute]
    inside = (a.g for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.GRAPH)
    return all(isinstance(name, str) for name in names) and all(_is_text(inner) for inner in inside)


def _not_onnx(file: str) -> StepcellError:
    return StepcellError(
        f"{file}: it is not an ONNX model, or it is truncated.", "export it again with torch.onnx.export."
    )


def _read_external(model: onnx.ModelProto, path: Path) -> None:
    folder = path.resolve().parent
    for tensor in model.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        info = {entry.key: entry.value for entry in tensor.external_data if isinstance(entry.value, str)}
        location = info.get("location", "")
        target = (folder / location.replace("\0", "")).resolve()
        if not location or "\0" in location or folder not in target.parents:
            raise StepcellError(
                f"{path.name}: the tensor '{tensor.name}' lies outside the model's folder ({location}).",
                "store external data beside the model.",
            )
        if not target.is_file():
            raise StepcellError(
                f"{path.name}: its data file {location} is missing.", "copy it beside the model."
            )
        try:
            external_data_helper.load_external_data_for_tensor(tensor, str(folder))
        except Exception as error:  # onnx raises many types for bad offsets and lengths
            raise StepcellError(
                f"{path.name}: the data of '{tensor.name}' cannot be read from {location}.",
                "export the model again.",
            ) from error
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def to_graph(
    model: onnx.ModelProto,
    file: str,
    sha256: str,
    bind: Mapping[str, float] | None = None,
    shapes: Shapes | None = None,
) -> Graph:
    """The model's graph as a Graph; bound inputs become constants, `shapes` replace what the file says."""
    graph = model.graph
    constants = _constants(graph, file)
    bound = {info.name: _bound(info, bind or {}) for info in graph.input if info.name in (bind or {})}
    _check_names(file, set(bind or {}) | set(shapes or {}), {info.name for info in graph.input})
    free = [info for info in graph.input if info.name not in constants and info.name not in bound]
    inputs = tuple(_input(info, (shapes or {}).get(info.name), file) for info in free)
    nodes = tuple(_node(proto, file) for proto in graph.node)
    outputs = tuple(info.name for info in graph.output)
    stated = tuple(_stated_shape(info) for info in graph.output)
    return Graph(file, "onnx", sha256, _opset(model, file), inputs, outputs, nodes, constants | bound, stated)


def _stated_shape(info: onnx.ValueInfoProto) -> tuple[int | str, ...] | None:
    proto = info.type.tensor_type
    return tuple(_dims(info.name, proto.shape.dim)) if proto.HasField("shape") else None


def _constants(graph: onnx.GraphProto, file: str) -> dict[str, Array]:
    if graph.sparse_initializer:
        raise StepcellError(
            f"{file}: it holds sparse tensors; dense ones are allowed.", "store them densely."
        )
    return {tensor.name: array(tensor, file) for tensor in graph.initializer}


def _check_names(file: str, given: set[str], known: set[str]) -> None:
    if given - known:
        raise StepcellError(
            f"{file}: it has no input '{min(given - known)}'; its inputs are {', '.join(sorted(known))}.",
            "correct --bind or --shape.",
        )


def _opset(model: onnx.ModelProto, file: str) -> int:
    versions: dict[str, int] = {entry.domain: entry.version for entry in model.opset_import}
    version = versions.get("", versions.get("ai.onnx", 0))
    if not 7 <= version <= 26:
        raise StepcellError(f"{file}: it has opset {version}; 7 to 26 are allowed.", "export with opset 17.")
    return version


def array(tensor: onnx.TensorProto, file: str) -> Array:
    """A tensor as numpy, its type and size checked first."""
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise StepcellError(
            f"{file}: the constant '{tensor.name}' lies in another file; only initializers may.",
            "store it inside.",
        )
    known = onnx.TensorProto.DataType.values()
    type_name = onnx.TensorProto.DataType.Name(tensor.data_type) if tensor.data_type in known else "?"
    if type_name not in _PLAIN:
        raise StepcellError(
            f"{file}: tensor '{tensor.name}' has type {type_name}; plain floats and integers are allowed.",
            "store float32.",
        )
    if any(size < 0 for size in tensor.dims) or prod(tensor.dims) > _LARGEST_TENSOR:
        raise StepcellError(
            f"{file}: tensor '{tensor.name}' has shape {list(tensor.dims)}; at most {_LARGEST_TENSOR} "
            "elements are allowed.",
            "check the file.",
        )
    try:
        found = np.asarray(numpy_helper.to_array(tensor))
        return found.astype(np.float32) if type_name == "BFLOAT16" else found
    except Exception as error:  # onnx raises many types for data that does not fit its shape
        raise StepcellError(
            f"{file}: the data of tensor '{tensor.name}' does not fit its shape {list(tensor.dims)}.",
            "the file is damaged; export it again.",
        ) from error


def _bound(info: onnx.ValueInfoProto, bind: Mapping[str, float]) -> Array:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
    shape = [dim.dim_value or 1 for dim in info.type.tensor_type.shape.dim]
    return np.full(shape, bind[info.name], dtype)


def _input(info: onnx.ValueInfoProto, given: Sequence[int | str | None] | None, file: str) -> GraphInput:
    proto = info.type.tensor_type
    if not info.type.HasField("tensor_type") or not proto.HasField("shape"):
        raise StepcellError(
            f"{file}: the input '{info.name}' has no shape.", f"give it: --shape {info.name}=1,T,40."
        )
    dims = list(_dims(info.name, proto.shape.dim))
    if given is not None:
        if len(given) != len(dims):
            raise StepcellError(
                f"{file}: the input '{info.name}' has {len(dims)} axes, --shape gives {len(given)}.",
                "give each axis.",
            )
        dims = [size if isinstance(size, int) else old for size, old in zip(given, dims, strict=True)]
    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(proto.elem_type))
    except KeyError:
        raise StepcellError(f"{file}: the input '{info.name}' has no known type.", "use float32.") from None
    return GraphInput(info.name, tuple(dims), dtype)


def _dims(name: str, dims: Any) -> Iterator[int | str]:
    for axis, dim in enumerate(dims):
        yield dim.dim_value if dim.dim_value > 0 else (dim.dim_param or f"{name}:{axis}")


def _node(proto: onnx.NodeProto, file: str, depth: int = 0) -> Node:
    domain = "" if proto.domain in ("", "ai.onnx") else f"{proto.domain}."
    attributes = {attribute.name: _attribute(attribute, file, depth) for attribute in proto.attribute}
    inputs = tuple(proto.input)
    while inputs and not inputs[-1]:
        inputs = inputs[:-1]
    return Node(domain + proto.op_type, proto.name, inputs, tuple(proto.output), attributes)


def _body(graph: onnx.GraphProto, file: str, depth: int) -> Body:
    if depth > _DEEPEST:
        raise StepcellError(f"{file}: it nests more than {_DEEPEST} graphs.", "check the file.")
    constants = _constants(graph, file)
    inputs = tuple(info.name for info in graph.input if info.name not in constants)
    nodes = tuple(_node(proto, file, depth) for proto in graph.node)
    return Body(inputs, tuple(info.name for info in graph.output), nodes, constants)


def _attribute(attribute: onnx.AttributeProto, file: str, depth: int) -> Any:
    kinds = onnx.AttributeProto
    match attribute.type:
        case kinds.GRAPH:
            return _body(attribute.g, file, depth + 1)
        case kinds.TENSOR:
            return array(attribute.t, file)
        case kinds.STRING:
            return attribute.s.decode("utf-8", "replace")
        case kinds.STRINGS:
            return [text.decode("utf-8", "replace") for text in attribute.strings]
        case kinds.FLOAT | kinds.INT | kinds.FLOATS | kinds.INTS:
            return onnx.helper.get_attribute_value(attribute)
        case _:
            return None
