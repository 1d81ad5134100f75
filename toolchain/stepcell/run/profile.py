"""Exact instructions of one step, per layer, and the cycles that a model of the core makes of them."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stepcell.build import Bundle, Call, Port
from stepcell.build.elf import Firmware
from stepcell.run.counts import NO_SITE, Counts, Marks, Watch
from stepcell.run.cycles import CycleEstimate, estimate_cycles
from stepcell.run.emulators import count, count_each, counting_emulator
from stepcell.run.jobs import Array, Job, lane
from stepcell.target import Board, CycleTable, load_core

GLUE = "glue"


@dataclass(frozen=True)
class LayerProfile:
    """One runtime call of a step: instructions and multiply-accumulates per step, modelled cycles or None.

    `varies`: the compiler made branches that depend on the data; instructions are then a mean, rounded up.
    """

    layer: str
    function: str
    instructions: int
    macs: int
    cycles: CycleEstimate | None
    varies: bool


@dataclass(frozen=True)
class Profile:
    """One step: the layers in the order of execution, then `glue` (the generated functions themselves)."""

    layers: tuple[LayerProfile, ...]

    @property
    def instructions(self) -> int:
        """Instructions of one step, exact unless `varies`."""
        return sum(layer.instructions for layer in self.layers)

    @property
    def varies(self) -> bool:
        """Whether the instructions of a step depend on the data."""
        return any(layer.varies for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one step."""
        return sum(layer.macs for layer in self.layers)

    @property
    def cycles(self) -> CycleEstimate | None:
        """Modelled cycles of one step, None where the core has no timing table."""
        parts = [layer.cycles for layer in self.layers]
        known = [part for part in parts if part is not None]
        return CycleEstimate.total(known) if len(known) == len(parts) else None


def profile_step(
    elf: Path, bundle: Bundle, board: Board, backend: str | None = None, steps: int = 4
) -> Profile:
    """Count the instructions of a step in the firmware `elf`, from runs of `steps` and of twice as many.

    `backend` is an emulator that counts; None takes the board's preferred one.
    Raises StepcellError for an unknown backend or a missing emulator, RuntimeError where the calls are not
    those of the manifest.
    """
    firmware = Firmware(elf)
    name = counting_emulator(backend, board)
    counts = _count_steps(elf, bundle, board, name, steps, _watch(firmware, bundle))
    sites = _layers_of_sites(firmware, bundle, counts)
    indices = [*range(len(bundle.calls)), len(bundle.calls)]
    calls = [*bundle.calls, Call(GLUE, f"{bundle.name}_step", 0)]
    parts = [_part(firmware, counts, {site for site, at in sites.items() if at == i}) for i in indices]
    table = load_core(board.core).cycles
    return Profile(
        tuple(_layer(firmware, call, part, steps, table) for call, part in zip(calls, parts, strict=True))
    )


def profile_each_step(
    elf: Path, bundle: Bundle, board: Board, jobs: Sequence[Job], backend: str | None = None
) -> NDArray[np.int64]:
    """The instructions of every step of the jobs, one after the other: what runs in the model's own code.

    Raises StepcellError for an unknown backend or a missing emulator.
    """
    firmware = Firmware(elf)
    address = {symbol.name: symbol.address for symbol in firmware.symbols}
    sections = (firmware.sections[name] for name in (".model_text", ".library") if name in firmware.sections)
    ranges = tuple((s.address, s.address + s.size) for s in sections if s.size)
    marks = Marks(address[f"{bundle.name}_step"], address[f"{bundle.name}_init"], ranges)
    counts = count_each(counting_emulator(backend, board), elf, board, jobs, marks)
    steps = sum(lane.steps for job in jobs for lane in job.lanes)
    if len(counts) != steps:
        raise RuntimeError(f"{len(counts)} steps of {bundle.name} were counted, but it made {steps}")
    return np.array(counts, np.int64)


def _layer(
    firmware: Firmware, call: Call, part: Counts, steps: int, table: CycleTable | None
) -> LayerProfile:
    executed = part.instructions.values()
    return LayerProfile(
        layer=call.layer,
        function=call.function,
        instructions=-(-sum(executed) // steps),
        macs=call.macs,
        cycles=None if table is None else estimate_cycles(firmware, part, table).divided(steps),
        varies=any(times % steps for times in executed),
    )


def _count_steps(elf: Path, bundle: Bundle, board: Board, backend: str, steps: int, watch: Watch) -> Counts:
    """Counts of `steps` steps: a run of twice as many, less a run of `steps`, so that the rest cancels."""
    short = count(backend, elf, board, [random_job(bundle, steps)], watch)
    return count(backend, elf, board, [random_job(bundle, 2 * steps)], watch).minus(short)


def random_job(bundle: Bundle, steps: int) -> Job:
    """Frames over the whole range of every input; a longer job starts with the frames of a shorter one."""
    random = np.random.default_rng(0)
    rows = [[_random_frame(random, port) for port in bundle.inputs] for _ in range(steps)]
    return Job((lane(bundle, *(np.stack(column) for column in zip(*rows, strict=True))),))


def _random_frame(random: np.random.Generator, port: Port) -> Array:
    limit = np.iinfo(port.dtype).max
    return random.integers(-limit, limit, port.count, endpoint=True)


def _watch(firmware: Firmware, bundle: Bundle) -> Watch:
    """The generated functions of a step; compilers may split them into parts with a suffix."""
    pattern = re.compile(rf"{bundle.name}_(step|push|read)(\..+)?")
    found = [symbol for symbol in firmware.symbols if pattern.fullmatch(symbol.name)]
    return Watch(tuple((symbol.address, symbol.address + symbol.size) for symbol in found))


def _layers_of_sites(firmware: Firmware, bundle: Bundle, counts: Counts) -> dict[int, int]:
    """Call site -> index of its call; sites that call none of the runtime's functions belong to the glue."""
    functions = {call.function for call in bundle.calls}
    made = [(site, firmware.names_at(to) & functions) for site, to in counts.sites.items()]
    calls = [(site, names) for site, names in made if names]
    expected = [call.function for call in bundle.calls]
    if len(calls) != len(expected) or any(e not in n for e, (_, n) in zip(expected, calls, strict=True)):
        found = [", ".join(sorted(names)) for _, names in calls]
        raise RuntimeError(f"a step of {bundle.name} calls {found}, but its manifest lists {expected}")
    glue = {site: len(expected) for site in (NO_SITE, *counts.sites)}
    return glue | {site: index for index, (site, _) in enumerate(calls)}


def _part(firmware: Firmware, counts: Counts, sites: set[int]) -> Counts:
    """What ran at these call sites in the model's own code and the compiler's library."""

    def is_part(site: int, pc: int) -> bool:
        return site in sites and firmware.in_section(pc, ".model_text", ".library")

    instructions = {key: n for key, n in counts.instructions.items() if is_part(*key)}
    edges = {key: n for key, n in counts.edges.items() if is_part(*key[:2])}
    return Counts(Counter(instructions), Counter(edges), counts.sizes, counts.sites)
