"""What a bundle costs on its target: instructions, modelled cycles, flash and RAM, layer by layer."""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stepcell.build import build_firmware, load_bundle, measure_flash
from stepcell.build.bundle import Bundle
from stepcell.errors import StepcellError
from stepcell.ir.sequences import load_sequences
from stepcell.report.distribution import Distribution, measure_distribution
from stepcell.run import (
    Job,
    Kind,
    LayerProfile,
    Profile,
    counting_emulator,
    emulator,
    lane,
    profile_step,
    worst_stack,
)
from stepcell.target import Board, resolve_target
from stepcell.validate import open_bundle
from stepcell.validate.validate import OnStage


@dataclass(frozen=True)
class Cost:
    """Exact counts of one step, and the memory of the bundle; the fields are those of `profile --json`."""

    profile: Profile
    text_bytes: int
    rodata_bytes: int
    state_bytes: int
    stack_bytes: int
    distribution: Distribution | None = None
    """Over a data set, where one was given."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; bytes and instructions of one step."""
        instructions, macs, cycles = self.profile.instructions, self.profile.macs, self.profile.cycles
        return {
            "instructions_per_step": instructions,
            "macs_per_step": macs,
            "instructions_per_mac": instructions / macs if macs else None,
            "cycles_per_step": None if cycles is None else asdict(cycles),
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
            "layers": [_layer(layer) for layer in self.profile.layers],
            **({} if self.distribution is None else {"distribution": self.distribution.to_json()}),
        }


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
    sequences = None if files is None or data is None else load_sequences(data, files.inputs)
    on_stage("build and count", 0.0)
    with tempfile.TemporaryDirectory(prefix="stepcell-") as temporary:
        elf = build_firmware([bundle], board, Path(temporary), compiler)
        profile = profile_step(elf, bundle, board, name)
        flash = measure_flash(elf)
        stack = _measure_stack(elf, bundle, board, name)
        distribution = None
        if files is not None and sequences is not None:
            distribution = measure_distribution(elf, files, board, name, sequences, on_stage)
    return Cost(profile, flash.text, flash.rodata, bundle.state_bytes, stack, distribution)


def _measure_stack(elf: Path, bundle: Bundle, board: Board, backend: str) -> int:
    frames = [np.zeros((2, port.count), np.int64) for port in bundle.inputs]
    job = Job((lane(bundle, *frames),), Kind.STACK)
    return worst_stack(emulator(backend, elf, board)([job]))
