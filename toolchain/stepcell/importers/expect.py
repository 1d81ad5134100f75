"""`--expect outputs.npz`: the import against what the original framework computed.

An exporter may have written a wrong graph, which ONNX Runtime then reproduces faithfully. Recorded inputs and
outputs of the framework that trained the network tell.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepcell.errors import StepcellError
from stepcell.importers.check import TOLERANCE, difference
from stepcell.ir import Model, Source, SourceTensor, StateTensor
from stepcell.ir.model import FloatArray
from stepcell.reference.float_model import FloatRun, run_float
from stepcell.reference.source_layout import is_every_step, split_frames

Array = NDArray[Any]
Arrays = Mapping[str, Array]


def check_expected(model: Model, path: Path) -> float:
    """The worst difference between the Model's outputs and the recorded ones, relative where they exceed one.

    The file holds every input and at least one output (or final state) under the source's names, in the
    source's own layout; or `x` and `y` [N, T, ...], where there is one of each. `lengths` [N] and state
    inputs are optional.

    Raises StepcellError where something differs by more than 1e-5, or does not fit.
    """
    arrays = _read(path)
    source = model.source
    if source is None or len(model.functions) != 1:
        raise StepcellError(
            f"{path.name}: a model of several functions cannot be compared with one file.",
            "leave --expect out.",
        )
    x = {v.name: _input(path, arrays, model, k) for k, v in enumerate(model.main.inputs)}
    count, steps = next(iter(x.values())).shape[:2]
    lengths = np.asarray(arrays.get("lengths", np.full(count, steps)), np.int64)
    if lengths.shape != (count,) or lengths.min() < 1 or lengths.max() > steps:
        raise StepcellError(
            f"{path.name}: 'lengths' is no list of {count} lengths of 1 to {steps} steps.",
            "give one a sequence.",
        )
    run = run_float(model, x, lengths, initial=_initial(source, arrays, count))
    compared = [*_outputs(path, arrays, model, run, lengths), *_states(source, arrays, run)]
    if not compared:
        names = ", ".join(tensor.name for tensor in source.outputs)
        raise StepcellError(
            f"{path.name}: it holds none of the outputs {names}, and no y.",
            "record what the framework computes.",
        )
    worst, name = max(compared)
    if not worst <= TOLERANCE:
        raise StepcellError(
            f"{source.file}: the output '{name}' differs from {path.name} by {worst:.3g}; {TOLERANCE:g} is "
            "allowed (relative where it exceeds one), so the file is not the network that was recorded.",
            "the exporter has probably changed it: export with another opset or exporter, or record again.",
        )
    return worst


def _read(path: Path) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception as error:  # numpy and zipfile raise many types
        raise StepcellError(
            f"{path}: it cannot be read as .npz: {type(error).__name__}.", "write it with numpy.savez."
        ) from error


def _input(path: Path, arrays: Arrays, model: Model, k: int) -> FloatArray:
    value = model.main.inputs[k]
    tensor = model.source.inputs[k] if model.source and k < len(model.source.inputs) else None
    if tensor is not None and tensor.name in arrays and "time" in tensor.axes:
        found = from_source(tensor, arrays[tensor.name], lead=2)
    elif tensor is not None and tensor.name in arrays:
        found = arrays[tensor.name]
    elif value.name in arrays:
        found = arrays[value.name]
    elif "x" in arrays and len(model.main.inputs) == 1:
        found = arrays["x"]
    else:
        wanted = tensor.name if tensor else value.name
        raise StepcellError(f"{path.name}: it does not hold the input '{wanted}'.", "record every input.")
    if found.ndim < 2 or found[0, 0].size != value.size:
        raise StepcellError(
            f"{path.name}: the input '{value.name}' has the shape {list(found.shape)}; [N, T, "
            f"{', '.join(map(str, value.shape))}] is allowed.",
            "store sequences, each step with the input's features.",
        )
    return np.asarray(found, np.float64).reshape(*found.shape[:2], *value.shape)


def from_source(tensor: SourceTensor, found: Array, lead: int) -> FloatArray:
    """A tensor in the source's layout as [N, (T,) ...]; a missing batch axis is one sequence."""
    if found.ndim != len(tensor.axes):
        raise StepcellError(
            f"The recorded '{tensor.name}' has {found.ndim} axes; {len(tensor.axes)} are allowed "
            f"({', '.join(tensor.axes)}).",
            "record it as the model takes or returns it.",
        )
    rank = {"batch": 0, "time": 1, "inner": 2}
    moved = found.transpose(sorted(range(found.ndim), key=lambda i: (rank[tensor.axes[i]], i)))
    if "batch" not in tensor.axes:
        moved = moved[None]
    if lead == 2 and "time" not in tensor.axes:
        moved = moved[:, None]
    return np.asarray(moved, np.float64)


def _outputs(
    path: Path, arrays: Arrays, model: Model, run: FloatRun, lengths: NDArray[np.int64]
) -> list[tuple[float, str]]:
    source = model.source
    assert source is not None
    mine = run.outputs(model.main)
    compared = []
    for k, (tensor, name) in enumerate(zip(source.outputs, model.main.outputs, strict=True)):
        every_step = is_every_step(source, tensor.name)
        if tensor.name in arrays and ("time" in tensor.axes or not every_step):
            wanted = from_source(tensor, arrays[tensor.name], 2 if every_step else 1)
            wanted = np.asarray(split_frames(path.name, tensor, wanted))
        else:
            keys = [tensor.name, name, *(["y"] if k == 0 and len(source.outputs) == 1 else [])]
            key = next((key for key in keys if key in arrays), None)
            if key is None:
                continue
            wanted = np.asarray(arrays[key], np.float64)
        found = mine[name]
        lead = found.ndim - len(found.shape[2 if every_step else 1 :])
        if wanted.shape[:lead] != found.shape[:lead] or wanted.size != found.size:
            raise StepcellError(
                f"{path.name}: the recorded '{tensor.name}' has the shape {list(wanted.shape)}, the model "
                f"computes {list(found.shape)}.",
                "record inputs and outputs of the same run.",
            )
        wanted = wanted.reshape(found.shape)
        if every_step:
            valid = np.arange(found.shape[1]) < lengths[:, None]
            wanted, found = wanted[valid], found[valid]
        compared.append((difference(wanted, found), tensor.name))
    return compared


def _initial(source: Source, arrays: Arrays, count: int) -> dict[str, FloatArray]:
    """First states [N, ...] where the file holds state inputs."""
    found = {s.state: _part(s, arrays[s.tensor_in]) for s in source.states if s.tensor_in in arrays}
    return {name: np.broadcast_to(part, (count, *part.shape[1:])) for name, part in found.items()}


def _part(state: StateTensor, array: Array) -> FloatArray:
    part = np.asarray(array, np.float64)[state.key]
    moved = part[None] if state.batch_axis is None else np.moveaxis(part, state.batch_axis, 0)
    return moved.reshape(len(moved), -1)


def _states(source: Source, arrays: Arrays, run: FloatRun) -> list[tuple[float, str]]:
    """Final states that the file holds."""
    compared = []
    for state in source.states:
        if state.tensor_out in arrays and state.tensor_out is not None:
            wanted = _part(state, arrays[state.tensor_out])
            found = run.ends[state.state]
            compared.append((difference(wanted.reshape(found.shape), found), state.tensor_out))
    return compared
