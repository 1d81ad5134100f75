r"""Prune silero-vad without labels or training, and count the decisions that this changes.

    python examples/voice_activity/compress.py [--removed 0.63] [--choose]

removes weights from every convolution, dense layer and the LSTM in 4x1 blocks, in closed form, with one
threshold for all on what a removal costs (compress/second_order), learned from what espeak-ng reads and one
recorded speaker (unlabelled.py). Compiles the dense and the compressed model to int8 C for a Cortex-M4,
both calibrated on that speech, and judges both on sixty seconds of other people's recordings: flips of
decisions at 0.5 against silero-vad's own file in ONNX Runtime. At the default fraction 167,760 of 301,752
bytes of flash remain, and 47 of 1,875 decisions flip, against 4. With --choose both are judged on three
more of espeak-ng's voices instead: other settings are tried on these, never on the recordings. Prints a
table, and writes
build/bench/voice_activity_compressed.json and build/voice_activity/dense and compressed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from sequences.cache import REPOSITORY
from speech.data import stream
from stepcell.compress import prune_in_closed_form
from stepcell.importers import import_model
from stepcell.ir import Model
from stepcell.ir.sequences import Sequences
from stepcell.pipeline import Options, compile_model, original_of
from stepcell.report.target_cost import cost_on_target
from stepcell.validate import open_bundle, validate
from voice_activity.data import frames, models
from voice_activity.unlabelled import to_choose_by, to_learn_from

MATRICES = (
    "conv1_weights",  # the windowed Fourier transform that silero-vad begins with
    "conv2_weights",
    "conv3_weights",
    "dense1_weights",
    "dense2_weights",
    "lstm1_input_weights",
    "lstm1_recurrent_weights",
)
PATTERN = "4x1"
STEPS = 8_000
"""Of each layer that the closed form reads."""
TARGET, THRESHOLD = "cortex-m4", 0.5
FOLDER = REPOSITORY / "build" / "voice_activity"
RESULT = REPOSITORY / "build" / "bench" / "voice_activity_compressed.json"


@dataclass(frozen=True)
class Result:
    """One model; bytes of flash: weights with their indices, all that is no code, and everything."""

    model: str
    kept: dict[str, float]
    weight_bytes: int
    table_bytes: int | None
    flash_bytes: int | None
    decisions: int
    flips: int
    max_abs_error: float
    mismatches: int


def main() -> int:
    """Compress, compile, judge, print, store."""
    arguments = _arguments()
    torch.set_num_threads(1)
    spec = str(models() / "silero_vad.onnx")
    dense = import_model(spec, name="silero_vad", bind={"sr": 16_000}, shapes={"input": (1, 576)})
    speech, judged = to_learn_from(), to_choose_by() if arguments.choose else _recordings()
    start = time.process_time()
    compressed = prune_in_closed_form(
        dense, speech, arguments.removed, PATTERN, matrices=MATRICES, steps=STEPS
    )
    seconds = time.process_time() - start
    results = [
        _judged(name, model, spec, speech, judged)
        for name, model in (("dense", dense), ("compressed", compressed))
    ]
    Console().print(_table(results))
    Console().print(f"compressed in {seconds:.0f} s of processor time")
    if not arguments.choose:
        RESULT.parent.mkdir(parents=True, exist_ok=True)
        facts = {"removed": arguments.removed, "pattern": PATTERN, "seconds": round(seconds, 1)}
        content = {**facts, "results": [asdict(result) for result in results]}
        RESULT.write_text(json.dumps(content, indent=2) + "\n")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Prune silero-vad, and compare it with its source.")
    parser.add_argument("--removed", type=float, default=0.63, help="fraction of the weights")
    parser.add_argument("--choose", action="store_true", help="judge on synthetic speech")
    return parser.parse_args()


def _recordings() -> Sequences:
    x = frames(stream(60.0))[None]
    return Sequences(x, np.array([x.shape[1]]))


def _judged(name: str, model: Model, spec: str, speech: Sequences, judged: Sequences) -> Result:
    """Compiled into a folder of that name, and run over what it is judged on, the C on the host as well."""
    options = Options(target=TARGET, name="silero_vad")
    bundle: Path = compile_model(model, original_of(model, spec), speech, FOLDER / name, options)
    cost = cost_on_target(open_bundle(bundle).qmodel, TARGET)
    validation = validate(bundle, judged, ("host",), THRESHOLD)
    decisions = int(judged.lengths.sum())
    return Result(
        name,
        {matrix: float(np.mean(mask.keep)) for matrix, mask in model.masks.items()},
        cost.weight_bytes,
        cost.rodata_bytes,
        cost.flash_bytes,
        decisions,
        round((1.0 - validation.label_agreement) * decisions),
        validation.max_abs_error,
        validation.mismatches,
    )


def _table(results: list[Result]) -> Table:
    table = Table(title=f"silero-vad in int8, {TARGET}")
    for column in (
        "model",
        "weights",
        "tables",
        "flash",
        "of dense",
        "flipped",
        "largest error",
        "mismatches",
    ):
        table.add_column(column, justify="right")
    whole = results[0].flash_bytes
    for result in results:
        share = "" if not whole or not result.flash_bytes else f"{result.flash_bytes / whole:.1%}"
        table.add_row(
            result.model,
            f"{result.weight_bytes:,}",
            f"{result.table_bytes or 0:,}",
            f"{result.flash_bytes or 0:,}",
            share,
            f"{result.flips} of {result.decisions:,} ({result.flips / result.decisions:.2%})",
            f"{result.max_abs_error:.3f}",
            str(result.mismatches),
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
