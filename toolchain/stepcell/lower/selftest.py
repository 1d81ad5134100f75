"""Known answers that firmware can check at boot: a few frames, their outputs, and a checksum of the state."""

import numpy as np

from stepcell.ir.qmodel import IntArray, QModel
from stepcell.lower.plan import C_BYTES, Field, SelfTest
from stepcell.lower.sums import Sums
from stepcell.reference.integer_model import run_integer

FRAMES = 4


def make_selftest(qmodel: QModel, fields: tuple[Field, ...], sums: list[Sums], frames: IntArray) -> SelfTest:
    """Run `frames` [K, ...] through the integer reference."""
    run = run_integer(qmodel, frames[None])
    after = [{name: array[0, t] for name, array in run.states.items()} for t in range(len(frames))]
    checksums = [
        _checksum(fields, states | {of_layer.name: of_layer.after(states) for of_layer in sums})
        for states in after
    ]
    return SelfTest(
        frames.reshape(len(frames), -1),
        run.outputs[0].reshape(len(frames), -1),
        np.array(checksums, np.int64),
    )


def _checksum(fields: tuple[Field, ...], states: dict[str, IntArray]) -> int:
    """Sum = sum * 31 + v over the state's fields, v as unsigned of its own width (sc_checksum*.c)."""
    total = 0
    for field in fields:
        mask = (1 << 8 * C_BYTES[field.ctype]) - 1
        for value in states[field.name].reshape(-1):
            total = (total * 31 + (int(value) & mask)) & 0xFFFFFFFF
    return total


def selftest_frames(qmodel: QModel) -> IntArray:
    """Frames that sweep the input's range, the same for every build: [FRAMES, ...] integers."""
    limit = 127 if qmodel.input.bits == 8 else 32767
    rng = np.random.default_rng(0)
    return rng.integers(-limit, limit + 1, (FRAMES, *qmodel.input.shape))
