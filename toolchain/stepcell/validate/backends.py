"""The generated C on the host and on emulated chips, compared with the integer reference value by value."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from stepcell.build import Bundle, build_firmware, build_host
from stepcell.errors import StepcellError
from stepcell.ir.qmodel import IntArray
from stepcell.reference.integer_model import IntegerRun
from stepcell.run import EMULATORS, Job, JobResult, check_emulator, emulator, lane, run_host, split_state
from stepcell.target import resolve_target

BACKENDS = ("host", *EMULATORS)
STEPS_AT_ONCE = 4096
"""Sequences run in parts of about so many steps: about a second on an emulated chip, for the progress bar."""

OnPart = Callable[[float], None]
"""Hears how much of the sequences is done, 0-1."""


def check_backends(names: Sequence[str]) -> None:
    """StepcellError for a name that is no backend, or for none at all."""
    unknown = next((name for name in names if name not in BACKENDS), None if names else "")
    if unknown is not None:
        raise StepcellError(f"backend '{unknown}' is unknown.", f"choose from {', '.join(BACKENDS)}.")


def run_backend(
    backend: str,
    bundle: Bundle,
    x: IntArray,
    lengths: IntArray,
    compiler: str | None = None,
    on_part: OnPart = lambda _: None,
) -> list[JobResult]:
    """Run N sequences of quantized frames x [N, T, ...] through the bundle's C, each from its initial state.

    Raises StepcellError for an unknown backend, a missing tool, or a target without that backend.
    """
    check_backends([backend])
    jobs = [Job((lane(bundle, frames[:steps]),)) for frames, steps in zip(x, lengths, strict=True)]
    results: list[JobResult] = []
    with tempfile.TemporaryDirectory(prefix="stepcell-") as folder:
        runner = _runner(backend, bundle, Path(folder), compiler)
        for part in _parts(jobs):
            results += runner(part)
            on_part(len(results) / len(jobs))
    return results


def _parts(jobs: list[Job]) -> Iterator[list[Job]]:
    """The jobs in order, in parts of at least STEPS_AT_ONCE steps (the last may be shorter)."""
    part: list[Job] = []
    for job in jobs:
        part.append(job)
        if sum(of.lanes[0].steps for of in part) >= STEPS_AT_ONCE:
            yield part
            part = []
    if part:
        yield part


def outputs(results: list[JobResult], steps: int) -> IntArray:
    """What the C answered after every step, [N, steps, O]; zero beyond a sequence's length."""
    answers = [next(iter(result.outputs.values())) for (result,) in results]
    stored = np.zeros((len(answers), steps, answers[0].shape[1]), np.int64)
    for row, answer in zip(stored, answers, strict=True):
        row[: len(answer)] = answer
    return stored


def _runner(
    backend: str, bundle: Bundle, folder: Path, compiler: str | None
) -> Callable[[list[Job]], list[JobResult]]:
    if backend == "host":
        library = build_host([bundle], folder, compiler)
        return lambda jobs: run_host(library, jobs)
    core, board = resolve_target(bundle.target)
    if board is None:
        raise StepcellError(
            f"{bundle.name} was compiled for {core.name}, which {backend} does not emulate.",
            "validate it on the host, or compile it for a chip.",
        )
    check_emulator(backend, board)
    return emulator(backend, build_firmware([bundle], board, folder, compiler), board)


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
