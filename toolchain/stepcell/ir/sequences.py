"""Sequences: the data that calibration, training and validation read, and its .npz file."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from stepcell.errors import StepcellError
from stepcell.ir.model import Function
from stepcell.ir.ops import Value
from stepcell.ir.qmodel import QFunction

Array = NDArray[Any]
Lengths = NDArray[np.int64]

_KEYS = "x [N, T, ...], optional lengths [N], optional y: int [N], int [N, T] or float [N, T, O]"


@dataclass(frozen=True, eq=False)
class Sequences:
    """N independent sequences of up to T steps, each from the initial state.

    x [N, T, ...] is the first input (floats, or integers for tokens), zero past each length;
    lengths [N] in frames; y: int [N] or [N, T] (classes), or float [N, ...] (targets), or None;
    more: further inputs by name, each [N, T, ...]; then: what the functions after the model's first are
    fed, by name, N sequences each, states carried on; frames_per_step: frames that one step takes in, so
    that y [N, T / frames_per_step] is one number a step.
    """

    x: Array
    lengths: Lengths
    y: Array | None = None
    more: Mapping[str, Array] = field(default_factory=dict)
    then: "Mapping[str, Sequences]" = field(default_factory=dict)
    frames_per_step: int = 1

    def __len__(self) -> int:
        return len(self.x)

    def feed(self, names: Sequence[str]) -> dict[str, Array]:
        """The arrays by input name: x under the first name, the others under their own."""
        return {names[0]: self.x, **self.more}

    def take(self, indices: NDArray[np.integer[Any]]) -> "Sequences":
        """The sequences at `indices`, in that order, padding beyond the longest of them cut off."""
        lengths = self.lengths[indices]
        frames = int(lengths.max(initial=1))
        y = None if self.y is None else self.y[indices]
        if y is not None and self.y_per_step:
            y = y[:, : frames // self.frames_per_step]
        more = {name: array[indices, :frames] for name, array in self.more.items()}
        then = {name: data.take(indices) for name, data in self.then.items()}
        return Sequences(self.x[indices, :frames], lengths, y, more, then, self.frames_per_step)

    @property
    def y_per_step(self) -> bool:
        """Whether y has a time axis: int [N, T], or float [N, T, O]."""
        if self.y is None:
            return False
        integer, steps = self.y.dtype.kind in "iu", self.x.shape[1] // self.frames_per_step
        return bool(self.y.ndim == (2 if integer else 3) and self.y.shape[1] == steps)

    def split(self, fraction: float, seed: int) -> tuple["Sequences", "Sequences"]:
        """Cut (rest, held out) at random; with a class a sequence, the same `fraction` of every class."""
        random = np.random.default_rng(seed)
        by_class = self.y is not None and self.y.ndim == 1 and self.y.dtype.kind in "iu"
        groups = self.y if by_class and self.y is not None else np.zeros(len(self), np.int64)
        held_out = np.zeros(len(self), np.bool_)
        for group in np.unique(groups):
            members = random.permutation(np.flatnonzero(groups == group))
            held_out[members[: round(fraction * len(members))]] = True
        return self.take(np.flatnonzero(~held_out)), self.take(np.flatnonzero(held_out))


def frame_values(function: Function | QFunction) -> tuple[Value, ...]:
    """A function's inputs as data holds them: without the leading axis of the frames of one step."""
    lead = 0 if function.frames_per_step == 1 else 1
    return tuple(Value(v.name, v.shape[lead:], v.dtype) for v in function.inputs)


def by_function(functions: Sequence[Function] | Sequence[QFunction], data: Sequences) -> dict[str, Sequences]:
    """What each function of a model is fed, in order: the first the plain data, the others `then`'s."""
    first, *others = (function.name for function in functions)
    missing = next((name for name in others if name not in data.then), None)
    if missing is not None:
        raise StepcellError(
            f"the data holds nothing for the function '{missing}'.",
            f"add the array {missing}.x [N, T, ...] (several inputs: {missing}.INPUT) to it.",
        )
    return {first: data} | {name: data.then[name] for name in others}


