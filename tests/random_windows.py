"""Layers over windows of a random model: convolutions, padding, frames that a state keeps."""

from typing import Any

import numpy as np

from stepcell.ir.ops import Activate, Concat, Conv, Dense, Take, Value
from stepcell.ir.window import Window, window_of

WINDOWS = ("conv_1d", "conv_2d", "depthwise", "vectors", "frames", "padded")


def windowed(build: Any, kind: str, x: Value) -> Value:
    """What a layer of this kind makes of x, flat."""
    match kind:
        case "conv_1d":
            return _conv(build, x, 1, depthwise=False)
        case "conv_2d":
            return _conv(build, x, 2, depthwise=False)
        case "depthwise":
            return _conv(build, x, int(build.rng.integers(1, 3)), depthwise=True)
        case "vectors":
            count, width, rows = (int(n) for n in build.rng.integers(1, 9, 3))
            vectors = _taken(build, x, (count + 1, width))
            y = build.value("dense", count + 1, rows)
            dense: Value = build.add(Dense(vectors.name, y, *_weights(build, rows, width)))
            return dense
        case "frames":
            return _conv(build, _frames(build, x), 1, depthwise=bool(build.rng.random() < 0.3))
        case _:
            return _padded(build, x)


def _conv(build: Any, x: Value, rank: int, depthwise: bool) -> Value:
    rng = build.rng
    kernel = tuple(int(n) for n in rng.integers(1, 4, rank))
    dilations = tuple(int(n) for n in rng.integers(1, 3, rank))
    spatial = tuple(int((k - 1) * d + rng.integers(1, 7)) for k, d in zip(kernel, dilations, strict=True))
    channels = int(rng.choice([1, 2, 3, 4, 8]))
    rows = channels if depthwise else int(rng.integers(1, 10))
    source = _taken(build, x, (*spatial, channels))
    pads = tuple((int(a), int(b)) for a, b in rng.integers(0, 3, (rank, 2)))
    strides = tuple(int(n) for n in rng.integers(1, 4, rank))
    w, b = _weights(build, rows, *kernel, 1 if depthwise else channels)
    groups = channels if depthwise else 1
    draft = Conv(source.name, source, w, b, strides, dilations, pads, groups)
    window: Window = window_of(draft, source.shape, build.weights[w].shape)
    y = build.value("conv", *window.positions, rows)
    made = build.add(Conv(source.name, y, w, b, strides, dilations, pads, groups))
    if rng.random() < 0.5:
        made = build.add(Activate(made.name, build.value("relu", *made.shape), "relu"))
    flat: Value = build.add(Take(made.name, build.value("flat", made.size), tuple(range(made.size))))
    return flat


def _weights(build: Any, rows: int, *rest: int) -> tuple[str, str]:
    """Weights [rows, *rest] in the model's style, gentle enough for three layers in a row."""
    w, b = build.matrix("window", 1, rows, int(np.prod(rest)))
    build._limit(w, 2.0)
    build.masks.pop(w, None)
    build.weights[w] = build.weights[w].reshape(rows, *rest)
    return w, b


def _taken(build: Any, x: Value, shape: tuple[int, ...]) -> Value:
    """Elements of x in this shape: neighbours, any, or with zeros between."""
    size = int(np.prod(shape))
    style = build.rng.integers(3)
    indices = np.arange(size) % x.size if style == 0 else build.rng.integers(0, x.size, size)
    if style == 2:
        indices = np.where(build.rng.random(size) < 0.2, -1, indices)
    taken = Take(x.name, build.value("take", *shape), tuple(int(i) for i in indices))
    made: Value = build.add(taken)
    return made


def _frames(build: Any, x: Value) -> Value:
    """The frame with some earlier ones before it."""
    build.made += 1
    history, state = int(build.rng.integers(1, 4)), f"frames{build.made}"
    joined = build.add(Concat((state, x.name), build.value("concat", history + 1, x.size)))
    newest = range(x.size, (history + 1) * x.size)
    update = build.add(Take(joined.name, build.value("newest", history * x.size), tuple(newest)))
    build.state(state, (history * x.size,), update.name)
    return Value(joined.name, joined.shape)


def _padded(build: Any, x: Value) -> Value:
    """Zeros before, after and in the middle."""
    middle = int(build.rng.integers(0, x.size + 1))
    zeros = [-1] * int(build.rng.integers(1, 4))
    indices = (*zeros, *range(middle), *zeros, *range(middle, x.size), *zeros)
    made: Value = build.add(Take(x.name, build.value("take", len(indices)), indices))
    return made
