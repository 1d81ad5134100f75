"""Run firmware in QEMU's system emulator, with or without the counting plugin."""

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from stepcell.build import find_tool
from stepcell.build.elf import Firmware
from stepcell.errors import StepcellError
from stepcell.run.counts import Counts, Marks, Watch
from stepcell.run.faults import FAULT_EXIT, check_exit, fault_from_report
from stepcell.run.jobs import Job, JobResult
from stepcell.run.qemu_plugin import (
    build_plugin,
    marks_argument,
    plugin_argument,
    read_counts,
    read_steps,
)
from stepcell.run.wire import pack_jobs, unpack_results
from stepcell.target import Board, load_core

_QUIET = ("-display", "none", "-monitor", "none", "-serial", "none", "-net", "none")


def run_qemu(elf: Path, board: Board, jobs: Sequence[Job], timeout_seconds: float = 600) -> list[JobResult]:
    """Run jobs in the firmware `elf` on the board's machine.

    Raises StepcellError where QEMU is missing or has no such machine, FirmwareFault, or HarnessError where
    the harness stopped.
    """
    with tempfile.TemporaryDirectory() as folder:
        return unpack_results(jobs, _run(elf, board, jobs, Path(folder), (), timeout_seconds))


def count_qemu(elf: Path, board: Board, jobs: Sequence[Job], watch: Watch) -> Counts:
    """Run jobs and count every instruction."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "counts.txt"
        plugin = build_plugin(find_tool(board.qemu))
        _run(elf, board, jobs, Path(folder), ("-plugin", plugin_argument(plugin, path, watch)), 600)
        return read_counts(path, Firmware(elf), load_core(board.core).isa)


def count_each_qemu(elf: Path, board: Board, jobs: Sequence[Job], marks: Marks) -> list[int]:
    """Run jobs: the instructions of every step, in the order of execution."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "counts.txt"
        plugin = build_plugin(find_tool(board.qemu))
        _run(elf, board, jobs, Path(folder), ("-plugin", marks_argument(plugin, path, marks)), 600)
        return read_steps(path)


def _run(
    elf: Path, board: Board, jobs: Sequence[Job], folder: Path, extra: Sequence[str], timeout_seconds: float
) -> bytes:
    (folder / "stepcell.in").write_bytes(pack_jobs(jobs))
    ended = subprocess.run(
        [*_command(board), *extra, "-kernel", str(elf.resolve())],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )
    if ended.returncode == FAULT_EXIT:
        report = (folder / "stepcell.fault").read_bytes()
        raise fault_from_report(Firmware(elf), load_core(board.core).isa, report)
    check_exit(ended.returncode, f"{elf.name} in QEMU {ended.stderr}".strip())
    return (folder / "stepcell.out").read_bytes()


def _command(board: Board) -> tuple[str, ...]:
    if not board.qemu_machine:
        raise StepcellError(f"QEMU has no machine for board {board.name}.", "Run it on unicorn.")
    machine = ("-M", board.qemu_machine, "-semihosting-config", "enable=on,target=native")
    return (find_tool(board.qemu).path, *machine, *board.qemu_options, *_QUIET)
