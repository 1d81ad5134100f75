"""Free Spoken Digit Dataset: 3,000 recordings, 6 speakers x 10 digits x 50, 8 kHz, 16 bit.

By Z. Jackson and contributors (https://github.com/Jakobovski/free-spoken-digit-dataset), CC BY-SA 4.0. Its
clips, features and models trained on them stay out of this repository. The official test set is recordings 0
to 4 of each speaker and digit; both parts share the speakers, so its accuracy flatters.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from sequences.cache import CACHE, REPOSITORY
from sequences.dataset import Dataset, Integers, pad, save_npz
from spoken_digits import features

__all__ = [
    "SPEAKERS",
    "Clip",
    "Dataset",
    "archive",
    "load",
    "load_all",
    "load_without",
    "read_clips",
    "save_npz",
]

NAME = re.compile(r"(\d)_([a-z]+)_(\d+)\.wav$")
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
CLIPS = 50  # of each speaker and digit
TEST_INDICES = 5  # recordings 0-4 are the official test set


@dataclass(frozen=True)
class Clip:
    """One recording: `audio` is int16 [samples] at 8 kHz."""

    digit: int
    speaker: str
    index: int
    audio: npt.NDArray[np.int16]


def archive() -> Path:
    """fsdd.tar.xz: $STEPCELL_FSDD, or ../shared/data/fsdd beside the checkout."""
    path = Path(os.environ.get("STEPCELL_FSDD", REPOSITORY.parent / "shared/data/fsdd/fsdd.tar.xz"))
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: the Free Spoken Digit Dataset is not there. Hint: set STEPCELL_FSDD to a tar archive "
            "of its recordings/ folder (https://github.com/Jakobovski/free-spoken-digit-dataset)"
        )
    return path


def load() -> tuple[Dataset, Dataset]:
    """(2,700 training, 300 test) clips as log-mel frames [T, 16]; y is the digit."""
    dataset, indices = _cached()
    is_test = indices < TEST_INDICES
    return dataset.take(np.flatnonzero(~is_test)), dataset.take(np.flatnonzero(is_test))


def load_all() -> Dataset:
    """All 3,000 clips, ordered by digit, speaker and index."""
    return _cached()[0]


def load_without(speaker: str) -> tuple[Dataset, Dataset]:
    """(2,500 clips of the other speakers, the 500 of this one): how well a model does on a new voice."""
    dataset = load_all()
    by = np.arange(len(dataset)) // CLIPS % len(SPEAKERS)
    is_test = by == SPEAKERS.index(speaker)
    return dataset.take(np.flatnonzero(~is_test)), dataset.take(np.flatnonzero(is_test))


def read_clips(path: Path) -> list[Clip]:
    """Every recording in a tar archive, ordered by digit, speaker and index."""
    with tarfile.open(path) as tar:
        clips = [_clip(name, tar.extractfile(member)) for member in tar if (name := NAME.search(member.name))]
    return sorted(clips, key=lambda clip: (clip.digit, clip.speaker, clip.index))


def _clip(name: re.Match[str], wav: IO[bytes] | None) -> Clip:
    if wav is None:
        raise ValueError(f"{name.string} is not a file")
    return Clip(int(name[1]), name[2], int(name[3]), _samples(wav.read()))


def _samples(wav: bytes) -> npt.NDArray[np.int16]:
    with wave.open(io.BytesIO(wav)) as reader:
        shape = (reader.getnchannels(), reader.getsampwidth(), reader.getframerate())
        if shape != (1, 2, features.SAMPLE_RATE):
            raise ValueError(f"(channels, bytes a sample, rate) is {shape}; only (1, 2, 8000) is read")
        return np.frombuffer(reader.readframes(reader.getnframes()), "<i2")


def _cached() -> tuple[Dataset, Integers]:
    """(all clips, index of each): computed once, then read from build/data."""
    path = CACHE / f"fsdd_logmel{features.MELS}_{features.WINDOW}_{features.HOP}.npz"
    if not path.exists():
        _compute(path)
    with np.load(path) as arrays:
        return Dataset(arrays["x"], arrays["lengths"], arrays["y"]), arrays["index"]


def _compute(path: Path) -> None:
    clips = read_clips(archive())
    dataset = pad([features.log_mel(clip.audio) for clip in clips], [clip.digit for clip in clips])
    path.parent.mkdir(parents=True, exist_ok=True)
    index = np.array([clip.index for clip in clips])
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, x=dataset.x, lengths=dataset.lengths, y=dataset.y, index=index)
    partial.rename(path)
