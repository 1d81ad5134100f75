"""An input of the source graph as a lifted tensor: what it holds in one step."""

from dataclasses import replace

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.graph import GraphInput
from stepcell.importers.lift.attention_memory import given_memory
from stepcell.importers.lift.axes import Axis
from stepcell.importers.lift.context import LARGEST_STEP, Lift, Phase, Tensor, data, inner_shape
from stepcell.importers.lift.frames import frames_per_step
from stepcell.importers.lift.lengths import lengths_tensor
from stepcell.importers.lift.roles import (
    MEMORY,
    label,
)
from stepcell.importers.names import identifier
from stepcell.ir.ops import Dtype, Value


def input_tensor(lift: Lift, source: GraphInput) -> Tensor:
    """What one step sees of an input, its value and state registered; else refused by name."""
    if lift.roles.get(source.name) == "lengths":
        return lengths_tensor(lift, source)
    if lift.roles.get(source.name) == MEMORY:
        return given_memory(lift, source, tuple(_axis(lift, source, k) for k in range(len(source.shape))))
    if source.dtype.kind not in "fiu":
        raise StepcellError(
            f"{lift.graph.file}: the input '{source.name}' has type {source.dtype}; floats and integers are "
            "allowed.",
            f"fix a setting with --bind {source.name}=NUMBER.",
        )
    axes = tuple(_axis(lift, source, k) for k in range(len(source.shape)))
    shape = inner_shape(axes)
    inner = tuple(n for n, axis in zip(shape, axes, strict=True) if not isinstance(axis[0], str))
    if any(n < 1 for n in inner) or np.prod(shape, dtype=object) > LARGEST_STEP:
        raise StepcellError(
            f"{lift.graph.file}: the input '{source.name}' has the shape {list(source.shape)}; "
            f"1 to {LARGEST_STEP} numbers a step are allowed.",
            "check the file.",
        )
    role = lift.roles.get(source.name)
    name = source.name if role == "state" else identifier(source.name, f"x{lift.graph.inputs.index(source)}")
    at = next((k for k, axis in enumerate(axes) if axis[0] == "time" and len(axis) > 1), None)
    dtype: Dtype = "float" if source.dtype.kind == "f" else "token"
    lift.values[name] = Value(name, inner if at is None else (shape[at], *inner), dtype)
    if role == "carried":
        lift.add_state(name, np.zeros(inner), "")
    phase: Phase = "initial" if role == "state" else "step"
    whole = data(name, shape, axes, phase)
    if at is None:
        return whole
    order = [at, *(k for k in range(len(shape)) if k != at)]
    frames_first = np.arange(whole.table.size).reshape([shape[k] for k in order])
    return replace(whole, table=frames_first.transpose(np.argsort(order)))


def _axis(lift: Lift, source: GraphInput, axis: int) -> Axis:
    role = lift.roles.get(label(source, axis), label(source, axis))
    size = source.shape[axis]
    inner = role == "inner" or (lift.roles.get(source.name) == "state" and role != "batch")
    if inner and isinstance(size, str):
        raise StepcellError(
            f"{lift.graph.file}: axis {axis} of the input '{source.name}' is neither batch nor time, "
            "and has no size.",
            f"give the input's shape: --shape {source.name}=1,T,40 (T marks the time axis).",
        )
    if role == "time" and frames_per_step(lift.roles) > 1:
        return (role, frames_per_step(lift.roles))
    return (size,) if inner and isinstance(size, int) else (role,)
