"""A bundle of generated C as its `manifest.json` describes it."""

import json
import re
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stepcell.errors import StepcellError

# Frames on the wire and in the harness start each input and output at a multiple of this.
ALIGNMENT_BYTES = 4


@dataclass(frozen=True)
class Port:
    """One input or output of a call: `rows` times `count` values of `dtype`, at byte `offset` of a frame.

    A step has one row of each; a run one for every step that there may be, but of `finished` outputs.
    """

    name: str
    dtype: np.dtype[Any]
    count: int
    offset: int
    rows: int = 1
    finished: bool = False

    @property
    def bytes(self) -> int:
        """Bytes of one frame of it."""
        return self.rows * self.count * self.dtype.itemsize


Field = Port
"""A named part of the state, at byte `offset` of the state's struct."""


@dataclass(frozen=True)
class Call:
    """One runtime call of a step, in the order of execution."""

    layer: str
    function: str
    macs: int


@dataclass(frozen=True)
class Function:
    """What can be called, and the layout of a call's frames; a run's begin with the number of its steps.

    `prefix` begins its C names; `max_steps` is None for a step. `ends` are the calls that a run makes once.
    """

    name: str
    prefix: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    calls: tuple[Call, ...]
    max_steps: int | None = None
    ends: tuple[Call, ...] = ()

    @property
    def is_step(self) -> bool:
        """Whether it is called a step at a time."""
        return self.max_steps is None

    @property
    def x_bytes(self) -> int:
        """Bytes of a frame of inputs, each input aligned."""
        return _end(self.inputs, _first_offset(self.max_steps))

    @property
    def y_bytes(self) -> int:
        """Bytes of a frame of outputs, each output aligned."""
        return _end(self.outputs, 0)


@dataclass(frozen=True)
class Bundle:
    """Generated C of one model in `folder`, and the layout of its inputs, outputs and state."""

    folder: Path
    name: str
    target: str
    sources: tuple[str, ...]
    include_dirs: tuple[str, ...]
    functions: tuple[Function, ...]
    state_bytes: int
    state_fields: tuple[Field, ...]
    has_buffers: bool = False
    """Whether the state holds what stages of a run leave for later ones; the self-test then takes a state."""

    @property
    def id(self) -> int:
        """The number that stands for the model in the harness protocol."""
        return zlib.crc32(self.name.encode())

    @property
    def main(self) -> Function:
        """The only function of a model that has one."""
        if len(self.functions) != 1:
            raise ValueError(f"{self.name} has {len(self.functions)} functions")
        return self.functions[0]

    @property
    def inputs(self) -> tuple[Port, ...]:
        """Those of the only function."""
        return self.main.inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        """Those of the only function."""
        return self.main.outputs

    @property
    def calls(self) -> tuple[Call, ...]:
        """Those of a step of the only function."""
        return self.main.calls


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
        functions=_functions(data),
        state_bytes=int(data["state"]["bytes"]),
        state_fields=tuple(_port(field, int(field["offset"])) for field in data["state"]["fields"]),
        has_buffers=any(field.get("buffer", False) for field in data["state"]["fields"]),
    )


def _functions(data: dict[str, Any]) -> tuple[Function, ...]:
    """Those that the manifest lists; a model with one describes it in its own keys."""
    if "functions" not in data:
        return (_function(data, "main", data["name"]),)
    return tuple(
        _function(item, item["name"], f"{data['name']}_{item['name']}") for item in data["functions"]
    )


def _function(item: dict[str, Any], name: str, prefix: str) -> Function:
    max_steps = int(item["max_steps"]) if "max_steps" in item else None
    return Function(
        name=name,
        prefix=prefix,
        inputs=_ports(item["inputs"], max_steps, _first_offset(max_steps)),
        outputs=_ports(item["outputs"], max_steps, 0),
        calls=_calls(item["calls"]),
        max_steps=max_steps,
        ends=_calls(item.get("calls_at_the_end", [])),
    )


def _calls(items: list[dict[str, Any]]) -> tuple[Call, ...]:
    return tuple(Call(c["layer"], c["function"], int(c["macs"])) for c in items)


def _ports(items: list[dict[str, Any]], max_steps: int | None, offset: int) -> tuple[Port, ...]:
    ports: list[Port] = []
    for item in items:
        finished = bool(item.get("finished", False))
        rows = 1 if finished or max_steps is None else max_steps
        port = replace(_port(item, _end(tuple(ports), offset)), rows=rows, finished=finished)
        ports.append(port)
    return tuple(ports)


def _port(item: dict[str, Any], offset: int) -> Port:
    if item["dtype"] not in ("int8", "int16", "int32"):
        raise ValueError(f"dtype {item['dtype']!r} of {item['name']}")
    return Port(item["name"], np.dtype(item["dtype"]).newbyteorder("<"), int(item["count"]), offset)


def _first_offset(max_steps: int | None) -> int:
    """A run's frame begins with a word, how many steps it has."""
    return 0 if max_steps is None else ALIGNMENT_BYTES


def _end(ports: tuple[Port, ...], start: int) -> int:
    """Where the next port may begin."""
    end = ports[-1].offset + ports[-1].bytes if ports else start
    return -(-end // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
