"""What a bundle costs on its target: instructions, modelled cycles, flash and RAM, layer by layer."""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepcell.build import build_firmware, load_bundle, measure_flash
from stepcell.build.bundle import Bundle, Function
from stepcell.errors import StepcellError
from stepcell.ir.sequences import load_sequences_for
from stepcell.report.distribution import Distribution, measure_distribution
from stepcell.run import (
    Job,
    Kind,
    LayerProfile,
    Profile,
    counting_emulator,
    emulator,
    lane_of,
    profile_step,
    worst_stack,
)
from stepcell.target import Board, resolve_target
from stepcell.validate import OnStage, open_bundle


@dataclass(frozen=True)
class Cost:
    """Exact counts of a step of every function, and the memory of the bundle, as in `profile --json`."""

    profiles: dict[str, Profile]
    text_bytes: int
    rodata_bytes: int
    state_bytes: int
    stack_bytes: int
    distribution: Distribution | None = None
    """Over a data set, where one was given."""

    @property
    def profile(self) -> Profile:
        """Of the only function."""
        (profile,) = self.profiles.values()
        return profile

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; bytes and instructions of one step."""
        described = [{"name": name, **_described(profile)} for name, profile in self.profiles.items()]
        memory = {
            "flash_bytes": {
                "text": self.text_bytes,
                "rodata": self.rodata_bytes,
                "total": self.text_bytes + self.rodata_bytes,
            },
            "ram_bytes": {
                "state": self.state_bytes,
                "stack": self.stack_bytes,
                "total": self.state_bytes + self.stack_bytes,
            },
        }
        if len(described) > 1:
            return {**memory, "functions": described}
        found = _described(self.profile)
        layers = {key: found.pop(key) for key in tuple(found) if key.startswith("layers")}
        more = {} if self.distribution is None else {"distribution": self.distribution.to_json()}
        return {**found, **memory, **layers, **more}


def _described(profile: Profile) -> dict[str, Any]:
    """One step of a function; of a run, what its end takes, too."""
    instructions, macs, cycles = profile.instructions, profile.macs, profile.cycles
    found = {
        "instructions_per_step": instructions,
        "macs_per_step": macs,
        "instructions_per_mac": instructions / macs if macs else None,
        "cycles_per_step": None if cycles is None else asdict(cycles),
        "layers": [_layer(layer) for layer in profile.layers],
    }
    if profile.ends:
        found["instructions_at_the_end"] = sum(layer.instructions for layer in profile.ends)
        found["layers_at_the_end"] = [_layer(layer) for layer in profile.ends]
    return found


def _layer(layer: LayerProfile) -> dict[str, Any]:
    cycles = None if layer.cycles is None else asdict(layer.cycles)
    return {
        "layer": layer.layer,
        "function": layer.function,
        "instructions": layer.instructions,
        "macs": layer.macs,
        "cycles": cycles,
    }


def profile_bundle(
    folder: Path,
    backend: str | None = None,
    compiler: str | None = None,
    data: Path | None = None,
    on_stage: OnStage = lambda *_: None,
) -> Cost:
    """Build the bundle's firmware; count a step on random frames, and every step of `data`, in an emulator.

    A step costs the same whatever the data, but with delta, of which random frames skip almost nothing.
    Raises StepcellError for a host bundle, an unknown backend or a missing tool.
    """
    bundle = load_bundle(folder)
    core, board = resolve_target(bundle.target)
    if board is None:
        raise StepcellError(
            f"{bundle.name} was compiled for {core.name}, whose instructions are not counted.",
            "compile it for a chip: `stepcell targets` lists them.",
        )
    name = counting_emulator(backend, board)
    files = None if data is None else open_bundle(folder)
    sequences = None if files is None or data is None else load_sequences_for(data, files.qmodel.functions)
    on_stage("build and count", 0.0)
    with tempfile.TemporaryDirectory(prefix="stepcell-") as temporary:
        elf = build_firmware([bundle], board, Path(temporary), compiler)
        profiles = {f.name: profile_step(elf, bundle, board, name, function=f) for f in bundle.functions}
        flash = measure_flash(elf)
        stack = _measure_stack(elf, bundle, board, name)
        distribution = None
        if files is not None and sequences is not None:
            distribution = measure_distribution(elf, files, board, name, sequences, on_stage)
    return Cost(profiles, flash.text, flash.rodata, bundle.state_bytes, stack, distribution)


def _measure_stack(elf: Path, bundle: Bundle, board: Board, backend: str) -> int:
    job = Job((lane_of(bundle, [_zeros(function) for function in bundle.functions]),), Kind.STACK)
    return worst_stack(emulator(backend, elf, board)([job]))


def _zeros(function: Function) -> list[NDArray[np.int64]]:
    """Two frames of every input."""
    steps = min(2, function.max_steps or 2)
    return [np.zeros((steps, port.count), np.int64) for port in function.inputs]
