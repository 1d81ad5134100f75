"""JapaneseVowels: 640 utterances of nine speakers, 12 LPC cepstrum coefficients a frame, 7 to 29 frames.

The recordings are by M. Kudo, J. Toyama and M. Shimbo ("Multidimensional Curve Classification Using
Passing-Through Regions", Pattern Recognition Letters 20, 1999); they were given to the UCI Machine Learning
Repository (https://archive.ics.uci.edu/ml/datasets/Japanese+Vowels) and formatted for the UEA time-series
archive. The aeon package (BSD-3-Clause) carries that text; it is read out of aeon's wheel, which is
downloaded by its hash and never installed.
"""

from __future__ import annotations

import zipfile

import numpy as np

from sequences.dataset import Dataset, Floats, pad, save_npz
from sequences.wheels import wheel

__all__ = ["Dataset", "load", "parse", "save_npz"]

AEON = ("aeon", "1.6.0", "d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409")


def load() -> tuple[Dataset, Dataset]:
    """(270 training, 370 test) utterances; y is the speaker, 0-8. Downloads 6.4 MB the first time."""
    with zipfile.ZipFile(wheel(*AEON)) as files:
        return _read(files, "TRAIN"), _read(files, "TEST")


def parse(text: str) -> Dataset:
    """Read the .ts format: `@` header, then one line a case, `channel:channel:...:label`."""
    header, body = text.split("@data\n")
    labels = next(line.split()[2:] for line in header.splitlines() if line.startswith("@classLabel"))
    cases = [line.split(":") for line in body.splitlines()]
    return pad([_frames(case[:-1]) for case in cases], [labels.index(case[-1]) for case in cases])


def _read(files: zipfile.ZipFile, part: str) -> Dataset:
    return parse(files.read(f"aeon/datasets/data/JapaneseVowels/JapaneseVowels_{part}.ts").decode())


def _frames(channels: list[str]) -> Floats:
    """Comma-separated channels -> [T, channels]."""
    return np.array([channel.split(",") for channel in channels], np.float32).T
