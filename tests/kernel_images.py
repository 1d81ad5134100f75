"""Matrix kernels run on a board: the tables of many cases in one image, exact answers and counts of each."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepcell.build import Bundle, build_firmware, load_bundle
from stepcell.build.elf import Firmware
from stepcell.build.image import render
from stepcell.ir.qmodel import IntArray
from stepcell.lower.kernels import Kernel, Packed
from stepcell.paths import runtime_dir
from stepcell.run import CycleEstimate, Job, lane
from stepcell.run.counts import Counts, Watch
from stepcell.run.cycles import estimate_cycles
from stepcell.run.emulators import COUNTING, count, emulator, emulators_of
from stepcell.target import Board, Core, CycleTable, load_board, load_core

NAME = "kernels"
POISON = -1515870811
CODE_BYTES = 24 * 1024  # of flash, for the kernels and the harness
CALL_BYTES = 192
_HEADER = """\
#ifndef KERNELS_H
#define KERNELS_H
#include <stdint.h>
typedef struct kernels_state {
    uint32_t last;
} kernels_state;
void kernels_init(kernels_state *state);
void kernels_step(kernels_state *state, const int16_t *number, const uint8_t *x, int32_t *acc,
                  int32_t *clobbered);
int kernels_selftest(void);
#endif
"""


@dataclass(frozen=True, eq=False)
class KernelCase:
    """acc [rows] = starts [rows] + weights [rows, cols] x [cols].

    `pass_rows`: how many rows each call of the kernel computes; 0: one call computes all.
    """

    kernel: Kernel
    weights: IntArray
    starts: IntArray
    x: IntArray
    pass_rows: int = 0

    @property
    def expected(self) -> IntArray:
        """The answer by numpy."""
        return self.starts.astype(np.int64) + self.weights.astype(np.int64) @ self.x.astype(np.int64)


@dataclass(frozen=True, eq=False)
class KernelResult:
    """What a kernel answered, and what it took.

    instructions: from the kernel's first to its return, those of functions that it calls too; 0 if none were
    counted. cycles: what the core's timing table makes of them, if asked for. table_bytes: of flash.
    """

    acc: IntArray
    instructions: int
    cycles: CycleEstimate | None
    table_bytes: int


@dataclass(frozen=True, eq=False)
class _Call:
    """A case as an image holds it: padded and packed."""

    case: KernelCase
    packed: Packed
    x: NDArray[Any]
    rows: int

    @property
    def table_bytes(self) -> int:
        """Bytes of its tables."""
        columns = 0 if self.packed.columns is None else self.packed.columns.nbytes
        return self.packed.words.nbytes + columns + self.packed.start.nbytes


def run_kernels(
    board_name: str,
    cases: Sequence[KernelCase],
    folder: Path,
    compiler: str | None = None,
    backend: str | None = None,
    cycles: bool = False,
    kernel_folder: str | None = None,
) -> list[KernelResult]:
    """Run cases on a board, in as many images as its flash needs; builds in `folder`.

    `backend` is an emulator of the board, None the one that counts fastest; `kernel_folder` a folder of
    runtime_c/src, None that of the board's core.
    AssertionError where a kernel writes more rows than it was asked for, or does not preserve registers.
    """
    board = load_board(board_name)
    core = load_core(board.core)
    own = core.kernel_folder if kernel_folder is None else kernel_folder
    results: list[KernelResult] = []
    for number, calls in enumerate(_images([_call(case) for case in cases], board)):
        image = folder / f"image{number}"
        bundle = _write_bundle(calls, core, own, image / "bundle")
        elf = build_firmware([bundle], board, image, compiler)
        table = core.cycles if cycles else None
        results += _run_image(elf, bundle, board, calls, backend or fastest_emulator(board), table)
    return results


def fastest_emulator(board: Board) -> str:
    """The emulator that takes least time to run and count; one that cannot count where none can."""
    names = emulators_of(board)
    return ([name for name in names if name in COUNTING] or [*names])[-1]


def fits_kernel(case: KernelCase) -> bool:
    """Whether the kernel is exact for the case."""
    return case.kernel.fits(*_padded(case))


def fits_board(case: KernelCase, board: Board) -> bool:
    """Whether the board's flash holds the tables of a case."""
    return _call(case).table_bytes + CALL_BYTES <= _room(board)


def _room(board: Board) -> int:
    """Bytes of flash for tables and calls; some cores read tables in a part of it only."""
    return (board.near_flash_bytes or board.flash_bytes) - CODE_BYTES


def _call(case: KernelCase) -> _Call:
    kernel = case.kernel
    weights, starts = _padded(case)
    rows, cols = weights.shape
    x = np.pad(case.x, (0, cols - len(case.x))).astype(np.dtype(kernel.vector.removesuffix("_t")))
    return _Call(case, kernel.pack(weights, starts), x, rows)


def _padded(case: KernelCase) -> tuple[IntArray, IntArray]:
    """Weights and starts with zeros up to whole row groups and to the columns read at once."""
    rows, cols = case.weights.shape
    more_rows, more_cols = -rows % case.kernel.rows, -cols % case.kernel.multiple
    return np.pad(case.weights, ((0, more_rows), (0, more_cols))), np.pad(case.starts, (0, more_rows))


def _images(calls: Sequence[_Call], board: Board) -> Iterator[list[_Call]]:
    """As many calls as fit into the board's flash, then the next ones."""
    room = _room(board)
    part: list[_Call] = []
    used = 0
    for call in calls:
        size = call.table_bytes + CALL_BYTES
        assert size <= room, f"{size} bytes of tables do not fit into {board.name}"
        if part and used + size > room:
            yield part
            part, used = [], 0
        part.append(call)
        used += size
    if part:
        yield part


