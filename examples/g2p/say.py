"""Saying words: letters into the encoder, then every phoneme that the decoder gives back into the decoder.

The same loop runs the float Model, the integer Model and the compiled C; only what decodes differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from g2p.data import LONGEST, START, STOP, letters
from stepcell.build import Bundle
from stepcell.ir import Model
from stepcell.ir.qmodel import QModel
from stepcell.ir.sequences import Sequences
from stepcell.reference.float_model import run_float
from stepcell.reference.integer_model import run_integer
from stepcell.run import Job, JobResult, lane_of

Integers = npt.NDArray[np.int64]
Decoder = Callable[[Integers], Integers]
"""Everything said so far, <s> first [N, T] -> the next phonemes [N]; it is called with one more each time."""
Encoder = Callable[[Sequences], Decoder]
"""Letters [N, T] and lengths [N] -> what decodes from the states after them."""


def say(words: Sequence[str], encode: Encoder) -> list[list[int]]:
    """The phonemes of every word, until </s> or LONGEST of them."""
    decode = encode(spelled(words))
    said = np.full((len(words), 1), START)
    while said.shape[1] <= LONGEST and not (said == STOP).any(axis=1).all():
        said = np.concatenate([said, decode(said)[:, None]], axis=1)
    return [_until_stop(row[1:].tolist()) for row in said]


def spelled(words: Sequence[str]) -> Sequences:
    """Words as letters [N, T] and lengths [N]."""
    return _padded([letters(word) for word in words])


def calibration(words: Sequence[str], model: Model) -> Sequences:
    """Words, and for the decoder what the float model says of them."""
    said = say(words, in_float(model))
    return replace(spelled(words), then={"decode": _padded([[START, *phonemes] for phonemes in said])})


def _padded(rows: list[list[int]]) -> Sequences:
    x = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for padded, row in zip(x, rows, strict=True):
        padded[: len(row)] = row
    return Sequences(x, np.array([len(row) for row in rows]))


def _until_stop(phonemes: list[int]) -> list[int]:
    return phonemes[: phonemes.index(STOP)] if STOP in phonemes else phonemes


def in_float(model: Model) -> Encoder:
    """The float interpreter."""

    def encode(spellings: Sequences) -> Decoder:
        ends = run_float(model, spellings.x, spellings.lengths, function="encode").ends

        def decode(said: Integers) -> Integers:
            nonlocal ends
            states = {state.name: ends[state.name] for state in model.states}
            run = run_float(model, said[:, -1:], function="decode", initial=states)
            ends = run.ends
            return run.steps["next"][:, 0].astype(np.int64)

        return decode

    return encode


def in_integers(qmodel: QModel) -> Encoder:
    """The integer interpreter."""

    def encode(spellings: Sequences) -> Decoder:
        states = run_integer(qmodel, spellings.x, spellings.lengths, function="encode").ends()

        def decode(said: Integers) -> Integers:
            nonlocal states
            run = run_integer(qmodel, said[:, -1:], initial=states, function="decode")
            states = run.ends()
            return run.output[:, 0]

        return decode

    return encode


def _last(result: JobResult) -> int:
    """The decoder's newest answer."""
    (phonemes,) = result[0].parts[1].outputs.values()
    return int(phonemes[-1, 0])


def in_c(bundle: Bundle, run: Callable[[list[Job]], list[JobResult]]) -> Encoder:
    """Compiled C, wherever `run` runs jobs. A job encodes its word anew, and decodes all said so far."""

    def encode(spellings: Sequences) -> Decoder:
        words = [row[:length] for row, length in zip(spellings.x, spellings.lengths, strict=True)]

        def decode(said: Integers) -> Integers:
            going = np.flatnonzero(~(said == STOP).any(axis=1))
            jobs = [Job((lane_of(bundle, [[words[i][:, None]], [said[i][:, None]]]),)) for i in going]
            found = np.full(len(said), STOP)
            found[going] = [_last(result) for result in run(jobs)]
            return found

        return decode

    return encode