def in_steps(
    function: Function | QFunction, streams: Mapping[str, Array], lengths: NDArray[Any]
) -> tuple[dict[str, Array], Lengths]:
    """Frames [N, T, ...] as steps [N, T / s, s, ...], s = frames_per_step, and lengths in steps.

    Raises StepcellError where T or a length is no multiple of s.
    """
    s = function.frames_per_step
    lengths = np.asarray(lengths, np.int64)
    if s == 1:
        return dict(streams), lengths
    frames = [*lengths, *(array.shape[1] for array in streams.values())]
    wrong = next((n for n in frames if n % s), None)
    if wrong is not None:
        raise StepcellError(
            f"a sequence has {wrong} frames, and one step of '{function.name}' takes {s}.",
            f"cut or pad the sequences to a multiple of {s} frames.",
        )
    steps = {name: x.reshape(len(x), x.shape[1] // s, s, *x.shape[2:]) for name, x in streams.items()}
    return steps, lengths // s


def check_tokens(model: str, streams: Mapping[str, Array], rows: Mapping[str, int]) -> None:
    """StepcellError for tokens beyond the table that they index; rows: of each input's table."""
    for name, count in rows.items():
        tokens = streams.get(name, np.zeros(1, np.int64))
        if tokens.min(initial=0) < 0 or tokens.max(initial=0) >= count:
            raise StepcellError(
                f"{model}: the tokens of '{name}' reach from {tokens.min()} to {tokens.max()}, its embedding "
                f"has 0 to {count - 1}.",
                "number the tokens as in training.",
            )


def load_sequences_for(path: Path, functions: Sequence[Function] | Sequence[QFunction]) -> Sequences:
    """The data file of a model: plain keys feed its first function, FUNCTION.KEY the others.

    Raises StepcellError as `load_sequences` does, and for functions that are not fed equally many sequences.
    """
    first, *others = functions
    data = load_sequences(path, frame_values(first), first.frames_per_step)
    arrays = _read(path) if others else {}
    then = {}
    for function in others:
        name = function.name
        own = {key.removeprefix(f"{name}."): a for key, a in arrays.items() if key.startswith(f"{name}.")}
        then[name] = _check(f"{path}, function {name}", own, frame_values(function), function.frames_per_step)
        if len(then[name]) != len(data):
            what = f"it feeds {len(data)} sequences to {first.name} and {len(then[name])} to {name}"
            _refuse(str(path), what, "give as many of each; the functions run one after the other.")
    return replace(data, then=then)


def load_sequences(path: Path, inputs: Sequence[Value] = (), frames_per_step: int = 1) -> Sequences:
    """Read and check a data file for a model of one function.

    `inputs` are the model's (`frame_values`): each array must be [N, T, *shape] of its input. One input is
    the key `x` (or its own name), several are one key each. Frames past a sequence's length become zero.

    Raises StepcellError for a missing or unreadable file, a missing key, a wrong shape, a length out of
    1..T, NaN or infinite numbers, and labels that fit no sequence.
    """
    return _check(str(path), _read(path), inputs, frames_per_step)


def _check(path: str, arrays: dict[str, Array], inputs: Sequence[Value], frames_per_step: int) -> Sequences:
    named = _inputs(path, arrays, inputs)
    first, *_ = named
    count, frames = named[first].shape[:2]
    lengths = _lengths(path, arrays.get("lengths"), count, frames)
    clean = {name: _clean(path, name, array, lengths) for name, array in named.items()}
    sequences = Sequences(clean.pop(first), lengths, more=clean, frames_per_step=frames_per_step)
    return sequences if "y" not in arrays else replace(sequences, y=_labels(path, arrays["y"], sequences))


def _read(path: Path) -> dict[str, Array]:
    if not path.is_file():
        raise StepcellError(f"{path}: there is no such file.", f"write one with numpy.savez: {_KEYS}.")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (AttributeError, TypeError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise StepcellError(
            f"{path}: this is no readable .npz file ({error}).", f"it holds {_KEYS}."
        ) from error


def _inputs(path: str, arrays: dict[str, Array], inputs: Sequence[Value]) -> dict[str, Array]:
    values = inputs or (Value("x", ()),)
    keys = {v.name: "x" if len(values) == 1 and v.name not in arrays else v.name for v in values}
    named = {name: _input(path, arrays, key) for name, key in keys.items()}
    for value in inputs:
        _check_shape(path, keys[value.name], named[value.name], value)
    shapes = {array.shape[:2] for array in named.values()}
    if len(shapes) > 1:
        _refuse(path, f"its inputs differ in [N, T]: {sorted(shapes)}", "pad them to the same steps.")
    return named


def _input(path: str, arrays: dict[str, Array], key: str) -> Array:
    if key not in arrays:
        _refuse(path, f"it has no array '{key}', only {', '.join(arrays) or 'none'}", f"it holds {_KEYS}.")
    array = arrays[key]
    if array.ndim < 2 or array.dtype.kind not in "fiu":
        _refuse(
            path,
            f"'{key}' is {array.dtype} {list(array.shape)}, not numbers [N, T, ...]",
            f"it holds {_KEYS}.",
        )
    if 0 in array.shape:
        _refuse(path, f"'{key}' {list(array.shape)} is empty", "give at least one sequence of one step.")
    return array


def _check_shape(path: str, key: str, array: Array, value: Value) -> None:
    expected = ", ".join(["N", "T", *map(str, value.shape)])
    if array.shape[2:] != value.shape:
        _refuse(
            path,
            f"'{key}' is {list(array.shape)}, the model's input '{value.name}' is [{expected}]",
            "batch and time come first, then the shape of one step.",
        )
    if value.dtype == "token" and array.dtype.kind not in "iu":
        _refuse(
            path,
            f"'{key}' holds {array.dtype}, the model's input '{value.name}' is integer tokens",
            "save the tokens as int64.",
        )


def _lengths(path: str, lengths: Array | None, count: int, steps: int) -> Lengths:
    if lengths is None:
        return np.full(count, steps, np.int64)
    if lengths.shape != (count,) or lengths.dtype.kind not in "iu":
        _refuse(
            path,
            f"'lengths' is {lengths.dtype} {list(lengths.shape)}, not integers [{count}]",
            "give one length a sequence.",
        )
    if lengths.min() < 1 or lengths.max() > steps:
        _refuse(
            path,
            f"'lengths' holds {lengths.min()} to {lengths.max()}, allowed are 1 to {steps}",
            "a length counts the valid steps of a sequence.",
        )
    return lengths.astype(np.int64)


def _clean(path: str, key: str, array: Array, lengths: Lengths) -> Array:
    """Padding may hold anything in the file, and is zero afterwards."""
    valid = np.arange(array.shape[1]) < lengths[:, None]
    cleaned = np.where(valid.reshape(*valid.shape, *[1] * (array.ndim - 2)), array, array.dtype.type(0))
    bad = cleaned.size - int(np.isfinite(cleaned).sum())
    if bad:
        _refuse(path, f"'{key}' holds {bad} NaN or infinite numbers", "clean the data before it is used.")
    return np.asarray(cleaned, array.dtype)


def _labels(path: str, y: Array, data: Sequences) -> Array:
    count, steps = data.x.shape[0], data.x.shape[1] // data.frames_per_step
    if y.dtype.kind not in "biuf" or y.ndim < 1 or y.shape[0] != count:
        _refuse(path, f"'y' is {y.dtype} {list(y.shape)} for {count} sequences", f"it holds {_KEYS}.")
    y = y if y.dtype.kind == "f" else y.astype(np.int64)
    if y.dtype.kind == "i" and y.shape not in ((count,), (count, steps)):
        _refuse(
            path,
            f"'y' has the shape {list(y.shape)}, allowed are [{count}] and [{count}, {steps}]",
            "give one class a sequence or one a step.",
        )
    if replace(data, y=y).y_per_step:
        y = _clean(path, "y", y, data.lengths // data.frames_per_step)
    if not np.isfinite(y).all() or (y.dtype.kind == "i" and y.min() < 0):
        _refuse(path, "'y' holds negative classes or NaN", "classes count from 0.")
    return y


def _refuse(path: str, what: str, hint: str) -> NoReturn:
    raise StepcellError(f"{path}: {what}.", hint)
