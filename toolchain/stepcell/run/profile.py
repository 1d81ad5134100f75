"""Exact instructions of one step, per layer, and the cycles that a model of the core makes of them."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stepcell.build import Bundle, Call, Function, Port
from stepcell.build.elf import Firmware
from stepcell.run.counts import NO_SITE, Counts, Marks, Watch
from stepcell.run.cycles import CycleEstimate, estimate_cycles
from stepcell.run.emulators import count, count_each, counting_emulator
from stepcell.run.jobs import Array, Job, Lane, Part
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
    """One step: the layers in the order of execution, then `glue` (the generated functions themselves).

    `ends` are the calls that a run makes once, at its end.
    """

    layers: tuple[LayerProfile, ...]
    ends: tuple[LayerProfile, ...] = ()

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
    elf: Path,
    bundle: Bundle,
    board: Board,
    backend: str | None = None,
    steps: int = 4,
    function: Function | None = None,
) -> Profile:
    """Count the instructions of a step in the firmware `elf`, from runs of `steps` and of twice as many.

    `backend` is an emulator that counts; None takes the board's preferred one. `function`: the only one for
    None. Raises StepcellError for an unknown backend or a missing emulator, RuntimeError where the calls are
    not those of the manifest.
    """
    firmware, called = Firmware(elf), function or bundle.main
    name = counting_emulator(backend, board)
    more = min(2 * steps, called.max_steps or 2 * steps)
    whole, counts = _count_steps(elf, bundle, called, board, name, (more // 2, more))
    steps = more - more // 2
    sites = _layers_of_sites(firmware, called, counts)
    table = load_core(board.core).cycles

    def layer(call: Call, index: int, of: Counts, times: int) -> LayerProfile:
        part = _part(firmware, of, {site for site, at in sites.items() if at == index})
        return _layer(firmware, call, part, times, table)

    first_end = len(called.calls)
    layers = [layer(call, i, counts, steps) for i, call in enumerate(called.calls)]
    ends = [layer(call, first_end + i, whole, 1) for i, call in enumerate(called.ends)]
    glue = Call(GLUE, f"{called.prefix}_{'step' if called.is_step else 'run'}", 0)
    layers.append(layer(glue, first_end + len(ends), counts, steps))
    return Profile(tuple(layers), tuple(ends))


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
    marks = Marks(address[f"{bundle.main.prefix}_step"], address[f"{bundle.name}_init"], ranges)
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


def _count_steps(
    elf: Path, bundle: Bundle, function: Function, board: Board, backend: str, steps: tuple[int, int]
) -> tuple[Counts, Counts]:
    """Counts of a run of the larger number of steps, and what it executed more than one of the smaller."""
    watch = _watch(Firmware(elf), function)
    short, long = (count(backend, elf, board, [random_job(bundle, n, function)], watch) for n in steps)
    return long, long.minus(short)


def random_job(bundle: Bundle, steps: int, function: Function | None = None) -> Job:
    """Frames over the whole range of every input; a longer job starts with the frames of a shorter one."""
    random = np.random.default_rng(0)
    called = function or bundle.main
    rows = [[_random_frame(random, port) for port in called.inputs] for _ in range(steps)]
    inputs = {
        port.name: np.array([row[i] for row in rows], port.dtype).reshape(steps, port.count)
        for i, port in enumerate(called.inputs)
    }
    return Job((Lane(bundle, (Part(called, inputs),)),))


def _random_frame(random: np.random.Generator, port: Port) -> Array:
    limit = np.iinfo(port.dtype).max
    return random.integers(-limit, limit, port.count, endpoint=True)


def _watch(firmware: Firmware, function: Function) -> Watch:
    """The generated functions of a step; compilers may split them into parts with a suffix."""
    pattern = re.compile(rf"{function.prefix}_(step|push|read|run|finish|stage_\w+)(\..+)?")
    found = [symbol for symbol in firmware.symbols if pattern.fullmatch(symbol.name)]
    return Watch(tuple((symbol.address, symbol.address + symbol.size) for symbol in found))


def _layers_of_sites(firmware: Firmware, function: Function, counts: Counts) -> dict[int, int]:
    """Call site -> index of its call; sites that call none of the runtime's functions belong to the glue."""
    expected = [call.function for call in (*function.calls, *function.ends)]
    made = [(site, firmware.names_at(to) & set(expected)) for site, to in counts.sites.items()]
    calls = [(site, names) for site, names in made if names]
    if len(calls) != len(expected) or any(e not in n for e, (_, n) in zip(expected, calls, strict=True)):
        found = [", ".join(sorted(names)) for _, names in calls]
        raise RuntimeError(f"a step of {function.prefix} calls {found}, but its manifest lists {expected}")
    glue = {site: len(expected) for site in (NO_SITE, *counts.sites)}
    return glue | {site: index for index, (site, _) in enumerate(calls)}


def _part(firmware: Firmware, counts: Counts, sites: set[int]) -> Counts:
    """What ran at these call sites in the model's own code and the compiler's library."""

    def is_part(site: int, pc: int) -> bool:
        return site in sites and firmware.in_section(pc, ".model_text", ".library")

    instructions = {key: n for key, n in counts.instructions.items() if is_part(*key)}
    edges = {key: n for key, n in counts.edges.items() if is_part(*key[:2])}
    return Counts(Counter(instructions), Counter(edges), counts.sizes, counts.sites)
