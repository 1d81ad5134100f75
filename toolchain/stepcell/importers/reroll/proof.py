"""The proof of a rewritten Model: it and the one before run on random inputs, and must agree."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from stepcell.ir import Model
from stepcell.ir.model import FloatArray
from stepcell.reference.float_model import run_float

_TOLERANCE = 1e-9
_SEQUENCES, _STEPS = 4, 5


def prove(before: Model, after: Model, names: Mapping[str, str]) -> None:
    """ValueError unless both compute the same outputs and states; `names` gives states their new names."""
    random = np.random.default_rng(0)
    start = {s.name: _start(s.initial, s.dtype, random) for s in before.states}
    started = (
        _started(before, start),
        _started(after, {names.get(name, name): array for name, array in start.items()}),
    )
    for old, new in zip(before.functions, after.functions, strict=True):
        frames = old.stages[0].frames_per_step if old.stages else 1
        x = {v.name: random.standard_normal((_SEQUENCES, _STEPS * frames, *v.shape)) for v in old.inputs}
        if any(value.dtype == "token" for value in old.inputs):
            x |= {v.name: np.zeros((_SEQUENCES, _STEPS, *v.shape)) for v in old.inputs if v.dtype == "token"}
        runs = [run_float(m, x, function=f.name) for m, f in zip(started, (old, new), strict=True)]
        found = [run.outputs(f) for run, f in zip(runs, (old, new), strict=True)]
        for a, b in zip(old.outputs, new.outputs, strict=True):
            _agree(found[0][a], found[1][b], a)
        for state in before.states:
            _agree(runs[0].ends[state.name], runs[1].ends[names.get(state.name, state.name)], state.name)


def _start(initial: FloatArray, dtype: str, random: np.random.Generator) -> FloatArray:
    return initial if dtype == "token" else random.uniform(-0.9, 0.9, initial.shape)


def _started(model: Model, start: Mapping[str, FloatArray]) -> Model:
    return replace(model, states=tuple(replace(s, initial=start[s.name]) for s in model.states))


def _agree(a: FloatArray, b: FloatArray, name: str) -> None:
    worst = float(np.max(np.abs(a - b.reshape(a.shape)) / np.maximum(1.0, np.abs(a)), initial=0.0))
    if not worst <= _TOLERANCE:
        raise ValueError(f"re-rolling changed {name} by {worst:.3g}")


def computes_the_same(whole: Model, rolled: Model) -> bool:
    """Whether one call of a Model without states, and a step over time, make the same of random sequences."""
    random = np.random.default_rng(0)
    axes = {
        v.name: next(k for k in range(len(v.shape)) if v.shape[:k] + v.shape[k + 1 :] == r.shape)
        for v, r in zip(whole.main.inputs, rolled.main.inputs, strict=True)
    }
    x = {v.name: random.standard_normal((4, 1, *v.shape)) for v in whole.main.inputs}
    frames = {name: np.moveaxis(array[:, 0], axes[name] + 1, 1) for name, array in x.items()}
    wanted = run_float(whole, x).outputs(whole.main)
    found = run_float(rolled, frames).outputs(rolled.main)
    for old, new in zip(whole.main.outputs, rolled.main.outputs, strict=True):
        a, b = wanted[old][:, 0], found[new]
        candidates = [b] if a.ndim != b.ndim else [np.moveaxis(b, 1, k) for k in range(1, b.ndim)] + [b]
        same = [c for c in candidates if c.shape == a.shape and np.abs(c - a).max(initial=0.0) <= _TOLERANCE]
        if not same:
            return False
    return True
