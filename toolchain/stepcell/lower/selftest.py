"""Known answers that firmware can check at boot: a few frames, their outputs, and a checksum of the state."""

from collections.abc import Iterator, Mapping

import numpy as np

from stepcell.ir.qmodel import IntArray, QFunction, QModel, QValue
from stepcell.lower.parts import C_BYTES, Field
from stepcell.lower.plan import SelfTest
from stepcell.lower.ports import token_count
from stepcell.lower.sums import Sums
from stepcell.reference.integer_data import Feed
from stepcell.reference.integer_model import IntegerRun, run_functions

FRAMES = 4
TOKENS = 16
"""Of an input that no table is indexed with."""


def make_selftests(
    qmodel: QModel, fields: tuple[Field, ...], sums: list[Sums], max_steps: int | None
) -> list[SelfTest]:
    """Of every function in order, states carried on: the answers of the integer reference."""
    steps = min(FRAMES, max_steps or FRAMES)
    feeds = selftest_feeds(qmodel, steps)
    runs = run_functions(qmodel, feeds)
    members = tuple(field for field in fields if not field.is_buffer)
    return [
        _selftest(function, feeds[function.name], runs[function.name], members, sums)
        for function in qmodel.functions
    ]


def selftest_feeds(qmodel: QModel, steps: int) -> dict[str, Feed]:
    """Frames that sweep the range of every input, the same for every build: [1, steps, ...] integers."""
    rng = np.random.default_rng(0)
    lengths = np.array([steps])
    return {
        function.name: Feed(
            {value.name: _frames(rng, function, value, steps)[None] for value in function.inputs}, lengths
        )
        for function in qmodel.functions
    }


def _frames(rng: np.random.Generator, function: QFunction, value: QValue, steps: int) -> IntArray:
    shape = (steps, *value.shape)
    if value.dtype == "token":
        return rng.integers(0, token_count(function, value.name) or TOKENS, shape)
    limit = 127 if value.bits == 8 else 32767
    return rng.integers(-limit, limit + 1, shape)


def _selftest(
    function: QFunction, feed: Feed, run: IntegerRun, fields: tuple[Field, ...], sums: list[Sums]
) -> SelfTest:
    (steps,) = feed.lengths
    return SelfTest(
        steps=int(steps),
        inputs={value.name: _rows(feed.inputs[value.name]) for value in function.inputs},
        outputs={o.value.name: _rows(run.outputs[o.value.name]) for o in function.outputs},
        checksums=np.array([_checksum(fields, states) for states in _states(run, sums)], np.int64),
    )


def _rows(array: IntArray) -> IntArray:
    """[1, K, ...] -> [K, size]."""
    return array.reshape(array.shape[1], -1)


def _states(run: IntegerRun, sums: list[Sums]) -> Iterator[Mapping[str, IntArray]]:
    """The states after every step, or after a run, with the sums that layers of held values keep."""
    for t in range(next(iter(run.states.values())).shape[1] if run.states else 1):
        states = {name: array[0, t] for name, array in run.states.items()}
        yield states | {of_layer.name: of_layer.after(states) for of_layer in sums}


def _checksum(fields: tuple[Field, ...], states: Mapping[str, IntArray]) -> int:
    """Sum = sum * 31 + v over the state's fields, v as unsigned of its own width (sc_checksum*.c)."""
    total = 0
    for field in fields:
        mask = (1 << 8 * C_BYTES[field.ctype]) - 1
        for value in states[field.name].reshape(-1):
            total = (total * 31 + (int(value) & mask)) & 0xFFFFFFFF
    return total
