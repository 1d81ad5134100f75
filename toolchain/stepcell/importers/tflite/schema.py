"""The tables of a .tflite file that matter, as plain data; sizes and indices are checked here, once."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepcell.errors import StepcellError
from stepcell.importers.tflite.flatbuffer import Damaged, Number, Table, root
from stepcell.importers.tflite.operators import NAMES, OPTIONS

Array = NDArray[Any]

_LARGEST_FILE = 2**30
_LARGEST_TENSOR = 2**26
_MOST_AXES = 8
_MOST_FLAGS = 2**12
_TYPES = {
    0: "<f4",
    1: "<f2",
    2: "<i4",
    3: "<u1",
    4: "<i8",
    6: "?",
    7: "<i2",
    9: "<i1",
    10: "<f8",
    15: "<u4",
    16: "<u2",
}
"""TensorType as numpy; text, variants, complex and 4-bit numbers are refused where something reads them."""


@dataclass(frozen=True)
class Quantization:
    """real = scale * (stored - zero_point), one of each, or one for each index along `axis`."""

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int

    @property
    def scale(self) -> float:
        """The only scale."""
        return self.scales[0]

    @property
    def zero_point(self) -> int:
        """The only zero point."""
        return self.zero_points[0]


@dataclass(frozen=True, eq=False)
class TensorInfo:
    """A tensor: `data` is the stored constant, `signature` the shape with -1 for a free axis."""

    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    dtype: np.dtype[Any] | None
    data: Array | None
    quantization: Quantization | None
    is_variable: bool


@dataclass(frozen=True, eq=False)
class Operator:
    """One operation; tensor -1 is an optional input that is absent."""

    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    intermediates: tuple[int, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class SubGraph:
    """Tensors and the operators that compute them, in order."""

    tensors: tuple[TensorInfo, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]


@dataclass(frozen=True, eq=False)
class TfliteFile:
    """A file. `inputs` and `outputs` name the main subgraph's, as its signature does."""

    file: str
    sha256: str
    content: bytes
    graphs: tuple[SubGraph, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def read_tflite(path: Path) -> TfliteFile:
    """Parse a file.

    Raises StepcellError if it is missing, too large, or not a sound TensorFlow Lite model.
    """
    if not path.is_file():
        raise StepcellError(f"{path}: there is no such file.", "check the path.")
    if path.stat().st_size > _LARGEST_FILE:
        raise StepcellError(
            f"{path.name}: it is larger than {_LARGEST_FILE >> 20} MiB.", "convert a smaller model."
        )
    return parse(path.read_bytes(), path.name)


def parse(content: bytes, file: str) -> TfliteFile:
    """The bytes as a TensorFlow Lite model."""
    try:
        return _model(content, file)
    except Damaged as found:
        raise StepcellError(
            f"{file}: it is not a sound TensorFlow Lite model: {found}.", "convert the model again."
        ) from found


def _model(content: bytes, file: str) -> TfliteFile:
    model = root(content, b"TFL3")
    codes = tuple(_code(table) for table in model.tables(1))
    buffers = tuple(_bytes(table) for table in model.tables(4))
    graphs = tuple(_graph(table, codes, buffers) for table in model.tables(2))
    if not graphs or not graphs[0].inputs or not graphs[0].outputs:
        raise Damaged("it has no graph with inputs and outputs")
    inputs, outputs = _names(model, graphs[0])
    return TfliteFile(file, hashlib.sha256(content).hexdigest(), content, graphs, inputs, outputs)


def _code(table: Table) -> tuple[str, int]:
    """The name of an operator code and its version; files before 2020 have it in a byte."""
    code = max(table.integer(0, "b"), table.integer(3))
    name = NAMES.get(code, f"operator {code}")
    if name == "CUSTOM":
        name = f"CUSTOM {table.text(1)}"
    return name, table.integer(2, default=1)


def _bytes(table: Table) -> Array:
    if table.integer(1, "Q") > 1:
        raise Damaged("its weights lie outside its tables, as in files of more than 2 GiB")
    return table.numbers(0, "u1")


def _graph(table: Table, codes: tuple[tuple[str, int], ...], buffers: tuple[Array, ...]) -> SubGraph:
    tensors = tuple(_tensor(found, buffers) for found in table.tables(0))
    operators = tuple(_operator(found, codes, len(tensors)) for found in table.tables(3))
    inputs, outputs = (_indices(table.integers(number), len(tensors), 0) for number in (1, 2))
    return SubGraph(tensors, inputs, outputs, operators)


def _tensor(table: Table, buffers: tuple[Array, ...]) -> TensorInfo:
    shape, signature = table.integers(0), table.integers(7)
    if len(shape) > _MOST_AXES or any(n < 0 for n in shape) or prod(shape) > _LARGEST_TENSOR:
        raise Damaged(f"a tensor has the shape {list(shape[:_MOST_AXES])}")
    if signature and (len(signature) != len(shape) or any(n < -1 for n in signature)):
        raise Damaged("a tensor has two shapes that do not fit")
    code = _TYPES.get(table.integer(1, "b"))
    dtype = None if code is None else np.dtype(code)
    (buffer,) = _indices((table.integer(2, "I"),), len(buffers), 0)
    is_variable = bool(table.integer(5, "b"))
    return TensorInfo(
        table.text(3),
        shape,
        signature or shape,
        dtype,
        None if is_variable else _data(buffers[buffer], shape, dtype),
        _quantization(table.table(4), shape),
        is_variable,
    )


def _data(stored: Array, shape: tuple[int, ...], dtype: np.dtype[Any] | None) -> Array | None:
    """The constant in a buffer, a view of the file; None for a tensor that is computed."""
    if stored.size == 0 or dtype is None:
        return None
    if stored.size != prod(shape) * dtype.itemsize or (dtype.kind == "b" and stored.size > _MOST_FLAGS):
        raise Damaged(f"a tensor of shape {list(shape)} has {stored.size} bytes of data")
    if dtype.kind == "b":
        return np.asarray(stored[:_MOST_FLAGS] != 0).reshape(shape)
    return stored.view(dtype).reshape(shape)


def _quantization(table: Table | None, shape: tuple[int, ...]) -> Quantization | None:
    """Absent where there is no scale: converters write empty tables."""
    if table is None:
        return None
    scales = table.numbers(2, "<f4")
    zeros, axis = table.integers(3, "<i8"), table.integer(6)
    if scales.size == 0:
        return None
    table.buffer.spend(scales.size)
    if not (np.isfinite(scales).all() and (scales > 0).all()):
        raise Damaged("a scale is not a positive number")
    zeros = zeros or (0,) * scales.size
    per_axis = scales.size > 1
    if len(zeros) != scales.size or any(abs(zero) > 2**31 for zero in zeros):
        raise Damaged("scales and zero points do not fit")
    if per_axis and not (0 <= axis < len(shape) and shape[axis] == scales.size):
        raise Damaged("there are not as many scales as indices along their axis")
    return Quantization(tuple(map(float, scales)), zeros, axis)


def _operator(table: Table, codes: tuple[tuple[str, int], ...], tensors: int) -> Operator:
    (code,) = _indices((table.integer(0, "I"),), len(codes), 0)
    name, version = codes[code]
    return Operator(
        name,
        version,
        _indices(table.integers(1), tensors, -1),
        _indices(table.integers(2), tensors, 0),
        _indices(table.integers(8), tensors, -1),
        _options(name, table),
    )


def _options(name: str, table: Table) -> Mapping[str, Any]:
    """The operator's options by name; an absent table has every default."""
    if name not in OPTIONS:
        return {}
    _, fields = OPTIONS[name]
    wanted, _ = OPTIONS[name]
    kind, options = table.integer(3, "B"), table.table(4)
    if options is None:
        return {key: [] if code == "v" else default for key, (_, code, default) in fields.items()}
    if kind != wanted:
        raise Damaged(f"{name} has the options of another operator")
    return {key: _option(options, *found) for key, found in fields.items()}


def _option(options: Table, number: int, code: str, default: Number) -> Any:
    if code == "v":
        return list(options.integers(number))
    found = options.number(number, code, default)
    if isinstance(found, float) and not np.isfinite(found):
        raise Damaged("an option is not a finite number")
    return found


def _indices(found: tuple[int, ...], count: int, least: int) -> tuple[int, ...]:
    if any(not least <= index < count for index in found):
        raise Damaged(f"it names number {max(found, key=abs)} of {count}")
    return found


def _names(model: Table, graph: SubGraph) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the inputs and outputs: the signature's where it has one for each, else the tensors'."""
    signatures = [table for table in model.tables(7) if table.integer(4, "I") == 0]
    named = signatures[:1]
    ins = _mapped(named[0].tables(0)) if named else {}
    outs = _mapped(named[0].tables(1)) if named else {}
    return _unique([ins.get(i) or _plain(graph, i) for i in graph.inputs]), _unique(
        [outs.get(i) or _plain(graph, i) for i in graph.outputs]
    )


def _mapped(tables: tuple[Table, ...]) -> dict[int, str]:
    return {table.integer(1, "I"): table.text(0) for table in tables}


def _plain(graph: SubGraph, index: int) -> str:
    """A tensor's name without what the converter put around it."""
    return graph.tensors[index].name.removeprefix("serving_default_").partition(":")[0]


def _unique(names: list[str]) -> tuple[str, ...]:
    """The names, numbered where they are empty or occur twice."""
    return tuple(
        name if name and names.count(name) == 1 else f"{name}_{i}".lstrip("_") for i, name in enumerate(names)
    )
