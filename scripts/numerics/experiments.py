"""What-ifs: the contract with one thing changed, to see what it costs. None of them is the product's."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np

from stepcell.ir import Model, recurrent_ops
from stepcell.ir.model import FloatArray, Mask
from stepcell.ir.qmodel import IntArray, JointRequant, QValue
from stepcell.ir.sequences import Sequences
from stepcell.quantize import layers, matrices
from stepcell.reference import integer_ops


def peaks(data: Sequences) -> FloatArray:
    """Largest |x| of every feature."""
    return np.asarray(np.abs(data.x).max(axis=(0, 1)), np.float64)


def powers_of_two(values: FloatArray) -> FloatArray:
    """The next powers of two, not below."""
    return np.asarray(2.0 ** np.ceil(np.log2(values)))


def with_feature_scales(model: Model, largest: FloatArray) -> Model:
    """The same network for an input divided by `largest`: int8 then has a scale for each feature."""
    first = recurrent_ops(model)[0].input_weights
    return model.with_weights({first: model.weights[first] * largest})


@contextmanager
def floors(bias_limit: int, smallest_scale: float) -> Iterator[None]:
    """Other floors under the scale of a row."""
    with (
        patch.object(matrices, "BIAS_LIMIT", bias_limit),
        patch.object(matrices, "SMALLEST_SCALE", smallest_scale),
    ):
        yield


@contextmanager
def recurrent_int16() -> Iterator[None]:
    """Recurrent matrices read the int16 state itself, not its int8 view; the input stays as it is."""

    def quantize_matrix(
        weights: FloatArray, bias: FloatArray, mask: Mask | None, x: QValue, exact: bool = False
    ) -> Any:
        return matrices.quantize_matrix(weights, bias, mask, x, exact or x.name.startswith("h"))

    with patch.object(layers, "quantize_matrix", quantize_matrix):
        yield


@contextmanager
def exact_requantization() -> Iterator[None]:
    """Accumulators times real scales, rounded once: no shifts and multipliers could do better.

    Quantize and run inside of it.
    """
    with (
        patch.object(layers, "joint_requant", _real_multipliers),
        patch.object(integer_ops, "rr", _rounded),
    ):
        yield


def _real_multipliers(
    layer: str, input_bound: IntArray, input_scales: FloatArray, recurrent_bound: IntArray,
    recurrent_scales: FloatArray, out_scale: float, joint_rows: int,
) -> tuple[JointRequant, int, int]:  # fmt: skip
    del layer, input_bound, recurrent_bound, joint_rows
    requant: Any = JointRequant(input_scales / out_scale, recurrent_scales / out_scale, 0, 0, 0)  # type: ignore[arg-type]
    return requant, 0, 0


def _rounded(v: Any, shift: int) -> Any:
    if np.asarray(v).dtype.kind == "f":
        return np.floor(v + 0.5).astype(np.int64)
    return v if shift == 0 else (v + (1 << (shift - 1))) >> shift
