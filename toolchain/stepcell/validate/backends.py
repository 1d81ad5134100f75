"""The generated C on the host and on emulated chips, compared with the integer reference value by value."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from stepcell.build import Bundle, build_firmware, build_host
from stepcell.errors import StepcellError
from stepcell.ir.qmodel import IntArray
from stepcell.reference.integer_model import IntegerRun
from stepcell.run import Job, JobResult, lane, run_host, run_qemu, run_unicorn, split_state
from stepcell.target import resolve_target

BACKENDS = ("host", "unicorn", "qemu")


def run_backend(
    backend: str, bundle: Bundle, x: IntArray, lengths: IntArray, compiler: str | None = None
) -> list[JobResult]:
    """Run N sequences of quantized frames x [N, T, ...] through the bundle's C, each from its initial state.

    Raises StepcellError for an unknown backend, a missing tool, or a target without that backend.
    """
    jobs = [Job((lane(bundle, frames[:steps]),)) for frames, steps in zip(x, lengths, strict=True)]
    with tempfile.TemporaryDirectory(prefix="stepcell-") as folder:
        return _runner(backend, bundle, Path(folder), compiler)(jobs)


def _runner(
    backend: str, bundle: Bundle, folder: Path, compiler: str | None
) -> Callable[[list[Job]], list[JobResult]]:
    if backend == "host":
        library = build_host([bundle], folder, compiler)
        return lambda jobs: run_host(library, jobs)
    if backend not in BACKENDS:
        raise StepcellError(f"backend '{backend}' is unknown.", f"choose from {', '.join(BACKENDS)}.")
    core, board = resolve_target(bundle.target)
    if board is None:
        raise StepcellError(
            f"{bundle.name} was compiled for {core.name}, which {backend} does not emulate.",
            "validate it on the host, or compile it for a Cortex-M.",
        )
    elf = build_firmware([bundle], board, folder, compiler)
    if backend == "unicorn":
        return lambda jobs: run_unicorn(elf, core, jobs)
    return lambda jobs: run_qemu(elf, board, jobs)


def mismatches(bundle: Bundle, results: list[JobResult], reference: IntegerRun, lengths: IntArray) -> int:
    """How many values (every state and output after every valid step) differ from the reference."""
    wrong = 0
    for i, ((result,), steps) in enumerate(zip(results, lengths, strict=True)):
        found = split_state(bundle, result.states)
        wrong += sum(_differing(found[name], states[i, :steps]) for name, states in reference.states.items())
        (outputs,) = result.outputs.values()
        wrong += _differing(outputs, reference.outputs[i, :steps])
    return wrong


def session_mismatches(
    outputs: IntArray, states: Mapping[str, IntArray], reference: IntegerRun, lengths: IntArray
) -> int:
    """The same count for arrays [N, T, ...] as ONNX Runtime returns them."""
    wrong = 0
    for i, steps in enumerate(lengths):
        wrong += _differing(outputs[i, :steps], reference.outputs[i, :steps])
        wrong += sum(_differing(states[n][i, :steps], s[i, :steps]) for n, s in reference.states.items())
    return wrong


def values_compared(reference: IntegerRun, lengths: IntArray) -> int:
    """States and outputs of every valid step."""
    width = sum(_width(states) for states in reference.states.values()) + _width(reference.outputs)
    return int(lengths.sum()) * width


def _width(array: IntArray) -> int:
    return int(np.prod(array.shape[2:], dtype=np.int64))


def _differing(found: IntArray, wanted: IntArray) -> int:
    return int((found.reshape(len(found), -1) != wanted.reshape(len(wanted), -1)).sum())
