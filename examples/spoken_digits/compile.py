"""Compile what train.py wrote for a Cortex-M4, and compare it with its source over all 3,000 clips.

    python examples/spoken_digits/train.py
    python examples/spoken_digits/compile.py [--activations int16] [--weights int4] [--percentile 99.9]

writes the C to build/spoken_digits/c, and prints what every link of the chain answers: all clips on the host,
50 of them on the emulated chip.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from rich.console import Console

from sequences.cache import REPOSITORY
from stepcell.importers import import_model
from stepcell.ir.sequences import load_sequences
from stepcell.pipeline import Options, compile_model, original_of
from stepcell.report.tables import validation_table
from stepcell.validate import Validation, validate

EMULATED = 50


def compile_and_validate(folder: Path, options: Options) -> tuple[Validation, Validation]:
    """(all clips on the host, EMULATED clips spread over all on the emulated chip); the C is in folder/c."""
    source = folder / "model.onnx"
    model = import_model(source, name="digits")
    training, clips = (load_sequences(folder / f"{name}.npz", model.main.inputs) for name in ("train", "all"))
    compile_model(model, original_of(model, str(source)), training, folder / "c", options)
    some = clips.take(np.linspace(0, len(clips) - 1, EMULATED).astype(np.int64))
    return validate(folder / "c", clips, ("host",)), validate(folder / "c", some, ("unicorn",))


def main() -> int:
    """Compile, compare, print."""
    arguments = _arguments()
    if not (arguments.folder / "model.onnx").is_file():
        print(f"{arguments.folder} holds no model.onnx. Hint: run train.py first", file=sys.stderr)
        return 2
    options = Options(
        activations=arguments.activations, weights=arguments.weights, percentile=arguments.percentile
    )
    for result in compile_and_validate(arguments.folder, options):
        Console().print(validation_table(result))
    print(f"The C is in {arguments.folder / 'c'}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compile the spoken-digit classifier, and validate it.")
    parser.add_argument("--activations", choices=["int8", "int16"], default="int8")
    parser.add_argument("--weights", choices=["int8", "int4"], default="int8")
    parser.add_argument("--percentile", type=float, default=100.0)
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "build" / "spoken_digits")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
