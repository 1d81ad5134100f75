"""Log-mel energies of 8 kHz audio in numpy: what firmware would compute in front of the recurrent network."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from sequences.dataset import Floats

SAMPLE_RATE = 8000  # Hz
WINDOW = 256  # samples, 32 ms, Hann
HOP = 160  # samples, 20 ms
MELS = 16
LOWEST = 60.0  # Hz; the highest mel ends at half the sample rate
FLOOR = 1e-6  # mel power under which everything counts as silence
MIDDLE = 1e-4  # mel power that becomes 0, so that the features use both signs: -2 (silence) to about 5


def log_mel(audio: npt.NDArray[np.int16]) -> Floats:
    """Samples [S] -> log10 mel power over MIDDLE, [1 + (S - 256) // 160, 16]; at least one frame."""
    samples = audio.astype(np.float32) / 32768.0
    samples = np.pad(samples, (0, max(0, WINDOW - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    spectrum = np.fft.rfft(frames * _hann(), axis=1)
    power = np.square(np.abs(spectrum)).astype(np.float32) / WINDOW
    return np.log10(np.maximum(power @ mel_filters().T, FLOOR) / MIDDLE).astype(np.float32)


@cache
def mel_filters() -> Floats:
    """Triangles on the mel scale, each as high as 1 at its centre: [MELS, WINDOW // 2 + 1]."""
    edges = _hertz(np.linspace(_mel(LOWEST), _mel(SAMPLE_RATE / 2), MELS + 2))
    bins = np.arange(WINDOW // 2 + 1) * SAMPLE_RATE / WINDOW
    low, centre, high = (edges[i : i + MELS, np.newaxis] for i in range(3))
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def _hann() -> Floats:
    """The periodic Hann window, [WINDOW]."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)


def _mel(hertz: float) -> float:
    return float(2595 * np.log10(1 + hertz / 700))


def _hertz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(700 * (10 ** (mel / 2595) - 1))
