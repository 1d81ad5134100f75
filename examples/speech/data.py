"""Speech at 16 kHz: sentences to measure with, and other speakers' words to calibrate with.

The sentences (BSD-2-Clause) are those of the Debian package pocketsphinx-testdata; the words and the noise to
calibrate with lie in alsa-utils (GPL-2). Neither needs to be installed: the package is downloaded by apt-get
and unpacked into the cache.
"""

from __future__ import annotations

import shutil
import subprocess
import wave
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sequences.cache import CACHE

Samples = NDArray[np.float32]

RATE = 16_000
_SENTENCES = "usr/share/pocketsphinx/test/data"
_WORDS = "usr/share/sounds/alsa"
_HEADERLESS = ("goforward.raw", "numbers.raw", "something.raw")
_GAINS = (1.0, 0.3, 0.1)


def sentences() -> list[Samples]:
    """Thirteen recordings, 44 seconds, each within -1..1."""
    folder = _unpacked("pocketsphinx-testdata", _SENTENCES)
    waves = [_read_wave(path) for path in sorted(folder.glob("*/*.wav"))]
    return waves + [_scaled(np.fromfile(folder / name, "<i2")) for name in _HEADERLESS]


def stream(seconds: float = 60.0) -> Samples:
    """The sentences one after the other, from the first again where they end."""
    once = np.concatenate(sentences())
    return np.resize(once, int(seconds * RATE))


def calibration_stream() -> Samples:
    """Eight words by another speaker, loud and soft, clean and in noise, with pauses: two minutes."""
    folder = _unpacked("alsa-utils", _WORDS)
    words = [_to_16_khz(_read_wave(path)) for path in sorted(folder.glob("*_*.wav"))]
    noise = _to_16_khz(_read_wave(folder / "Noise.wav"))
    pause = np.zeros(RATE // 4, np.float32)
    parts: list[Samples] = []
    for gain in _GAINS:
        for noise_gain in (0.0, 0.05, 0.3):
            for word in words:
                mixed = gain * (word + noise_gain * np.resize(noise, len(word)))
                parts += [mixed.astype(np.float32), pause]
    return np.concatenate(parts).astype(np.float32)


def noise(seconds: float, seed: int = 0) -> Samples:
    """Pink noise of unit variance: equal power in every octave, as in rooms and machines."""
    count = int(seconds * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
    colored = np.fft.irfft(spectrum, count)
    pink: Samples = (colored / colored.std()).astype(np.float32)
    return pink


def _read_wave(path: Path) -> Samples:
    with wave.open(str(path)) as file:
        return _scaled(np.frombuffer(file.readframes(file.getnframes()), "<i2"))


def _scaled(samples: NDArray[np.int16]) -> Samples:
    return samples.astype(np.float32) / 32768.0


def _to_16_khz(samples: Samples) -> Samples:
    """From 48 kHz: a windowed-sinc low pass at 7 kHz, then every third sample."""
    t = np.arange(-60, 61)
    taps = np.sinc(2 * 7 / 48 * t) * np.hanning(len(t))
    return np.convolve(samples, taps / taps.sum(), "same")[::3].astype(np.float32)


@cache
def _unpacked(package: str, folder: str) -> Path:
    """The folder of an installed package, or of one unpacked into the cache."""
    if (Path("/") / folder).is_dir():
        return Path("/") / folder
    root = CACHE / package
    if not (root / folder).is_dir():
        _download(package, root)
    return root / folder


def _download(package: str, root: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise SystemExit(f"The speech lies in the Debian package {package}; unpack it to {root}.")
    root.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "download", package], cwd=root, check=True, capture_output=True)
    (archive,) = root.glob("*.deb")
    subprocess.run(["dpkg", "-x", str(archive), str(root)], check=True)
    archive.unlink()
