"""Compile DTLN's first network for a Cortex-M4, and measure how far its mask is from the float one.

    python examples/noise_suppression/compile.py [--activations int8]

writes the C to build/noise_suppression/cortex-m4, calibrated on other speakers and another noise than it is
judged on: sixty seconds of speech with pink noise 5 dB below it. Prints the root mean square and the largest
difference of the mask from that of DTLN's own file in ONNX Runtime, and what a step of 8 ms costs.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from rich.console import Console

from noise_suppression.data import magnitudes, models, noisy
from sequences.cache import REPOSITORY
from speech.arguments import compile_arguments
from speech.data import calibration_stream, stream
from stepcell.ir.sequences import load_sequences_for
from stepcell.pipeline import Options, compile_file
from stepcell.report.profile import profile_bundle
from stepcell.validate import open_bundle, validate

DECIBELS = 5.0
FOLDER = REPOSITORY / "build" / "noise_suppression"


def main() -> int:
    """Compile, judge, print, store."""
    arguments = compile_arguments("Compile DTLN's first network, and compare its mask.")
    FOLDER.mkdir(parents=True, exist_ok=True)
    np.savez(FOLDER / "calibration.npz", input_2=magnitudes(noisy(calibration_stream(), 10.0, seed=1))[None])
    judged = noisy(stream(arguments.seconds), DECIBELS, seed=2)
    np.savez(FOLDER / "noisy.npz", input_2=magnitudes(judged)[None])
    options = Options(name="dtln", activations=arguments.activations)
    bundle = compile_file(
        str(models() / "model_1.onnx"), FOLDER / "calibration.npz", FOLDER / "cortex-m4", options
    )
    data = load_sequences_for(FOLDER / "noisy.npz", open_bundle(bundle).qmodel.functions)
    validation = validate(bundle, data, ("host",))
    cost = profile_bundle(bundle)
    facts = {**validation.to_json(), **cost.to_json()}
    store = REPOSITORY / "build" / "bench" / "noise_suppression.json"
    store.parent.mkdir(parents=True, exist_ok=True)
    store.write_text(json.dumps(facts, indent=2) + "\n")
    rms = validation.rms_errors[validation.judged_output]
    flash, ram = cost.text_bytes + cost.rodata_bytes, cost.state_bytes + cost.stack_bytes
    Console().print(
        f"DTLN's mask over {data.x.shape[1]:,} steps: rms error {rms:.4f}, largest "
        f"{validation.max_abs_error:.3f}; {validation.mismatches} differences between links of the chain; "
        f"flash {flash:,}, RAM {ram:,} bytes, {cost.profile.instructions:,} instructions a step."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
