"""The example data sets: counts, shapes and properties that their authors state."""

from __future__ import annotations

import io
import tarfile
import wave
from pathlib import Path

import numpy as np
import pytest

from japanese_vowels import data as japanese_vowels
from sequences.dataset import Dataset, pad, save_npz, split
from spoken_digits import data as spoken_digits
from spoken_digits import features

TS = "@classLabel true a b\n@data\n1,2,3:4,5,6:b\n7:8:a\n"


def tone(hertz: float, samples: int = 8000) -> np.ndarray:
    """A sine of half the full scale."""
    return (16384 * np.sin(2 * np.pi * hertz * np.arange(samples) / features.SAMPLE_RATE)).astype(np.int16)


def test_pad_keeps_every_sequence_and_fills_with_zeros() -> None:
    dataset = japanese_vowels.parse(TS)
    assert dataset.x.shape == (2, 3, 2)
    assert dataset.lengths.tolist() == [3, 1]
    assert dataset.y.tolist() == [1, 0]
    assert dataset.sequence(0).tolist() == [[1, 4], [2, 5], [3, 6]]
    assert dataset.x[1].tolist() == [[7, 8], [0, 0], [0, 0]]


def test_split_holds_out_the_same_fraction_of_every_class() -> None:
    rows = [np.full((2, 1), i, np.float32) for i in range(40)]
    rest, held_out = split(pad(rows, [i % 4 for i in range(40)]), 0.2, seed=3)
    assert np.bincount(held_out.y).tolist() == [2, 2, 2, 2]
    assert sorted([*rest.x[:, 0, 0], *held_out.x[:, 0, 0]]) == list(range(40))


def test_save_npz_holds_x_lengths_and_y(tmp_path: Path) -> None:
    save_npz(tmp_path / "new" / "data.npz", japanese_vowels.parse(TS))
    with np.load(tmp_path / "new" / "data.npz") as arrays:
        assert set(arrays) == {"x", "lengths", "y"}
        assert arrays["x"].dtype == np.float32


def test_japanese_vowels_is_the_published_set() -> None:
    training, test = japanese_vowels.load()
    assert (training.x.shape, test.x.shape) == ((270, 26, 12), (370, 29, 12))
    assert np.bincount(training.y).tolist() == [30] * 9
    assert np.bincount(test.y).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    assert min(training.lengths.min(), test.lengths.min()) == 7
    assert training.sequence(0)[0, :2].tolist() == pytest.approx([1.860936, -0.207383])
    assert_zero_past_the_end(training)


def test_a_tone_is_loudest_in_the_mel_around_it() -> None:
    loudest = features.log_mel(tone(1000)).argmax(axis=1)
    assert len(set(loudest.tolist())) == 1
    frequency = np.argmax(features.mel_filters()[loudest[0]]) * features.SAMPLE_RATE / features.WINDOW
    assert frequency == pytest.approx(1000, rel=0.15)


def test_log_mel_follows_the_definition_of_the_fourier_transform() -> None:
    audio = np.random.default_rng(0).integers(-9000, 9000, features.WINDOW).astype(np.int16)
    n = np.arange(features.WINDOW)
    windowed = audio / 32768 * (0.5 - 0.5 * np.cos(2 * np.pi * n / features.WINDOW))
    k = np.arange(features.WINDOW // 2 + 1)[:, np.newaxis]
    power = (
        np.abs((windowed * np.exp(-2j * np.pi * k * n / features.WINDOW)).sum(axis=1)) ** 2 / features.WINDOW
    )
    expected = np.log10(features.mel_filters() @ power / features.MIDDLE)
    np.testing.assert_allclose(features.log_mel(audio)[0], expected, atol=1e-5)


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (256, 1), (415, 1), (416, 2), (8000, 49)])
def test_log_mel_has_a_frame_for_every_whole_window(samples: int, frames: int) -> None:
    assert features.log_mel(np.zeros(samples, np.int16)).shape == (frames, features.MELS)


def test_silence_is_the_floor() -> None:
    assert features.log_mel(np.zeros(8000, np.int16)) == pytest.approx(-2)


def test_clips_are_read_from_any_tar_archive_in_a_fixed_order(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "digits.tar.gz", "w:gz") as tar:
        for name in ("7_theo_12.wav", "0_lucas_3.wav"):
            add(tar, f"digits/recordings/{name}", wav(tone(440)))
        add(tar, "digits/README.md", b"not a recording")
    clips = spoken_digits.read_clips(tmp_path / "digits.tar.gz")
    assert [(clip.digit, clip.speaker, clip.index) for clip in clips] == [(0, "lucas", 3), (7, "theo", 12)]
    assert np.array_equal(clips[0].audio, tone(440))


@pytest.mark.fsdd
def test_spoken_digits_is_the_published_set() -> None:
    training, test = spoken_digits.load()
    assert np.bincount(training.y).tolist() == [270] * 10
    assert np.bincount(test.y).tolist() == [30] * 10
    assert len(spoken_digits.load_all()) == 3000
    assert_zero_past_the_end(test)


def test_a_missing_archive_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STEPCELL_FSDD", str(tmp_path / "nowhere.tar"))
    with pytest.raises(FileNotFoundError, match=r"nowhere\.tar.*Hint: set STEPCELL_FSDD"):
        spoken_digits.archive()


def assert_zero_past_the_end(dataset: Dataset) -> None:
    past = np.arange(dataset.x.shape[1]) >= dataset.lengths[:, np.newaxis]
    assert not dataset.x[past].any()


def wav(audio: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as writer:
        writer.setparams((1, 2, features.SAMPLE_RATE, 0, "NONE", ""))
        writer.writeframes(audio.tobytes())
    return buffer.getvalue()


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
