"""Run firmware of an AVR in simavr: jobs go in behind the program in flash, results leave by UART0."""

import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from stepcell.build import find_tool
from stepcell.build.elf import Firmware
from stepcell.errors import StepcellError
from stepcell.run.faults import HarnessError, check_exit
from stepcell.run.jobs import Job, JobResult
from stepcell.run.wire import pack_jobs, unpack_results
from stepcell.target import Board

_CLOCK_HZ = 16_000_000
_LENGTH_BYTES = 4
_STEPS_AT_ONCE = 512  # a minute at most, so that a firmware that never ends is found out
_OPENS, _CLOSES, _CRASH = ">", "=", "avr_gdb_init"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_HEX_BYTES = 32


def run_simavr(elf: Path, board: Board, jobs: Sequence[Job], timeout_seconds: float = 600) -> list[JobResult]:
    """Run jobs in the firmware `elf`, part by part, as they fit in flash behind it.

    `timeout_seconds` is for each part. Raises StepcellError where simavr is missing or one job does not
    fit in flash, HarnessError where the harness stopped or the firmware crashed.
    """
    firmware = Firmware(elf)
    start = firmware.values["stepcell_jobs"]
    program = _program(firmware, start)
    results: list[JobResult] = []
    for part in _parts(jobs, board.flash_bytes - start - _LENGTH_BYTES, board):
        data = pack_jobs(part)
        image = program + len(data).to_bytes(_LENGTH_BYTES, "little") + data
        results += unpack_results(part, _run(image, elf.name, board, timeout_seconds))
    return results


def _program(firmware: Firmware, size: int) -> bytes:
    """The first `size` bytes of flash."""
    image = bytearray(b"\xff" * size)
    for address, data in firmware.segments:
        image[address : address + len(data)] = data
    return bytes(image)


def _parts(jobs: Sequence[Job], room: int, board: Board) -> Iterator[list[Job]]:
    """The jobs in order, in parts that fit in `room` bytes and do not take long."""
    part: list[Job] = []
    used = steps = 0
    for job in jobs:
        size = len(pack_jobs([job]))
        if size > room:
            raise StepcellError(
                f"A sequence of {job.lanes[0].steps} steps takes {size:,} bytes, and the firmware leaves "
                f"{max(0, room):,} of the flash of {board.name} to it.",
                "give shorter sequences.",
            )
        if part and (used + size > room or steps >= _STEPS_AT_ONCE):
            yield part
            part, used, steps = [], 0, 0
        part.append(job)
        used += size
        steps += job.steps
    if part:
        yield part


def _run(image: bytes, name: str, board: Board, timeout_seconds: float) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flash.hex"
        path.write_text(_intel_hex(image), encoding="ascii")
        command = [find_tool("simavr").path, "-m", board.simavr_mcu, "-f", str(_CLOCK_HZ), str(path)]
        return _results(_lines(command, timeout_seconds), name)


def _lines(command: Sequence[str], timeout_seconds: float) -> list[str]:
    """What simavr prints, without its colours, until it ends, or the firmware crashes or starts again.

    After a crash it would wait for gdb, and say so at once only to a terminal.
    """
    screen, terminal = os.openpty()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal)
    os.close(terminal)
    clock = threading.Timer(timeout_seconds, process.kill)
    clock.start()
    lines: list[str] = []
    with os.fdopen(screen, encoding="ascii", errors="replace") as stream:
        for line in _until_closed(stream):
            lines.append(_plain(line))
            if _CRASH in line or lines.count(_OPENS) > 1:
                process.kill()
    clock.cancel()
    process.wait()
    return lines


def _until_closed(stream: Iterable[str]) -> Iterator[str]:
    try:
        yield from stream
    except OSError:  # how Linux says that nobody writes to the terminal any more
        return


def _plain(line: str) -> str:
    return _COLOUR.sub("", line).strip().rstrip(".")  # it prints the end of a line as a point


def _results(lines: Sequence[str], name: str) -> bytes:
    """The bytes between the line ">" and the line "=" with the harness's code.

    Raises HarnessError where simavr or the firmware ended otherwise.
    """
    ends = [line for line in lines if line.startswith(_CLOSES)]
    if lines.count(_OPENS) != 1 or len(ends) != 1:
        raise HarnessError(f"{name} crashed, started again or did not end: {' / '.join(lines[-4:])}.")
    check_exit(int(ends[0].removeprefix(_CLOSES), 16), name)
    return bytes.fromhex("".join(lines[lines.index(_OPENS) + 1 : lines.index(ends[0])]))


def _intel_hex(image: bytes) -> str:
    """The image as a file that simavr loads; an ELF file would need its program headers rewritten."""
    lines = []
    for at in range(0, len(image), _HEX_BYTES):
        if at % 0x10000 == 0:
            lines.append(_record(0, 4, (at >> 16).to_bytes(2, "big")))
        lines.append(_record(at & 0xFFFF, 0, image[at : at + _HEX_BYTES]))
    return "\n".join([*lines, _record(0, 1, b""), ""])


def _record(address: int, kind: int, data: bytes) -> str:
    body = bytes((len(data), *address.to_bytes(2, "big"), kind)) + data
    return f":{body.hex()}{-sum(body) & 0xFF:02x}".upper()
