"""Compile g2p-en's encoder and decoder to C, and let the C say words that the dictionary knows.

    python examples/g2p/compile.py [--target cortex-m7] [--activations int8] [--rounding nearest]

writes the C to build/g2p/c; says 400 words with it on this computer and a few on the emulated chip, and
counts how many come out as g2p-en's own code says them; then prints what a letter and a phoneme cost on the
chip.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from g2p.data import original, phoneme_names, words
from g2p.model import imported
from g2p.say import calibration, in_c, say
from sequences.cache import REPOSITORY
from stepcell.build import Bundle, build_firmware, build_host, load_bundle
from stepcell.pipeline import Options, compile_model, original_of
from stepcell.report.profile import profile_bundle
from stepcell.report.tables import profile_tables
from stepcell.run import Job, JobResult, emulator, emulators_of, run_host
from stepcell.target import resolve_target

WORDS = 400
EMULATED = 4
CALIBRATION = 1500
OPTIONS = Options(name="g2p", activations="int16-states", rounding="data")
"""With int8 weights: other activations and rounding to nearest cost up to two words in a hundred."""


def compile_g2p(folder: Path, options: Options = OPTIONS) -> Bundle:
    """The C in `folder`, calibrated with words that are not said."""
    model = imported()
    data = calibration(words(WORDS + CALIBRATION)[WORDS:], model)
    compile_model(model, original_of(model, ""), data, folder, options)
    return load_bundle(folder)


def agreement(bundle: Bundle, spoken: list[str], run: Callable[[list[Job]], list[JobResult]]) -> int:
    """How many words the C says exactly as g2p-en's own code does."""
    names, wanted = phoneme_names(), original()
    said = say(spoken, in_c(bundle, run))
    return sum([names[i] for i in found] == wanted(word) for word, found in zip(spoken, said, strict=True))


def main() -> None:
    """Compile, say, count."""
    options, folder = _arguments()
    spoken = words(WORDS)
    bundle = compile_g2p(folder, options)
    with tempfile.TemporaryDirectory() as scratch:
        library = build_host([bundle], Path(scratch) / "host")
        same = agreement(bundle, spoken, lambda jobs: run_host(library, jobs))
        print(f"{same} of {WORDS} words as g2p-en says them, by the C on this computer")
        _, board = resolve_target(options.target)
        if board is not None:
            firmware = build_firmware([bundle], board, Path(scratch) / "chip")
            chip = emulator(emulators_of(board)[0], firmware, board)
            same = agreement(bundle, spoken[:EMULATED], chip)
            print(f"{same} of {EMULATED} by the C on an emulated {options.target}")
    for table in profile_tables(profile_bundle(folder)):
        Console().print(table)
    print(f"The C is in {folder}")


def _arguments() -> tuple[Options, Path]:
    parser = argparse.ArgumentParser(description="Compile g2p-en, and compare what it says.")
    parser.add_argument("--target", default="cortex-m4")
    parser.add_argument(
        "--activations", choices=["int8", "int16", "int16-states"], default=OPTIONS.activations
    )
    parser.add_argument("--rounding", choices=["nearest", "data"], default=OPTIONS.rounding)
    parser.add_argument("-o", "--output", type=Path, default=REPOSITORY / "build" / "g2p" / "c")
    arguments = parser.parse_args()
    options = Options(arguments.target, "g2p", activations=arguments.activations, rounding=arguments.rounding)
    return options, arguments.output


if __name__ == "__main__":
    main()
