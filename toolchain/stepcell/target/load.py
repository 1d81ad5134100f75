"""Read cores and boards from `targets/`, and find them by name."""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from stepcell.errors import StepcellError
from stepcell.paths import targets_dir
from stepcell.target.model import Board, Core, Cycles, CycleTable

_CYCLE_CLASSES = frozenset(
    (
        *("other", "load", "store_immediate", "store_register", "pair", "load_pipelined_saving"),
        *("multiple_base", "multiple_each", "pop_pc_extra", "divide", "if_then", "system"),
        *("multiply", "multiply_accumulate", "multiply_long", "multiply_accumulate_long"),
        *("table_branch", "branch_link", "branch_exchange"),
        *("taken_extra", "taken_link_extra", "taken_indirect_extra", "taken_unaligned_extra"),
        *("float_multiply_accumulate", "float_divide"),
    )
)


def list_targets() -> tuple[Core, ...]:
    """All cores, `host` first, then by name.

    Raises StepcellError where a target file is malformed.
    """
    cores = [load_core(name) for name in _names("cores")]
    return tuple(sorted(cores, key=lambda core: (not core.is_host, core.name)))


def load_core(name: str) -> Core:
    """The core called `name`.

    Raises StepcellError for an unknown name (listing the known ones) or a malformed file.
    """
    path = _find("cores", name, _names("cores"))
    data = _read(path)
    cycles = data.pop("cycles", None)
    for key in ("gcc_flags", "kernels"):
        if key in data:
            data[key] = tuple(data[key])
    data["cycles"] = None if cycles is None else _cycle_table(path, cycles)
    if data.get("costs_of"):
        data["costs"] = load_core(data["costs_of"]).costs
    _check_keys(path, data, Core)
    return Core(name=name, **data)


def load_board(name: str) -> Board:
    """The board called `name`.

    Raises StepcellError for an unknown name (listing the known ones) or a malformed file.
    """
    path = _find("boards", name, _names("boards"))
    data = _read(path)
    data["qemu_options"] = tuple(data.get("qemu_options", ()))
    _check_keys(path, data, Board)
    return Board(name=name, **data)


def board_for(core: Core) -> Board:
    """The board that stands for a core when only the core was named.

    Raises StepcellError where the core has none (the host).
    """
    for name in _names("boards"):
        board = load_board(name)
        if board.core == core.name:
            return board
    raise StepcellError(
        f"Core {core.name} has no board to build firmware for.",
        "Name a core that has one: `stepcell targets` lists them.",
    )


def resolve_target(name: str) -> tuple[Core, Board | None]:
    """The core and board that `name` (a core, a board or `host`) stands for; the host has no board.

    Raises StepcellError for an unknown name, with the nearest known one.
    """
    if name in _names("boards"):
        board = load_board(name)
        return load_core(board.core), board
    _find("cores", name, _names("cores") + _names("boards"))
    core = load_core(name)
    return core, None if core.is_host else board_for(core)


def _names(kind: str) -> list[str]:
    return sorted(path.stem for path in (targets_dir() / kind).glob("*.toml"))


def _find(kind: str, name: str, known: list[str]) -> Path:
    if name in known:
        return targets_dir() / kind / f"{name}.toml"
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"Did you mean {nearest[0]!r}?" if nearest else "`stepcell targets` describes them."
    raise StepcellError(f"Target {name!r} is unknown; known are {', '.join(known)}.", hint)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise StepcellError(
            f"{_short(path)} is not valid TOML: {error}.", "Correct the file at that line."
        ) from error


def _check_keys(path: Path, data: Mapping[str, Any], kind: type[Core] | type[Board]) -> None:
    known = {field.name for field in fields(kind)} - {"name"}
    optional = {f.name for f in fields(kind) if not (f.default is MISSING and f.default_factory is MISSING)}
    unknown = sorted(set(data) - known)
    missing = sorted(known - optional - set(data))
    if unknown or missing:
        raise StepcellError(
            f"{_short(path)} has unknown keys {unknown} and lacks {missing}.",
            f"Allowed keys are {', '.join(sorted(known))}.",
        )


def _cycle_table(path: Path, data: dict[str, Any]) -> CycleTable:
    source = data.pop("source", "")
    costs = {kind: _cycles(path, kind, value) for kind, value in data.items()}
    unknown = sorted(set(costs) - _CYCLE_CLASSES)
    if unknown or "other" not in costs or not source:
        raise StepcellError(
            f"{_short(path)}: the [cycles] table has unknown classes {unknown} or lacks `source` or `other`.",
            f"Allowed classes are {', '.join(sorted(_CYCLE_CLASSES))}.",
        )
    return CycleTable(source, costs)


def _cycles(path: Path, kind: str, value: object) -> Cycles:
    match value:
        case [int(low), int(estimate), int(high)]:
            return low, estimate, high
    raise StepcellError(
        f"{_short(path)}: cycles.{kind} is {value!r}; allowed is [low, estimate, high].",
        "Give three integers.",
    )


def _short(path: Path) -> str:
    return f"targets/{path.parent.name}/{path.name}"
