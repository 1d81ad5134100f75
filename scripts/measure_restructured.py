"""What restructured layers cost on a Cortex-M4: the Markdown table of docs/compression.md.

usage: python scripts/measure_restructured.py

One step of a layer of 128 units over 40 inputs with a last-step head of 10 outputs, random weights: bytes of
all tables, and instructions counted in an emulator, the head included. Nothing is said about accuracy.
"""

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from random_bundles import M4, compile_case, sized_float_model
from random_models import random_sequences
from stepcell.build import build_firmware
from stepcell.compress import kronecker, low_rank
from stepcell.ir import Model
from stepcell.quantize import quantize
from stepcell.run import profile_step
from stepcell.target import load_board

LAYERS = {"GRU": "gru_after", "GRU, reset first": "gru_before", "LSTM": "lstm"}
PASSES: Mapping[str, Callable[[Model], Model]] = {
    "dense": lambda model: model,
    "rank 32": lambda model: low_rank(model, 32),
    "rank 16": lambda model: low_rank(model, 16),
    "one Kronecker product, 5 % doping": kronecker,
}


def main() -> None:
    """Print a row for every layer and pass."""
    board = load_board("mps2-an386")
    for kind, layer in LAYERS.items():
        rng = np.random.default_rng(0)
        model = sized_float_model(rng, "model", (layer,), 40, 128, 10, "last")
        data = random_sequences(rng, model)
        for number, (name, restructured) in enumerate(PASSES.items()):
            qmodel = quantize(replace(restructured(model), name=f"{layer}{number}"), data)
            with tempfile.TemporaryDirectory() as folder:
                case = compile_case(Path(folder), qmodel, rng, M4)
                firmware = build_firmware([case.bundle], board, case.bundle.folder, "zig")
                layers = profile_step(firmware, case.bundle, board).layers
            tables = sum(table.bytes for table in case.plan.tables)
            print(f"| {kind}, {name} | {tables:,} | {sum(part.instructions for part in layers):,} |")


if __name__ == "__main__":
    main()
