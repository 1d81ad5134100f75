"""Runs an exported integer model in ONNX Runtime: the independent judge of the integer reference."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from stepcell.ir.qmodel import IntArray, QModel
from stepcell.reference.integer_data import Feed

_TYPES: dict[str, Any] = {"tensor(int8)": np.int8, "tensor(int16)": np.int16, "tensor(int32)": np.int32}

BYTES_AT_ONCE = 64 << 20
"""Sequences run in chunks whose recorded steps stay about this small."""


Outputs = tuple[dict[str, IntArray], dict[str, IntArray]]
"""(outputs, states) by name, laid out as in `IntegerRun`."""


def run_functions_in_onnx_runtime(
    qmodel: QModel, models: Mapping[str, onnx.ModelProto | Path | str], feeds: Mapping[str, Feed]
) -> dict[str, Outputs]:
    """Run the functions in order, by name, each from the states that the one before left.

    models: what `export_integer` made of each function, or its file.
    """
    runs: dict[str, Outputs] = {}
    count = len(next(iter(feeds.values())).lengths)
    states = {s.value.name: np.repeat(s.initial[None], count, axis=0) for s in qmodel.states}
    for function in qmodel.functions:
        feed = feeds[function.name]
        initial = states if len(qmodel.functions) > 1 else None
        runs[function.name] = run_integer_in_onnx_runtime(
            models[function.name], feed.inputs, feed.lengths, initial
        )
        states = {name: array[:, -1] for name, array in runs[function.name][1].items()}
    return runs


def run_integer_in_onnx_runtime(
    model: onnx.ModelProto | Path | str,
    x: IntArray | Mapping[str, IntArray],
    lengths: NDArray[np.int64] | None = None,
    initial: Mapping[str, IntArray] | None = None,
) -> Outputs:
    """Run one function over N sequences of T quantized steps.

    model: what `export_integer` made, or its file. x: integers [N, T, ...] (or one such array per input);
    initial: states [N, ...] that the file takes, by name. Beyond a sequence's length the last valid step is
    repeated. One thread, so that it also suits small machines.
    """
    session = _session(model)
    over_sequences = session.get_modelmeta().custom_metadata_map.get("runs_over") == "sequences"
    feeds = _feeds(session, x, initial or {})
    first = next(iter(feeds.values()))
    lengths = np.full(len(first), first.shape[1]) if lengths is None else np.asarray(lengths)
    steps = first.shape[1]
    parts = []
    for chosen, most in _groups(feeds, session.get_outputs(), lengths, steps, over_sequences):
        part = {name: a[chosen] if _is_state(name) else a[chosen, :most] for name, a in feeds.items()}
        parts.append((chosen, _run(session, part, steps, over_sequences)))
    order = np.argsort(np.concatenate([chosen for chosen, _ in parts]))
    found = {name: np.concatenate([part[name] for _, part in parts])[order] for name in parts[0][1]}
    held = {name: _held(array, lengths) for name, array in found.items()}
    states = {name.removeprefix("states/"): a for name, a in held.items() if name.startswith("states/")}
    return {name: a for name, a in held.items() if not name.startswith("states/")}, states


def _is_state(name: str) -> bool:
    return name.startswith("initial/")


def _feeds(
    session: Any, x: IntArray | Mapping[str, IntArray], initial: Mapping[str, IntArray]
) -> dict[str, NDArray[Any]]:
    """Every input of the file in its own type."""
    inputs = session.get_inputs()
    given = dict(x) if isinstance(x, Mapping) else {inputs[0].name: x}
    given |= {f"initial/{name}": array for name, array in initial.items()}
    feeds = {}
    for feed in inputs:
        feeds[feed.name] = np.asarray(given[feed.name], _TYPES[feed.type])
        if not np.array_equal(feeds[feed.name], given[feed.name]):
            raise ValueError(f"{feed.name} does not fit {feed.type}")
    return feeds


def _groups(
    feeds: Mapping[str, NDArray[Any]],
    outputs: list[Any],
    lengths: NDArray[np.int64],
    steps: int,
    over_sequences: bool,
) -> Iterator[tuple[NDArray[np.int64], int]]:
    """(sequences, steps) of each call: of one length, where a stage runs from a sequence's end."""
    widths = [array.shape[2:] for name, array in feeds.items() if not _is_state(name)]
    widths += [tuple(output.shape[2:]) for output in outputs if len(output.shape) > 1]
    per_sequence = 4 * steps * sum(int(np.prod(shape)) for shape in widths)
    at_once = max(1, BYTES_AT_ONCE // max(1, per_sequence))
    for most in np.unique(lengths) if over_sequences else [steps]:
        members = np.flatnonzero(lengths == most) if over_sequences else np.arange(len(lengths))
        for start in range(0, len(members), at_once):
            yield members[start : start + at_once], int(most)


def _run(
    session: Any, feeds: dict[str, NDArray[Any]], steps: int, over_sequences: bool
) -> dict[str, IntArray]:
    """Outputs and `states/NAME`: [N, T, ...], the last step repeated; or [N, 1, ...], once a sequence."""
    outputs = [o for o in session.get_outputs() if over_sequences or not o.name.startswith("final/")]
    found: dict[str, IntArray] = {}
    for output, array in zip(outputs, session.run([o.name for o in outputs], feeds), strict=True):
        once = output.shape[1:2] != ["time"]
        label = output.name.replace("final/", "states/", 1) if over_sequences else output.name
        found[label] = (array[:, None] if once else _padded(array, steps)).astype(np.int64)
    return found


def _padded(array: NDArray[Any], steps: int) -> NDArray[Any]:
    missing = steps - array.shape[1]
    return np.concatenate([array, np.repeat(array[:, -1:], missing, axis=1)], axis=1) if missing else array


def _session(model: onnx.ModelProto | Path | str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _held(array: IntArray, lengths: NDArray[np.int64]) -> IntArray:
    """[N, T, ...] with every step beyond a sequence's length replaced by its last valid one."""
    count, steps = array.shape[:2]
    at = np.minimum(np.arange(steps), lengths[:, None] - 1)
    return array[np.arange(count)[:, None], at]
