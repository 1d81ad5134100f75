"""The integers of a fully quantized file, found again beside the operations of the float Model."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.graph import Array
from stepcell.importers.tflite.schema import Operator, Quantization, TensorInfo, TfliteFile
from stepcell.importers.tflite.translation import Translation
from stepcell.ir import Model
from stepcell.ir.model import all_ops
from stepcell.ir.ops import Dense, Lstm, Quant
from stepcell.ir.source_integers import DenseIntegers, LstmIntegers, SourceIntegers

_MOVES = {
    "RESHAPE",
    "STRIDED_SLICE",
    "SLICE",
    "TRANSPOSE",
    "SQUEEZE",
    "EXPAND_DIMS",
    "REVERSE_V2",
    "CONCATENATION",
    "SPLIT",
    "UNPACK",
    "PACK",
}
_ALLOWED = _MOVES | {
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "FULLY_CONNECTED",
    "SOFTMAX",
    "LOGISTIC",
    "TANH",
    "QUANTIZE",
    "DEQUANTIZE",
}
_HINT = "convert the model without quantization; stepcell quantizes it with your calibration data."
_ONNX_ORDER = (0, 3, 1, 2)
"""TensorFlow's gates i f c o in the order i o f c."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of the file: the weights that the float Model has for it, and its integers."""

    weights: Array
    integers: LstmIntegers | DenseIntegers


def with_integers(file: TfliteFile, model: Model) -> Model:
    """The model with the file's integers beside it.

    Raises StepcellError naming what is not allowed in a quantized file.
    """
    main = file.graphs[0]
    t = Translation(file, main, builder=None)  # type: ignore[arg-type]
    for op in main.operators:
        _check(t, op)
    layers = [layer for op in main.operators if (layer := _layer(t, op)) is not None]
    found: dict[str, SourceIntegers] = dict(_matched(file, model, layers))
    for value, index in zip(model.main.inputs, main.inputs, strict=True):
        found[value.name] = _input_format(t, index)
    return replace(model, quantized=found)


def _check(t: Translation, op: Operator) -> None:
    if op.name not in _ALLOWED:
        raise t.refuse(op, "is not allowed in a file of integers", _HINT)
    if op.name == "QUANTIZE" and not _is_float(t.tensor(t.given(op, 0))):
        raise t.refuse(op, "changes from one scale to another, which is not allowed", _HINT)
    if op.name in _MOVES:
        formats = {_format(t, op, index) for index in (*op.outputs, *_data_inputs(t, op))}
        if len(formats) != 1:
            raise t.refuse(op, "changes the scale, which is not allowed", _HINT)


def _data_inputs(t: Translation, op: Operator) -> list[int]:
    return [index for index in op.inputs if index >= 0 and t.tensor(index).quantization is not None]


def _is_float(tensor: TensorInfo) -> bool:
    return tensor.dtype is not None and tensor.dtype.kind == "f"


def _format(t: Translation, op: Operator, index: int, bits: int = 8) -> Quant:
    """The scale and zero point of an int8 (or int16) tensor that has one of each."""
    tensor = t.tensor(index)
    quantization = tensor.quantization
    if tensor.dtype != np.dtype(f"<i{bits // 8}") or quantization is None or len(quantization.scales) != 1:
        raise t.refuse(op, f"has '{tensor.name}', which is not int{bits} with one scale", _HINT)
    if not -(1 << (bits - 1)) <= quantization.zero_point < 1 << (bits - 1):
        raise t.refuse(op, f"has '{tensor.name}', whose zero point no int{bits} holds", _HINT)
    return Quant(quantization.scale, quantization.zero_point, bits)


def _input_format(t: Translation, index: int) -> Quant:
    """The format of an input, or of what quantizes it."""
    if not _is_float(t.tensor(index)):
        reader = next(op for op in t.graph.operators if index in op.inputs)
        return _format(t, reader, index)
    for op in t.graph.operators:
        if index in op.inputs:
            if op.name != "QUANTIZE":
                raise t.refuse(op, "reads the input as floats", _HINT)
            return _format(t, op, op.outputs[0])
    raise StepcellError(f"{t.source.file}: nothing reads an input of it.", "convert the model again.")


def _layer(t: Translation, op: Operator) -> Layer | None:
    match op.name:
        case "UNIDIRECTIONAL_SEQUENCE_LSTM":
            return _lstm(t, op)
        case "FULLY_CONNECTED":
            return _dense(t, op)
        case _:
            return None


