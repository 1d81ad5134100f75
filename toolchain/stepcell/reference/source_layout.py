"""A source's own tensor layout: [N, T, ...] sequences into it, and its outputs back.

Shared by everything that runs a source: ONNX Runtime, and a PyTorch module on import.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepcell.errors import StepcellError
from stepcell.ir import Source, SourceTensor
from stepcell.ir.model import FloatArray

Array = NDArray[Any]
Streams = dict[str, FloatArray]
Lengths = NDArray[np.int64]
Call = Callable[[dict[str, Array], int], Mapping[str, Array]]
"""Inputs and states in the source's layout, and how many sequences -> outputs and new states by name."""

_LARGEST_BATCH = 256


def run_sequences(
    source: Source,
    x: FloatArray | Streams,
    lengths: Lengths | None,
    states: Mapping[str, FloatArray] | None,
    state_shapes: Mapping[str, Sequence[int | None]],
    call: Call,
) -> Streams:
    """The outputs of N sequences through `call`, by the source's names, in order.

    x is [N, T, ...] (or one such array per input, in order), lengths [N] (default: all T); states are
    first values by the Model's names; state_shapes the source's shapes of its state inputs, None for a
    free batch. A source that takes lengths runs ragged batches, padded with what x holds. An output of
    every step is [N, T, ...], zero beyond a sequence's length; any other [N, ...]. Inner axes of size one
    are dropped where others remain, as in the Model.
    """
    arrays = list(x.values()) if isinstance(x, dict) else [x]
    streams = dict(zip((tensor.name for tensor in source.inputs), arrays, strict=True))
    size = arrays[0].shape[:2]
    steps_of_all = (size[0], size[1] // source.frames_per_step)
    lengths = np.full(size[0], size[1]) if lengths is None else np.asarray(lengths)
    _check_lengths(source, lengths)
    results: Streams = {}
    for chosen, steps in _groups(source, lengths):
        part = {name: _of_steps(array[chosen], steps) for name, array in streams.items()}
        carried = _first_states(source, states or {}, state_shapes, len(chosen))
        carried |= _fed_lengths(source, lengths[chosen])
        for name, found in _run_group(source, part, carried, len(chosen), call).items():
            _place(results, name, found, chosen, steps_of_all, is_every_step(source, name))
    return {
        name: _cut(found, lengths // source.frames_per_step, is_every_step(source, name))
        for name, found in results.items()
    }


def axis_size(source: Source, role: str) -> tuple[bool, int | None]:
    """Whether the inputs have such an axis, and its size where the file fixes it."""
    sizes = [n for t in source.inputs for axis, n in zip(t.axes, t.shape, strict=True) if axis == role]
    return bool(sizes), next((n for n in sizes if n is not None), None)


def runs_by_step(source: Source) -> bool:
    """Whether one call of the source is one step, its states handed back to the next."""
    has_time, frozen = axis_size(source, "time")
    returned = bool(source.states) and all(state.tensor_out for state in source.states)
    return returned and (not has_time or frozen == 1)


def is_every_step(source: Source, output: str) -> bool:
    """Whether an output exists at every step, not once a sequence."""
    tensor = next(tensor for tensor in source.outputs if tensor.name == output)
    return "time" in tensor.axes or runs_by_step(source)


def is_ragged(source: Source) -> bool:
    """Whether a call of the source takes sequences of several lengths."""
    return source.lengths is not None and not runs_by_step(source)


def _check_lengths(source: Source, lengths: Lengths) -> None:
    frozen = None if runs_by_step(source) else axis_size(source, "time")[1]
    most = frozen if is_ragged(source) else None
    wrong = lengths[lengths < 1] if frozen is None else lengths[lengths != frozen]
    wrong = wrong if most is None else lengths[(lengths < 1) | (lengths > most)]
    if wrong.size:
        allowed = "at least one" if frozen is None else f"1 to {most}" if most else f"exactly {frozen}"
        raise StepcellError(
            f"{source.file}: a sequence has {wrong[0]} steps; the file runs {allowed}.",
            "export it with a free time axis (torch.onnx.export with dynamo=False and dynamic_axes).",
        )


def _groups(source: Source, lengths: Lengths) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Indices of sequences of equal length (any, if the source takes lengths), one call each; its steps."""
    has_batch, frozen = axis_size(source, "batch")
    largest = (frozen or _LARGEST_BATCH) if has_batch else 1
    if is_ragged(source):
        fixed = axis_size(source, "time")[1]
        for start in range(0, len(lengths), largest):
            chosen = np.arange(start, min(start + largest, len(lengths)))
            yield chosen, fixed or int(lengths[chosen].max())
        return
    for steps in np.unique(lengths):
        chosen = np.flatnonzero(lengths == steps)
        for start in range(0, len(chosen), largest):
            yield chosen[start : start + largest], int(steps)


def _of_steps(x: FloatArray, steps: int) -> FloatArray:
    """The first `steps` frames, zeros behind what x [N, T, ...] has."""
    missing = max(0, steps - x.shape[1])
    return np.pad(x[:, :steps], [(0, 0), (0, missing), *[(0, 0)] * (x.ndim - 2)])


def _fed_lengths(source: Source, lengths: Lengths) -> dict[str, Array]:
    """The input that takes the lengths; one step a call where one call is one step."""
    if source.lengths is None:
        return {}
    lengths = np.ones_like(lengths) if runs_by_step(source) else lengths
    frozen = axis_size(source, "batch")[1]
    return {source.lengths: np.pad(lengths, (0, max(0, (frozen or 0) - len(lengths))), "edge")}


def _cut(found: FloatArray, lengths: Lengths, every_step: bool) -> FloatArray:
    """[N, T, ...] with zeros beyond the lengths."""
    if not every_step:
        return found
    valid = np.arange(found.shape[1]) < lengths[:, None]
    return np.where(valid.reshape(*valid.shape, *[1] * (found.ndim - 2)), found, 0.0)


def _run_group(source: Source, x: Streams, carried: dict[str, Array], count: int, call: Call) -> Streams:
    """Outputs [count, steps, ...] or [count, ...] of sequences of equal length."""
    if not runs_by_step(source):
        found = call({t.name: to_source(t, x[t.name]) for t in source.inputs} | carried, count)
        return {t.name: _from_source(source, t, found[t.name], count) for t in source.outputs}
    steps = next(iter(x.values())).shape[1]
    calls = []
    for t in range(steps):
        found = call({i.name: to_source(i, x[i.name][:, t : t + 1]) for i in source.inputs} | carried, count)
        carried = carried | {s.tensor_in: found[s.tensor_out] for s in source.states if s.tensor_out}
        calls.append({t.name: _from_source(source, t, found[t.name], count) for t in source.outputs})
    return {name: np.concatenate([one[name] for one in calls], axis=1) for name in calls[0]}


def to_source(tensor: SourceTensor, x: FloatArray) -> Array:
    """[count, steps, ...] in the source's own layout; a frozen batch is filled with copies of the last."""
    frozen = dict(zip(tensor.axes, tensor.shape, strict=True)).get("batch")
    if frozen is not None and frozen > len(x):
        x = np.concatenate([x, np.repeat(x[-1:], frozen - len(x), axis=0)])
    roles = ["batch", "time", *["inner"] * (x.ndim - 2)]
    for role in ("time", "batch"):
        if role not in tensor.axes:
            x, roles = x.squeeze(roles.index(role)), [r for r in roles if r != role]
    inner = [i for i, role in enumerate(roles) if role == "inner"]
    return x.transpose([inner.pop(0) if axis == "inner" else roles.index(axis) for axis in tensor.axes])


def _from_source(source: Source, tensor: SourceTensor, found: Array, count: int) -> FloatArray:
    """The source's tensor as [count, (steps,) inner...]."""
    if found.ndim != len(tensor.axes):
        raise StepcellError(
            f"{source.file}: the output '{tensor.name}' has {found.ndim} axes, not {len(tensor.axes)}.",
            "check the file with onnx.checker.",
        )
    rank = {"batch": 0, "time": 1, "inner": 2}
    found = found.transpose(sorted(range(found.ndim), key=lambda i: (rank[tensor.axes[i]], i)))
    if "batch" not in tensor.axes:
        found = found[None]
    every_step = is_every_step(source, tensor.name)
    if every_step and "time" not in tensor.axes:
        found = found[:, None]
    found = split_frames(source.file, tensor, found)
    return np.asarray(_drop_ones(found, 2 if every_step else 1)[:count], np.float64)


def split_frames(file: str, tensor: SourceTensor, found: Array) -> Array:
    """[N, T * s, ...] as [N, T, s, ...] for a tensor that has s frames a step, s > 1; any other as it is."""
    s = tensor.frames_per_step
    if s == 1:
        return found
    if found.shape[1] % s:
        raise StepcellError(
            f"{file}: '{tensor.name}' has {found.shape[1]} frames, {s} for every step.",
            "give every step whole frames.",
        )
    return found.reshape(found.shape[0], -1, s, *found.shape[2:])


def _drop_ones(array: Array, lead: int) -> Array:
    """Drop inner axes of size one, but keep one inner axis if there was any."""
    inner = array.shape[lead:]
    kept = [n for n in inner if n != 1] or list(inner[:1])
    return array.reshape(*array.shape[:lead], *kept)


def _first_states(
    source: Source, states: Mapping[str, FloatArray], shapes: Mapping[str, Sequence[int | None]], count: int
) -> dict[str, Array]:
    """Every state input, filled with its states' first values."""
    frozen = axis_size(source, "batch")[1]
    feeds: dict[str, Array] = {}
    for state in (*source.states, *source.memories):
        if state.tensor_in not in feeds:
            feeds[state.tensor_in] = np.zeros([n or frozen or count for n in shapes[state.tensor_in]])
        if state.state in states:
            part = feeds[state.tensor_in][state.key]
            if state.batch_axis is not None:
                part = np.moveaxis(part, state.batch_axis, 0)
            shape = part.shape if state.batch_axis is None else part.shape[1:]
            part[...] = states[state.state].reshape(shape)
    return feeds


def _place(
    results: Streams,
    name: str,
    found: FloatArray,
    chosen: NDArray[np.int64],
    size: tuple[int, ...],
    every_step: bool,
) -> None:
    if name not in results:
        shape = (*size, *found.shape[2:]) if every_step else (size[0], *found.shape[1:])
        results[name] = np.zeros(shape)
    if every_step:
        steps = min(size[1], found.shape[1])
        results[name][chosen, :steps] = found[:, :steps]
    else:
        results[name][chosen] = found


def first_line(error: Exception) -> str:
    """What another package complains about, short enough for one sentence."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
