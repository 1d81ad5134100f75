"""Runs what `export_float` made in ONNX Runtime, over ragged sequences and all functions of a model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from stepcell.ir.model import FloatArray, Function, Model
from stepcell.ir.sequences import Sequences, by_function
from stepcell.reference.onnx_runtime import open_session

_SEQUENCES_AT_ONCE = 256
_TYPES: dict[str, Any] = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
Protos = Mapping[str, onnx.ModelProto | bytes | Path]


def run_float_in_onnx_runtime(
    model: Model, files: Protos, data: Sequences
) -> dict[str, dict[str, FloatArray]]:
    """Outputs by function and name, as `FloatRun.outputs` has them, zero beyond a sequence's length.

    files: what `export_float` made of each function. Functions run in order, each from the states that the
    one before left; sequences of equal length share a batch.
    """
    count = len(data)
    states = {s.name: np.repeat(s.initial[None], count, axis=0) for s in model.states}
    found: dict[str, dict[str, FloatArray]] = {}
    for function, fed in zip(model.functions, by_function(model.functions, data).values(), strict=True):
        streams = fed.feed([value.name for value in function.inputs])
        session = _open(f"{model.name} ({function.name})", files[function.name])
        found[function.name], states = _run(session, function, streams, fed.lengths, states)
    return found


def _open(name: str, file: onnx.ModelProto | bytes | Path) -> Any:
    return open_session(name, file.SerializeToString() if isinstance(file, onnx.ModelProto) else file)


def _run(
    session: Any,
    function: Function,
    streams: Mapping[str, NDArray[Any]],
    lengths: NDArray[np.int64],
    states: dict[str, FloatArray],
) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """(outputs, states after it) of all sequences."""
    steps = next(iter(streams.values())).shape[1] // function.frames_per_step
    outputs: dict[str, FloatArray] = {}
    ends = {name: array.copy() for name, array in states.items()}
    for frames in np.unique(lengths):
        members = np.flatnonzero(lengths == frames)
        for start in range(0, len(members), _SEQUENCES_AT_ONCE):
            chosen = members[start : start + _SEQUENCES_AT_ONCE]
            feeds = {name: array[chosen, :frames] for name, array in streams.items()}
            feeds |= {f"initial/{name}": array[chosen] for name, array in states.items()}
            for output, array in _call(session, feeds).items():
                if output.startswith("final/"):
                    ends[output.removeprefix("final/")][chosen] = array
                else:
                    _place(outputs, function, output, array, chosen, (len(lengths), steps))
    return {name: outputs[name] for name in function.outputs}, ends


def _call(session: Any, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    typed = {i.name: np.ascontiguousarray(feeds[i.name], _TYPES[i.type]) for i in session.get_inputs()}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, typed), strict=True))


def _place(
    outputs: dict[str, FloatArray],
    function: Function,
    name: str,
    array: NDArray[Any],
    chosen: NDArray[np.int64],
    size: tuple[int, int],
) -> None:
    if function.finish is not None and name in function.finish.outputs:
        outputs.setdefault(name, np.zeros((size[0], *array.shape[1:])))[chosen] = array
    else:
        outputs.setdefault(name, np.zeros((*size, *array.shape[2:])))[chosen, : array.shape[1]] = array
