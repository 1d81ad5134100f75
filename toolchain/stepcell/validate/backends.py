"""The generated C on the host and on emulated chips, compared with the integer reference value by value."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from stepcell.build import Bundle, build_firmware, build_host
from stepcell.errors import StepcellError
from stepcell.ir.qmodel import IntArray, QModel
from stepcell.reference.integer_data import Feed
from stepcell.reference.integer_model import IntegerRun
from stepcell.run import (
    EMULATORS,
    Job,
    JobResult,
    Lane,
    LaneResult,
    check_emulator,
    emulator,
    lane_of,
    run_host,
    split_state,
)
from stepcell.run.jobs import Array
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


def lanes(bundle: Bundle, feeds: Mapping[str, Feed]) -> list[Lane]:
    """One lane for each of N sequences, which every function of the model is fed in order.

    Raises StepcellError for a sequence that is longer than the bundle was compiled for.
    """
    in_order = list(feeds.values())
    count = len(in_order[0].lengths)
    return [
        lane_of(
            bundle,
            [[array[i, : feed.lengths[i]] for array in feed.inputs.values()] for feed in in_order],
        )
        for i in range(count)
    ]


def run_backend(
    backend: str,
    bundle: Bundle,
    feeds: Mapping[str, Feed],
    compiler: str | None = None,
    on_part: OnPart = lambda _: None,
) -> list[JobResult]:
    """Run N sequences of quantized frames through the bundle's C, each from its initial state.

    Raises StepcellError for an unknown backend, a missing tool, or a target without that backend.
    """
    check_backends([backend])
    jobs = [Job((one,)) for one in lanes(bundle, feeds)]
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
        if sum(of.steps for of in part) >= STEPS_AT_ONCE:
            yield part
            part = []
    if part:
        yield part


def outputs(
    bundle: Bundle, qmodel: QModel, results: list[JobResult], feeds: Mapping[str, Feed]
) -> dict[str, dict[str, IntArray]]:
    """What the C of every function answered, by the names of the model and laid out as `IntegerRun`'s.

    [N, T, ...] of every step, [N, 1, ...] of a run's end; zero beyond a sequence's length.
    """
    found: dict[str, dict[str, IntArray]] = {}
    for number, function in enumerate(qmodel.functions):
        steps = next(iter(feeds[function.name].inputs.values())).shape[1]
        ports = zip(function.outputs, bundle.functions[number].outputs, strict=True)
        found[function.name] = {
            output.value.name: _stacked(
                [result.parts[number].outputs[port.name] for (result,) in results],
                1 if output.finished and not function.is_step else steps,
                output.value.shape,
            )
            for output, port in ports
        }
    return found


def _stacked(answers: list[Array], rows: int, shape: tuple[int, ...]) -> IntArray:
    """Answers [steps of each, size] as [N, rows, *shape]."""
    stored = np.zeros((len(answers), rows, answers[0].shape[1]), np.int64)
    for row, answer in zip(stored, answers, strict=True):
        row[: len(answer)] = answer
    return stored.reshape(len(answers), rows, *shape)


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


def mismatches(
    bundle: Bundle, results: list[JobResult], runs: Mapping[str, IntegerRun], feeds: Mapping[str, Feed]
) -> int:
    """How many values (every state and output after every valid step) differ from the reference."""
    each = zip(runs.values(), feeds.values(), strict=True)
    return sum(
        _wrong_in_part(bundle, number, result, run, i, int(feed.lengths[i]))
        for number, (run, feed) in enumerate(each)
        for i, (result,) in enumerate(results)
    )


def _wrong_in_part(
    bundle: Bundle, number: int, result: LaneResult, run: IntegerRun, sequence: int, steps: int
) -> int:
    """Of what one function made of one sequence."""
    part = result.parts[number]
    states = split_state(bundle, part.states)
    found = [states[name] for name in run.states]
    found += [part.outputs[port.name] for port in bundle.functions[number].outputs]
    wanted = (*run.states.values(), *run.outputs.values())
    return sum(_differing(a, b[sequence, :steps]) for a, b in zip(found, wanted, strict=True))


def session_mismatches(
    found: Mapping[str, tuple[Mapping[str, IntArray], Mapping[str, IntArray]]],
    runs: Mapping[str, IntegerRun],
    feeds: Mapping[str, Feed],
) -> int:
    """The same count for (outputs, states) of each function, laid out as `IntegerRun`'s."""
    wrong = 0
    for name, (outputs, states) in found.items():
        run = runs[name]
        pairs = [(outputs[key], array) for key, array in run.outputs.items()]
        pairs += [(states[key], array) for key, array in run.states.items()]
        for i, steps in enumerate(feeds[name].lengths):
            wrong += sum(_differing(array[i, :steps], other[i, :steps]) for array, other in pairs)
    return wrong


def values_compared(runs: Mapping[str, IntegerRun], feeds: Mapping[str, Feed]) -> int:
    """States and outputs of every valid step, or of a run's end."""
    return sum(
        int(np.minimum(feeds[name].lengths, array.shape[1]).sum()) * _width(array)
        for name, run in runs.items()
        for array in (*run.states.values(), *run.outputs.values())
    )


def _width(array: IntArray) -> int:
    return int(np.prod(array.shape[2:], dtype=np.int64))


def _differing(found: IntArray, wanted: IntArray) -> int:
    return int((found.reshape(len(found), -1) != wanted.reshape(len(wanted), -1)).sum())
