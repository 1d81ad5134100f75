"""Runs an exported integer model in ONNX Runtime: the independent judge of the integer reference."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from stepcell.ir.qmodel import IntArray

BYTES_AT_ONCE = 64 << 20
"""Sequences run in chunks whose recorded steps stay about this small."""


def run_integer_in_onnx_runtime(
    model: onnx.ModelProto | Path | str, x: IntArray, lengths: NDArray[np.int64] | None = None
) -> tuple[IntArray, dict[str, IntArray]]:
    """(outputs [N, T, ...], states by name, each [N, T, ...]), laid out as in `IntegerRun`.

    model: what `export_integer` made, or its file. x [N, T, ...]: quantized frames. Beyond a sequence's
    length the last valid step is repeated. One thread, so that it also suits small machines.
    """
    session = _session(model)
    (feed,) = session.get_inputs()
    frames = np.asarray(x, np.int8 if feed.type == "tensor(int8)" else np.int16)
    if not np.array_equal(frames, x):
        raise ValueError(f"x does not fit {feed.type}")
    outputs, *states = [o for o in session.get_outputs() if not o.name.startswith("final/")]
    names = [outputs.name, *(s.name for s in states)]
    chunks = [session.run(names, {feed.name: part}) for part in _parts(frames, [outputs, *states])]
    arrays = [np.concatenate(parts).astype(np.int64) for parts in zip(*chunks, strict=True)]
    if lengths is not None:
        arrays = [_held(array, np.asarray(lengths)) for array in arrays]
    return arrays[0], dict(zip((s.name.removeprefix("states/") for s in states), arrays[1:], strict=True))


def _session(model: onnx.ModelProto | Path | str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _parts(frames: NDArray[Any], outputs: list[Any]) -> list[NDArray[Any]]:
    """`frames` cut along its first axis."""
    widths = [frames.shape[2:], *(output.shape[2:] for output in outputs)]
    per_sequence = 4 * frames.shape[1] * sum(int(np.prod(shape)) for shape in widths)
    at_once = max(1, BYTES_AT_ONCE // max(1, per_sequence))
    return [frames[start : start + at_once] for start in range(0, len(frames), at_once)]


def _held(array: IntArray, lengths: NDArray[np.int64]) -> IntArray:
    """[N, T, ...] with every step beyond a sequence's length replaced by its last valid one."""
    count, steps = array.shape[:2]
    at = np.minimum(np.arange(steps), lengths[:, None] - 1)
    return array[np.arange(count)[:, None], at]