def _symmetric(t: Translation, op: Operator, k: int) -> tuple[Array, Quantization]:
    """int8 weights with zero point 0."""
    tensor = t.tensor(t.given(op, k))
    quantization = tensor.quantization
    if tensor.data is None or tensor.dtype != np.dtype("<i1") or quantization is None:
        raise t.refuse(op, f"has weights '{tensor.name}' that are not int8 with a scale", _HINT)
    if any(quantization.zero_points) or tensor.data.ndim != 2 or int(tensor.data.min(initial=0)) < -127:
        raise t.refuse(op, f"has weights '{tensor.name}' that are not symmetric in -127..127", _HINT)
    return tensor.data.astype(np.int64), quantization


def _bias(t: Translation, op: Operator, k: int, rows: int) -> Array:
    index = t.index(op, k)
    if index is None:
        return np.zeros(rows, np.int64)
    data = t.tensor(index).data
    if data is None or data.dtype != np.dtype("<i4") or data.shape != (rows,):
        raise t.refuse(op, "has a bias that is not int32", _HINT)
    return data.astype(np.int64)


def _lstm(t: Translation, op: Operator) -> Layer:
    if t.index(op, 1) is None:
        raise t.refuse(op, "couples its gates, which is not allowed in integers", _HINT)
    if any(t.index(op, k) is not None for k in (9, 10, 11)):
        raise t.refuse(op, "has peepholes, which are not allowed in integers", _HINT)
    if len(op.intermediates) != 5 or op.intermediates[4] < 0:
        raise t.refuse(op, "lacks the scale that its results are written with", _HINT)
    inputs, recurrents = ([_symmetric(t, op, first + g) for g in _ONNX_ORDER] for first in (1, 5))
    units = len(inputs[0][0])
    bias = np.concatenate([_bias(t, op, 12 + g, units) for g in _ONNX_ORDER])
    cell_bits, cell_limit = _cell(t, op)
    w, r = ([part[0] for part in parts] for parts in (inputs, recurrents))
    if any(len(part.scales) != 1 for _, part in (*inputs, *recurrents)):
        raise t.refuse(op, "has a scale for each row, where one a gate is allowed", _HINT)
    integers = LstmIntegers(
        np.concatenate(w),
        np.concatenate(r),
        bias,
        tuple(part.scale for _, part in inputs),
        tuple(part.scale for _, part in recurrents),
        _format(t, op, t.given(op, 0)),
        _format(t, op, t.given(op, 18)),
        _format(t, op, op.intermediates[4]),
        _format(t, op, op.outputs[0]),
        cell_bits,
        cell_limit,
    )
    real = np.concatenate([t.real(t.given(op, 1 + g), op) for g in _ONNX_ORDER])
    return Layer(real, integers)


def _cell(t: Translation, op: Operator) -> tuple[int, int]:
    """Fraction bits of the cell, and what it is clipped to."""
    found = _format(t, op, t.given(op, 19), 16)
    bits = -math.log2(found.scale)
    if bits != round(bits) or not 9 <= bits <= 15 or found.zero_point:
        raise t.refuse(
            op, f"has a cell of scale {found.scale:g}; powers of two from 2^-15 to 2^-9 are allowed", _HINT
        )
    clip = float(op.options["cell_clip"])
    limit = int(min(max(clip / found.scale, -32768.0), 32767.0)) if clip > 0 else 0
    return int(bits), limit if limit > 0 else 32768


def _dense(t: Translation, op: Operator) -> Layer:
    weights, quantization = _symmetric(t, op, 1)
    if quantization.axis != 0 and len(quantization.scales) > 1:
        raise t.refuse(op, "has a scale for each column", _HINT)
    if int(op.options["activation"]) not in (0, 1):
        raise t.refuse(op, "has an activation other than relu", _HINT)
    scales = quantization.scales * (len(weights) // len(quantization.scales))
    integers = DenseIntegers(
        weights,
        _bias(t, op, 2, len(weights)),
        scales,
        _format(t, op, t.given(op, 0)),
        _format(t, op, op.outputs[0]),
        int(op.options["activation"]) == 1,
    )
    return Layer(t.real(t.given(op, 1), op), integers)


def _matched(file: TfliteFile, model: Model, layers: list[Layer]) -> Mapping[str, Any]:
    """The integers of each layer of the Model, by its result: found by equal weights, in the file's order."""
    found: dict[str, LstmIntegers | DenseIntegers] = {}
    rest = list(layers)
    for op in all_ops(model):
        if not isinstance(op, Lstm | Dense):
            continue
        kind, name, key = (
            (LstmIntegers, op.h_next.name, op.input_weights)
            if isinstance(op, Lstm)
            else (DenseIntegers, op.y.name, op.weights)
        )
        weights = model.weights[key]
        fits = [
            layer
            for layer in rest
            if isinstance(layer.integers, kind) and np.array_equal(layer.weights, weights)
        ]
        if not fits:
            raise StepcellError(
                f"{file.file}: the layer '{name}' is not one of the file's own; its integers are not known.",
                _HINT,
            )
        found[name] = fits[0].integers
        rest.remove(fits[0])
    return found
