"""g2p-en's encoder and decoder: two functions that share a state, against g2p-en's own code."""

from dataclasses import replace
from pathlib import Path

import pytest

from g2p import compile as g2p_compile
from g2p.data import END_OF_WORD, START, STOP, letters, original, phoneme_names, words
from g2p.model import imported
from g2p.say import in_c, in_float, in_integers, say
from stepcell.build import build_firmware, build_host
from stepcell.ir import Model
from stepcell.ir.files import load_qmodel
from stepcell.run import emulator, run_host
from stepcell.target import load_board
from tools import require_tool

BOARD = load_board("mps2-an386")


@pytest.fixture(scope="module")
def model() -> Model:
    return imported()


@pytest.fixture(scope="module")
def wanted() -> list[list[int]]:
    """What g2p-en's own code says of the words."""
    names, say_word = phoneme_names(), original()
    return [[names.index(phoneme) for phoneme in say_word(word)] for word in words(g2p_compile.WORDS)]


def test_words_and_letters_are_g2p_ens() -> None:
    chosen = words(g2p_compile.WORDS)
    assert len(set(chosen)) == g2p_compile.WORDS
    assert chosen == words(g2p_compile.WORDS), "the sample is the same every time"
    assert letters("cab") == [5, 3, 4, END_OF_WORD]
    assert (phoneme_names()[START], phoneme_names()[STOP], len(phoneme_names())) == ("<s>", "</s>", 74)


def test_encoder_and_decoder_share_one_state(model: Model) -> None:
    assert [function.name for function in model.functions] == ["encode", "decode"]
    assert [(state.name, state.initial.shape) for state in model.states] == [("h", (256,))]
    assert all(value.dtype == "token" for function in model.functions for value in function.inputs)


def test_the_float_model_says_all_400_words_as_g2p_en_does(model: Model, wanted: list[list[int]]) -> None:
    assert say(words(g2p_compile.WORDS), in_float(model)) == wanted


def test_the_c_says_99_words_of_100_as_g2p_en_does(wanted: list[list[int]], tmp_path: Path) -> None:
    """On the host all words, on the emulated chip a few; the integer model says what the C says."""
    require_tool("zig", "cffi", "unicorn")
    options = replace(g2p_compile.OPTIONS, target="mps2-an386")
    bundle = g2p_compile.compile_g2p(tmp_path / "c", options)
    library = build_host([bundle], tmp_path / "host")
    spoken = words(g2p_compile.WORDS)
    said = say(spoken, in_c(bundle, lambda jobs: run_host(library, jobs)))
    assert sum(a == b for a, b in zip(said, wanted, strict=True)) >= 0.99 * len(spoken)
    qmodel = load_qmodel((tmp_path / "c" / "onnx" / "integer.npz").read_bytes(), "integer.npz")
    assert say(spoken, in_integers(qmodel)) == said
    chip = emulator("unicorn", build_firmware([bundle], BOARD, tmp_path / "chip"), BOARD)
    assert say(spoken[:2], in_c(bundle, chip)) == said[:2]
