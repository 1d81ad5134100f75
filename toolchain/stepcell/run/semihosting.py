"""The semihosting calls that the firmware makes, over files in memory."""

import struct
from typing import Protocol

_OPEN, _CLOSE, _WRITE, _READ, _EXIT_EXTENDED = 0x01, 0x02, 0x05, 0x06, 0x20
_FAILED = 0xFFFFFFFF


class Memory(Protocol):
    """Memory of an emulated machine."""

    def mem_read(self, address: int, size: int) -> bytearray:
        """Bytes at an address."""

    def mem_write(self, address: int, data: bytes) -> None:
        """Write bytes at an address."""


class Semihosting:
    """Files by name; a file opened for writing starts empty. `exit_code` is None until the firmware ends."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = {name: bytearray(data) for name, data in files.items()}
        self.exit_code: int | None = None
        self._open: list[tuple[str, int]] = []

    def call(self, memory: Memory, operation: int, block: int) -> int:
        """Do one call with the argument block at address `block`; returns what goes into r0."""
        if operation == _OPEN:
            return self._do_open(memory, *_words(memory, block, 3))
        if operation == _READ:
            return self._do_read(memory, *_words(memory, block, 3))
        if operation == _WRITE:
            return self._do_write(memory, *_words(memory, block, 3))
        if operation == _EXIT_EXTENDED:
            self.exit_code = _words(memory, block, 2)[1]
            return 0
        return 0 if operation == _CLOSE else _FAILED

    def _do_open(self, memory: Memory, name_at: int, mode: int, name_bytes: int) -> int:
        name = memory.mem_read(name_at, name_bytes).decode()
        if mode >= 4:
            self.files[name] = bytearray()
        if name not in self.files:
            return _FAILED
        self._open.append((name, 0))
        return len(self._open)

    def _do_read(self, memory: Memory, handle: int, to: int, size: int) -> int:
        name, position = self._open[handle - 1]
        data = bytes(self.files[name][position : position + size])
        memory.mem_write(to, data)
        self._open[handle - 1] = (name, position + len(data))
        return size - len(data)

    def _do_write(self, memory: Memory, handle: int, source: int, size: int) -> int:
        name, _ = self._open[handle - 1]
        self.files[name] += memory.mem_read(source, size)
        return 0


def _words(memory: Memory, address: int, count: int) -> tuple[int, ...]:
    return struct.unpack(f"<{count}I", bytes(memory.mem_read(address, 4 * count)))
