"""What the C of a bundle answers to data, without judging it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.model import FloatArray
from stepcell.ir.qmodel import IntArray
from stepcell.ir.sequences import load_sequences_for
from stepcell.reference.integer_data import quantize_sequences
from stepcell.validate.backends import outputs, run_backend
from stepcell.validate.files import open_bundle
from stepcell.validate.validate import OnStage


@dataclass(frozen=True, eq=False)
class Answer:
    """Real outputs [N, T, O] and the integers they stand for, zero beyond a sequence's steps; `lengths` [N].

    What a run gives once a sequence is [N, 1, O].
    """

    real: FloatArray
    stored: IntArray
    lengths: NDArray[np.int64]


def answers(folder: Path, data: Path, backend: str, on_stage: OnStage) -> dict[str, Answer]:
    """Quantize the data and run it: the answers by output, `FUNCTION.OUTPUT` of several functions.

    Raises StepcellError for data that does not fit, or a missing tool.
    """
    files = open_bundle(folder)
    q, bundle = files.qmodel, files.bundle
    feeds = quantize_sequences(q, load_sequences_for(data, q.functions))
    stage = f"C on {backend}"
    on_stage(stage, 0.0)
    results = run_backend(backend, bundle, feeds, on_part=lambda part: on_stage(stage, part))
    stored = outputs(bundle, q, results, feeds)
    found = {}
    for function, of in zip(q.functions, bundle.functions, strict=True):
        for output, port in zip(function.outputs, of.outputs, strict=True):
            name = port.name if len(q.functions) == 1 else f"{of.name}.{port.name}"
            array = stored[function.name][output.value.name]
            array = array.reshape(*array.shape[:2], -1)
            real = (array.astype(np.float64) - output.value.zero_point) * output.value.scale
            found[name] = Answer(real, array, feeds[function.name].lengths)
    return found
