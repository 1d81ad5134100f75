"""Running a source or an exported ONNX file in ONNX Runtime over a whole data set.

Sequences of equal length share a batch where the file leaves the batch axis free. A file that takes
its state and runs one step a call is called once a step, its states handed back.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from stepcell.errors import StepcellError
from stepcell.ir import Source
from stepcell.ir.model import FloatArray
from stepcell.reference.onnx_rewrites import as_runtime_runs_it
from stepcell.reference.source_layout import Array, Lengths, Streams, first_line, run_sequences

_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}


def open_session(file: str, model: bytes | Path | str) -> ort.InferenceSession:
    """A single-threaded session; StepcellError if ONNX Runtime does not take the file."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        content = model if isinstance(model, bytes) else str(model)
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises many types
        raise StepcellError(
            f"{file}: ONNX Runtime does not load it: {first_line(error)}",
            "check the file with onnx.checker.",
        ) from error


def _prepared(file: str, model: bytes | Path | str) -> bytes:
    """The file as ONNX Runtime runs it, without the shapes that it states beyond its inputs'.

    PyTorch's newer exporter states the traced number of steps there even where time is free, and ONNX
    Runtime's optimizer believes it.
    """
    try:
        proto = onnx.load_from_string(model) if isinstance(model, bytes) else onnx.load(str(model))
    except Exception as error:  # onnx and protobuf raise many types
        where = file if isinstance(model, bytes) else str(model)
        raise StepcellError(
            f"{where}: ONNX does not read it: {first_line(error)}", "check the file with onnx.checker."
        ) from error
    del proto.graph.value_info[:]
    for output in proto.graph.output:
        output.type.tensor_type.ClearField("shape")
    as_runtime_runs_it(proto.graph)
    content: bytes = proto.SerializeToString()
    return content


def run_source(
    path_or_bytes: bytes | Path | str,
    source: Source,
    x: FloatArray | Streams,
    lengths: Lengths | None = None,
    states: Mapping[str, FloatArray] | None = None,
) -> Streams:
    """The source's outputs over N sequences, by name, in order: [N, T, ...] or [N, ...].

    x is [N, T, ...] (or one such array per input), lengths [N] (default: all T). states starts the
    sequences elsewhere than at zero. See `run_sequences` for the layout of the result.

    Raises StepcellError for lengths that the file cannot run, or if ONNX Runtime fails.
    """
    session = open_session(source.file, _prepared(source.file, path_or_bytes))
    inputs = {found.name: found for found in session.get_inputs()}
    types = {name: _TYPES[found.type] for name, found in inputs.items()}
    shapes = {name: _sizes(found) for name, found in inputs.items()}
    bound = {n: np.full([d or 1 for d in shapes[n]], v, types[n]) for n, v in source.bound}
    names = [t.name for t in source.outputs] + [s.tensor_out for s in source.states if s.tensor_out]

    def call(feeds: dict[str, Array], count: int) -> dict[str, Array]:
        del count
        typed = {name: np.ascontiguousarray(array, types[name]) for name, array in feeds.items()}
        return _run(session, source.file, list(dict.fromkeys(names)), typed | bound)

    return run_sequences(source, x, lengths, states, shapes, call)


def _run(
    session: ort.InferenceSession, file: str, names: list[str], feeds: dict[str, Array]
) -> dict[str, Array]:
    try:
        return dict(zip(names, session.run(names, feeds), strict=True))
    except Exception as error:  # onnxruntime raises many types
        raise StepcellError(
            f"{file}: ONNX Runtime does not run it: {first_line(error)}", "check the file with onnx.checker."
        ) from error


def _sizes(found: Any) -> list[int | None]:
    """A session input's shape, None where it is free."""
    return [n if isinstance(n, int) and n > 0 else None for n in found.shape]
