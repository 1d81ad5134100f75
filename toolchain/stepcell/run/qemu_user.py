"""Run a Linux program in QEMU's user mode, with or without the counting plugin."""

import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from stepcell.build import find_tool
from stepcell.build.elf import Firmware
from stepcell.run.counts import Counts, Marks, Watch
from stepcell.run.faults import HarnessError, check_exit
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


def run_qemu_user(elf: Path, board: Board, jobs: Sequence[Job]) -> list[JobResult]:
    """Run jobs in the program `elf` on the board's processor.

    Raises StepcellError where QEMU is missing, HarnessError where the harness stopped or a signal ended it.
    """
    with tempfile.TemporaryDirectory() as folder:
        return unpack_results(jobs, _run(elf, board, jobs, Path(folder), ()))


def count_qemu_user(elf: Path, board: Board, jobs: Sequence[Job], watch: Watch) -> Counts:
    """Run jobs and count every instruction."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "counts.txt"
        plugin = build_plugin(find_tool("qemu-user"))
        _run(elf, board, jobs, Path(folder), ("-plugin", plugin_argument(plugin, path, watch)))
        return read_counts(path, Firmware(elf), load_core(board.core).isa)


def count_each_qemu_user(elf: Path, board: Board, jobs: Sequence[Job], marks: Marks) -> list[int]:
    """Run jobs: the instructions of every step, in the order of execution."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "counts.txt"
        plugin = build_plugin(find_tool("qemu-user"))
        _run(elf, board, jobs, Path(folder), ("-plugin", marks_argument(plugin, path, marks)))
        return read_steps(path)


def _run(elf: Path, board: Board, jobs: Sequence[Job], folder: Path, extra: Sequence[str]) -> bytes:
    (folder / "stepcell.in").write_bytes(pack_jobs(jobs))
    ended = subprocess.run(
        [find_tool("qemu-user").path, "-cpu", board.qemu_user_cpu, *extra, str(elf.resolve())],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if ended.returncode < 0:  # QEMU ends itself by the program's signal
        name = signal.Signals(-ended.returncode).name
        raise HarnessError(f"{elf.name} on {board.name} was ended by {name}.")
    check_exit(ended.returncode, f"{elf.name} in QEMU {ended.stderr}".strip())
    return (folder / "stepcell.out").read_bytes()
