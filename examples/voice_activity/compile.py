r"""Compile silero-vad for a Cortex-M4 and a Cortex-M7, and count the decisions that the integers change.

    python examples/voice_activity/compile.py [--seconds 60] [--activations int8]

writes the C to build/voice_activity/cortex-m4 and cortex-m7, calibrated on other speakers than it is judged
on, and prints how many of the decisions at 0.5 differ from silero-vad's own file in ONNX Runtime, and what
a decision costs. The data are stored beside the C, so that the same can be done from the command line:

    cd build/voice_activity
    stepcell compile silero_vad.onnx --bind sr=16000 --shape input=1,576 --target cortex-m4 \
        --calibration calibration.npz -o cortex-m4
    stepcell validate cortex-m4 --data speech.npz --threshold 0.5
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from sequences.cache import REPOSITORY
from speech.arguments import compile_arguments
from speech.data import calibration_stream, stream
from stepcell.ir.sequences import load_sequences_for
from stepcell.pipeline import Options, compile_file
from stepcell.report.profile import Cost, profile_bundle
from stepcell.validate import Validation, open_bundle, validate
from voice_activity.data import frames, models

TARGETS = ("cortex-m4", "cortex-m7")
THRESHOLD = 0.5
FOLDER = REPOSITORY / "build" / "voice_activity"


@dataclass(frozen=True)
class Result:
    """Of one target."""

    target: str
    decisions: int
    validation: Validation
    cost: Cost

    @property
    def flips(self) -> int:
        """Decisions that differ from the source's."""
        return round((1.0 - self.validation.label_agreement) * self.decisions)


def compile_and_judge(target: str, seconds: float, options: Options) -> Result:
    """The bundle for a target, validated on the host over all speech, its cost counted in an emulator."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    shutil.copy(models() / "silero_vad.onnx", FOLDER)
    np.savez(FOLDER / "calibration.npz", input=frames(calibration_stream())[None])
    np.savez(FOLDER / "speech.npz", input=frames(stream(seconds))[None])
    bundle = compile_file(
        str(FOLDER / "silero_vad.onnx"),
        FOLDER / "calibration.npz",
        FOLDER / target,
        options,
        bind={"sr": 16000},
        shapes={"input": (1, 576)},
    )
    data = load_sequences_for(FOLDER / "speech.npz", open_bundle(bundle).qmodel.functions)
    validation = validate(bundle, data, ("host",), THRESHOLD)
    return Result(target, data.x.shape[1], validation, profile_bundle(bundle))


def main() -> int:
    """Compile, judge, print, store."""
    arguments = compile_arguments("Compile silero-vad, and compare it with its source.")
    results = []
    for target in TARGETS:
        options = Options(target=target, name="silero_vad", activations=arguments.activations)
        results.append(compile_and_judge(target, arguments.seconds, options))
    Console().print(_table(results))
    store = REPOSITORY / "build" / "bench" / "voice_activity.json"
    store.parent.mkdir(parents=True, exist_ok=True)
    store.write_text(json.dumps([_facts(result) for result in results], indent=2) + "\n")
    return 0


def _facts(result: Result) -> dict[str, object]:
    return {
        "target": result.target,
        "decisions": result.decisions,
        "flips": result.flips,
        "max_abs_error": result.validation.max_abs_error,
        "mismatches": result.validation.mismatches,
        **result.cost.to_json(),
    }


def _table(results: list[Result]) -> Table:
    table = Table(title="silero-vad, 32 ms a frame")
    for column in ("target", "decisions", "flipped", "largest error", "flash", "RAM", "instructions a frame"):
        table.add_column(column, justify="right")
    for result in results:
        cost = result.cost
        table.add_row(
            result.target,
            str(result.decisions),
            f"{result.flips} ({result.flips / result.decisions:.2%})",
            f"{result.validation.max_abs_error:.3f}",
            f"{cost.text_bytes + cost.rodata_bytes:,}",
            f"{cost.state_bytes + cost.stack_bytes:,}",
            f"{cost.profile.instructions:,}",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
