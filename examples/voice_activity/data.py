"""silero-vad's model (MIT licence, by the Silero team) out of its wheel, and frames of speech for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sequences.wheels import unpacked, wheel
from speech.data import Samples

FRAME, CONTEXT = 512, 64
"""Samples that a decision takes in, 32 ms at 16 kHz, and the ones before them that the model sees again."""
_SHA256 = "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8"


def models() -> Path:
    """The folder of the wheel's ONNX files; downloads 11 MB the first time."""
    return unpacked(wheel("silero_vad", "6.2.3", _SHA256), "silero_vad/data")


def frames(samples: Samples) -> Samples:
    """[T, CONTEXT + FRAME]: each frame behind the end of the one before it, as silero-vad's code has it."""
    count = len(samples) // FRAME
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), samples[: count * FRAME]])
    starts = FRAME * np.arange(count)[:, None]
    framed: Samples = padded[starts + np.arange(CONTEXT + FRAME)]
    return framed
