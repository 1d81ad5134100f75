"""Layers over windows, and elements moved with zeros between them, as ONNX nodes."""

from math import prod

import numpy as np
from numpy.typing import NDArray

from stepcell.exporters.integer_layers import requantized
from stepcell.exporters.integer_scope import Scope
from stepcell.ir.qmodel import IntArray, QConv, QTake
from stepcell.ir.window import window_indices


def conv(scope: Scope, op: QConv) -> None:
    """y = sat16(rr(rr(acc, pre)*M, post)), acc over what each position reads."""
    w, indices = scope.step, window_indices(op.window)
    positions, taps, channels = indices.shape
    flat = scope.flat(op.x)
    read = picked(scope, scope.seen(op.matrix, flat), prod(scope.shapes[op.x]), indices.ravel())
    if op.depthwise:
        each = w.node("Reshape", read, w.shape([-1, positions, taps, channels]))
        product = w.node("Mul", each, scope.weights(op.matrix.weights))
        acc = w.node("ReduceSum", product, w.shape([2]), keepdims=0)
    else:
        rows = w.node("Reshape", read, w.shape([-1, positions, taps * channels]))
        acc = w.node("MatMul", rows, scope.weights(op.matrix.weights))
    if np.any(op.bias):
        acc = w.node("Add", acc, w.int32(op.bias))
    y = requantized(scope, op.requant, acc)
    y = w.node("Max", y, w.int32(0)) if op.relu else y
    scope.define(op.y, w.node("Reshape", y, w.shape([-1, *op.y.shape])))


def picked(scope: Scope, flat: str, size: int, indices: NDArray[np.int64] | IntArray) -> str:
    """flat [batch, size] -> [batch, n]: the elements at the indices, zero at -1."""
    w = scope.step
    if (indices < 0).any():
        flat = w.node("Pad", flat, w.shape([0, 0, 0, 1]))
        indices = np.where(indices < 0, size, indices)
    return w.node("Gather", flat, w.shape([int(i) for i in indices]), axis=1)


def take(scope: Scope, op: QTake) -> None:
    """y.flat[i] = x.flat[indices[i]], zero at -1."""
    size = prod(scope.shapes[op.x])
    flat = scope.flat(op.x)
    if op.indices != tuple(range(size)):
        flat = picked(scope, flat, size, np.array(op.indices))
    shaped = (
        flat
        if len(op.y.shape) == 1
        else scope.step.node("Reshape", flat, scope.step.shape([-1, *op.y.shape]))
    )
    scope.define(op.y, shaped)