def _run_image(
    elf: Path, bundle: Bundle, board: Board, calls: Sequence[_Call], backend: str, table: CycleTable | None
) -> list[KernelResult]:
    jobs = [_job(bundle, number, call) for number, call in enumerate(calls)]
    answers = [answer for (answer,) in emulator(backend, elf, board)(jobs)]
    firmware = Firmware(elf)
    parts: list[Counts | None] = [None] * len(calls)
    if backend in COUNTING:
        parts = [*_counts_of_calls(firmware, calls, count(backend, elf, board, jobs, _watch(firmware)))]
    results = []
    for call, part, answer in zip(calls, parts, answers, strict=True):
        name, acc = call.case.kernel.name, answer.outputs["acc"][0]
        assert (acc[call.rows :] == POISON).all(), f"{name} wrote more than {call.rows} rows"
        assert answer.outputs["clobbered"][0, 0] == 0, f"{name} does not preserve a register"
        results.append(_result(call, acc, firmware, part, table))
    return results


def _result(
    call: _Call, acc: IntArray, firmware: Firmware, part: Counts | None, table: CycleTable | None
) -> KernelResult:
    return KernelResult(
        acc=acc[: len(call.case.starts)].astype(np.int64),
        instructions=0 if part is None else sum(part.instructions.values()),
        cycles=None if part is None or table is None else estimate_cycles(firmware, part, table),
        table_bytes=call.table_bytes,
    )


def _job(bundle: Bundle, number: int, call: _Call) -> Job:
    x = np.zeros((1, bundle.inputs[1].count), np.int8)
    x[0, : call.x.nbytes] = call.x.view(np.int8)
    return Job((lane(bundle, np.array([[number]], np.int16), x),))


def _watch(firmware: Firmware) -> Watch:
    """The functions that make the calls: one object's, so one range."""
    callers = [symbol for symbol in firmware.symbols if symbol.name.startswith("case_")]
    return Watch(((min(s.address for s in callers), max(s.address + s.size for s in callers)),))


def _counts_of_calls(firmware: Firmware, calls: Sequence[_Call], counts: Counts) -> list[Counts]:
    """Of each case what ran between its calls of the kernel and their returns."""
    kernels = {call.case.kernel.name for call in calls}
    sites = [site for site, to in counts.sites.items() if firmware.names_at(to) & kernels]
    parts = [Counts(Counter(), Counter(), counts.sizes, {}) for _ in calls]
    part_of = {site: parts[int(firmware.function_at(site).split("_")[1])] for site in sites}
    for instruction, times in counts.instructions.items():
        if instruction[0] in part_of:
            part_of[instruction[0]].instructions[instruction] = times
    for edge, times in counts.edges.items():
        if edge[0] in part_of:
            part_of[edge[0]].edges[edge] = times
    return parts


def _write_bundle(calls: Sequence[_Call], core: Core, own: str, folder: Path) -> Bundle:
    """A bundle of one model, whose step makes the call that its first input numbers."""
    shutil.rmtree(folder, ignore_errors=True)
    runtime = _copy_runtime({call.case.kernel.name for call in calls}, own, folder)
    x_bytes = -(-max(call.x.nbytes for call in calls) // 16) * 16
    values = [_template_values(call) for call in calls]
    source = render(Path(__file__).with_suffix(".c.j2"), cases=values, x_bytes=x_bytes, poison=POISON)
    (folder / "kernels.h").write_text(_HEADER)
    (folder / "kernels.c").write_text(source)
    shutil.copy(Path(__file__).with_name("kernel_guard.S"), folder)
    number = {"name": "number", "dtype": "int16", "count": 1}
    acc = {"name": "acc", "dtype": "int32", "count": max(call.rows for call in calls)}
    manifest = {
        "name": NAME,
        "target": core.name,
        "sources": ["kernels.c", "kernel_guard.S", *runtime],
        "include_dirs": [".", "stepcell"],
        "inputs": [number, {"name": "x", "dtype": "int8", "count": x_bytes}],
        "outputs": [acc, {"name": "clobbered", "dtype": "int32", "count": 1}],
        "state": {"bytes": 4, "fields": [{"name": "last", "dtype": "int32", "count": 1, "offset": 0}]},
        "calls": [],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return load_bundle(folder)


def _copy_runtime(kernels: set[str], own: str, folder: Path) -> list[str]:
    """Copy the portable kernels, and those of folder `own` beside them; the sources' paths."""
    source, to = runtime_dir() / "src", folder / "stepcell"
    to.mkdir(parents=True)
    portable = [source / f"{name}.c" for name in sorted(kernels)]
    for path in [runtime_dir() / "include" / "stepcell.h", *source.glob("*.h"), *portable]:
        shutil.copy(path, to)
    copied = [f"stepcell/{path.name}" for path in portable]
    if own and (source / own).is_dir():
        shutil.copy(source / own / "sc_isa.h", to)
        (to / own).mkdir()
        for path in sorted((source / own).iterdir()):
            shutil.copy(path, to / own)
            if path.suffix in (".c", ".S") and path.stem in kernels:
                copied.append(f"stepcell/{own}/{path.name}")
    return copied


def _template_values(call: _Call) -> dict[str, object]:
    columns = call.packed.columns
    return {
        "function": call.case.kernel.name,
        "words": ", ".join(f"{word}u" for word in call.packed.words) or "0",
        "columns": "" if columns is None else ", ".join(map(str, columns)) or "0",
        "start": ", ".join("INT32_MIN" if value == -(2**31) else str(value) for value in call.packed.start),
        "cols": len(call.x),
        "stride": call.packed.stride,
        "rows": call.rows,
        "pass_rows": call.case.pass_rows or call.rows,
    }
