"""Which emulators run a board's firmware, which of them count, and how each is called."""

from collections.abc import Callable, Sequence
from pathlib import Path

from stepcell.errors import StepcellError
from stepcell.run.counts import Counts, Marks, Watch
from stepcell.run.jobs import Job, JobResult
from stepcell.run.qemu import count_each_qemu, count_qemu, run_qemu
from stepcell.run.qemu_user import count_each_qemu_user, count_qemu_user, run_qemu_user
from stepcell.run.simavr import run_simavr
from stepcell.run.unicorn_machine import count_each_unicorn, count_unicorn, run_unicorn
from stepcell.target import Board, load_core

EMULATORS = ("unicorn", "qemu", "qemu-user", "simavr")
COUNTING = ("unicorn", "qemu", "qemu-user")


def emulators_of(board: Board) -> tuple[str, ...]:
    """The emulators that run the board's firmware, the preferred one first."""
    runs = {
        "unicorn": bool(load_core(board.core).unicorn_cpu),
        "qemu": bool(board.qemu_machine),
        "qemu-user": bool(board.qemu_user_cpu),
        "simavr": bool(board.simavr_mcu),
    }
    return tuple(name for name in EMULATORS if runs[name])


def check_emulator(name: str, board: Board) -> None:
    """StepcellError where emulator `name` does not run the board's firmware."""
    allowed = emulators_of(board)
    if name not in allowed:
        raise StepcellError(
            f"{name} does not emulate {board.name} ({board.core}).", f"run it on {' or '.join(allowed)}."
        )


def emulator(name: str, elf: Path, board: Board) -> Callable[[Sequence[Job]], list[JobResult]]:
    """A function that runs jobs in the firmware `elf`."""
    if name == "unicorn":
        return lambda jobs: run_unicorn(elf, load_core(board.core), jobs)
    if name == "qemu-user":
        return lambda jobs: run_qemu_user(elf, board, jobs)
    if name == "simavr":
        return lambda jobs: run_simavr(elf, board, jobs)
    return lambda jobs: run_qemu(elf, board, jobs)


def counting_emulator(name: str | None, board: Board) -> str:
    """The named emulator, or the preferred one of the board where `name` is None, if it counts.

    Raises StepcellError where it does not.
    """
    allowed = [known for known in emulators_of(board) if known in COUNTING]
    if not allowed:
        raise StepcellError(
            f"No emulator counts the instructions of {board.name} ({board.core}).",
            "profile the model on a core that has one, such as cortex-m4.",
        )
    chosen = name or allowed[0]
    if chosen not in allowed:
        raise StepcellError(
            f"Backend {chosen!r} cannot count on {board.name}; allowed are {', '.join(allowed)}.",
            "Name one of these.",
        )
    return chosen


def count(name: str, elf: Path, board: Board, jobs: Sequence[Job], watch: Watch) -> Counts:
    """Run jobs in an emulator that counts every instruction."""
    if name == "unicorn":
        return count_unicorn(elf, load_core(board.core), jobs, watch)
    if name == "qemu-user":
        return count_qemu_user(elf, board, jobs, watch)
    return count_qemu(elf, board, jobs, watch)


def count_each(name: str, elf: Path, board: Board, jobs: Sequence[Job], marks: Marks) -> list[int]:
    """Run jobs in an emulator that counts: the instructions of every step, in the order of execution."""
    if name == "unicorn":
        return count_each_unicorn(elf, load_core(board.core), jobs, marks)
    if name == "qemu-user":
        return count_each_qemu_user(elf, board, jobs, marks)
    return count_each_qemu(elf, board, jobs, marks)
