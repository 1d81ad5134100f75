"""Unlabelled speech to compress silero-vad on: no voice of it is in the recordings that it is judged on.

The recordings of `speech.data.calibration_stream` (one speaker) and sentences that espeak-ng reads in eight
languages' voices, loud and soft, with pauses, in two levels of pink noise. Three more voices, in other noise,
are to choose settings by.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from speech.data import RATE, Samples, calibration_stream, noise
from speech.synthetic import read_aloud
from stepcell.ir.sequences import Sequences
from voice_activity.data import frames

STEPS = 375
"""Frames of a sequence, twelve seconds; each starts from silence."""
_VOICES = ("en-us", "en-us+f2", "de+m3", "fr+f4", "en-gb-scotland", "it+f1", "es+m1", "pl+f3")
_OTHER_VOICES = ("nl+m2", "en-us+f5", "sv")
_SENTENCES = (
    "The boats came back to the harbour long before the storm.",
    "Please turn the lamp off when you leave the kitchen.",
    "Seven grey horses were waiting behind the old station.",
    "How much would you pay for a quiet room with a view?",
    "She wrote the figures down, then closed the book and sighed.",
    "Nobody had told us that the bridge would be shut until June.",
    "Stop! There is a train on this track.",
    "A good knife, some cheese and fresh bread are all we need.",
)
_GAINS = (1.0, 0.3, 0.1)
_LEAST = 1 / 32768
"""One step of 16 bits: the magnitude of a spectrum has no derivative where there is no sound at all."""


def to_learn_from() -> Sequences:
    """Ten minutes."""
    spoken = _spoken(_VOICES, seed=0)
    recorded = _in_noise(calibration_stream(), _LEAST, seed=2)
    return _cut(recorded, _in_noise(spoken, 0.002, seed=0), _in_noise(spoken, 0.02, seed=0))


def to_choose_by() -> Sequences:
    """Three minutes."""
    spoken = _spoken(_OTHER_VOICES, seed=1)
    return _cut(_in_noise(spoken, 0.001, seed=1), _in_noise(spoken, 0.01, seed=1))


def _spoken(voices: Sequence[str], seed: int) -> Samples:
    random = np.random.default_rng(seed)
    parts: list[Samples] = []
    for voice in voices:
        for sentence in _SENTENCES:
            pace, pitch = int(random.integers(130, 220)), int(random.integers(25, 75))
            parts.append(read_aloud(sentence, voice, pace, pitch) * np.float32(random.choice(_GAINS)))
            parts.append(np.zeros(int(RATE * random.uniform(0.2, 1.0)), np.float32))
    return np.concatenate(parts)


def _in_noise(spoken: Samples, level: float, seed: int) -> Samples:
    """level: the noise's root mean square, of a full scale of 1."""
    pink = noise(len(spoken) / RATE + 1, seed)[: len(spoken)]
    return np.asarray(spoken + np.float32(level) * pink)


def _cut(*streams: Samples) -> Sequences:
    """[N, STEPS, samples]; what is left of a stream behind its last whole sequence is dropped."""
    found = []
    for samples in streams:
        framed = frames(samples)
        found.append(framed[: len(framed) // STEPS * STEPS].reshape(-1, STEPS, framed.shape[1]))
    x = np.concatenate(found)
    return Sequences(x, np.full(len(x), STEPS))
