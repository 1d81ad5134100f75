"""A bundle of generated C as its `manifest.json` describes it."""

import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stepcell.errors import StepcellError

# Frames on the wire and in the harness start each input and output at a multiple of this.
ALIGNMENT_BYTES = 4


@dataclass(frozen=True)
class Port:
    """One input or output of a step: `count` values of `dtype`, at byte `offset` of a frame."""

    name: str
    dtype: np.dtype[Any]
    count: int
    offset: int

    @property
    def bytes(self) -> int:
        """Bytes of one frame of it."""
        return self.count * self.dtype.itemsize


Field = Port
"""A named part of the state, at byte `offset` of the state's struct."""


@dataclass(frozen=True)
class Call:
    """One runtime call of a step, in the order of execution."""

    layer: str
    function: str
    macs: int


@dataclass(frozen=True)
class Bundle:
    """Generated C of one model in `folder`, and the layout of its inputs, outputs and state."""

    folder: Path
    name: str
    target: str
    sources: tuple[str, ...]
    include_dirs: tuple[str, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    state_bytes: int
    state_fields: tuple[Field, ...]
    calls: tuple[Call, ...]

    @property
    def id(self) -> int:
        """The number that stands for the model in the harness protocol."""
        return zlib.crc32(self.name.encode())

    @property
    def x_bytes(self) -> int:
        """Bytes of a frame of inputs, each input aligned."""
        return _frame_bytes(self.inputs)

    @property
    def y_bytes(self) -> int:
        """Bytes of a frame of outputs, each output aligned."""
        return _frame_bytes(self.outputs)


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle's manifest.

    Raises StepcellError where there is no manifest, a key of it is missing or wrong, or a C file is.
    """
    path = folder / "manifest.json"
    try:
        bundle = _bundle(folder, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise StepcellError(
            f"{folder} has no manifest.json.", "Name a folder that `stepcell compile` wrote."
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise StepcellError(
            f"{path} is not a manifest that this version reads: {type(error).__name__} {error}.",
            "Compile the model again.",
        ) from error
    missing = [source for source in bundle.sources if not (folder / source).is_file()]
    if missing:
        raise StepcellError(f"{folder} lacks {', '.join(missing)}.", "Compile the model again.")
    return bundle


def _bundle(folder: Path, data: dict[str, Any]) -> Bundle:
    if not re.fullmatch(r"[A-Za-z_]\w*", data["name"]):
        raise ValueError(f"name {data['name']!r} is no C identifier")
    return Bundle(
        folder=folder.resolve(),
        name=data["name"],
        target=data["target"],
        sources=tuple(data["sources"]),
        include_dirs=tuple(data["include_dirs"]),
        inputs=_ports(data["inputs"]),
        outputs=_ports(data["outputs"]),
        state_bytes=int(data["state"]["bytes"]),
        state_fields=tuple(_port(field, int(field["offset"])) for field in data["state"]["fields"]),
        calls=tuple(Call(c["layer"], c["function"], int(c["macs"])) for c in data["calls"]),
    )


def _ports(items: list[dict[str, Any]]) -> tuple[Port, ...]:
    ports: list[Port] = []
    for item in items:
        ports.append(_port(item, _frame_bytes(tuple(ports))))
    return tuple(ports)


def _port(item: dict[str, Any], offset: int) -> Port:
    if item["dtype"] not in ("int8", "int16", "int32"):
        raise ValueError(f"dtype {item['dtype']!r} of {item['name']}")
    return Port(item["name"], np.dtype(item["dtype"]).newbyteorder("<"), int(item["count"]), offset)


def _frame_bytes(ports: tuple[Port, ...]) -> int:
    if not ports:
        return 0
    end = ports[-1].offset + ports[-1].bytes
    return -(-end // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
