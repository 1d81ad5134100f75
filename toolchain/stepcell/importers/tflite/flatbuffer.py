"""A reader of flatbuffers: tables of fields at offsets, every access checked against the file's end.

Only the file decides what lies where, so nothing is believed: an offset outside the file, a vector that is
longer than the rest of it, or more numbers than the file could sensibly list is `Damaged`. Vectors of numbers
are views of the file; whatever is copied is counted, so that offsets that point at one place again and again
cannot make a small file large.
"""

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_COPIED = 2**21
"""Numbers and tables that may be read one by one; a file with 100,000 operators needs fewer."""
_MOST_TEXT = 2**12

Number = int | float | bool


class Damaged(Exception):
    """The bytes are not what their table says."""


@dataclass(eq=False)
class Buffer:
    """The bytes of a file, and how much has been copied out of them."""

    content: bytes
    copied: int = field(default=0)

    def spend(self, count: int) -> None:
        """Count what is copied; `Damaged` beyond any sensible file."""
        self.copied += count
        if self.copied > _MOST_COPIED:
            raise Damaged("it lists more than a file of its kind can hold")

    def number(self, code: str, at: int) -> Number:
        """One little-endian number."""
        if at < 0 or at + struct.calcsize(code) > len(self.content):
            raise Damaged("an offset leads out of the file")
        found: Number = struct.unpack_from("<" + code, self.content, at)[0]
        return found

    def offset(self, at: int) -> int:
        """Where the unsigned offset stored at `at` leads to."""
        return at + int(self.number("I", at))


@dataclass(frozen=True, eq=False)
class Table:
    """A table at a position; a field is absent where the writer left it out."""

    buffer: Buffer
    at: int

    def _field(self, number: int) -> int | None:
        """Where field `number` lies."""
        fields = self.at - int(self.buffer.number("i", self.at))
        size = int(self.buffer.number("H", fields))
        entry = 4 + 2 * number
        if entry + 2 > size:
            return None
        offset = int(self.buffer.number("H", fields + entry))
        return self.at + offset if offset else None

    def number(self, number: int, code: str, default: Number = 0) -> Number:
        """A scalar field; `code` as in struct."""
        at = self._field(number)
        return default if at is None else self.buffer.number(code, at)

    def integer(self, number: int, code: str = "i", default: int = 0) -> int:
        """A scalar field that holds an integer."""
        return int(self.number(number, code, default))

    def table(self, number: int) -> "Table | None":
        """A field that holds another table."""
        at = self._field(number)
        self.buffer.spend(1)
        return None if at is None else Table(self.buffer, self.buffer.offset(at))

    def numbers(self, number: int, dtype: str) -> NDArray[Any]:
        """A vector of numbers, as a view; empty if it is absent."""
        at = self._field(number)
        if at is None:
            return np.zeros(0, dtype)
        start, count = self._vector(at, np.dtype(dtype).itemsize)
        return np.frombuffer(self.buffer.content, dtype, count, start)

    def integers(self, number: int, dtype: str = "<i4") -> tuple[int, ...]:
        """A vector of integers, copied."""
        found = self.numbers(number, dtype)
        self.buffer.spend(len(found))
        return tuple(found.tolist())

    def tables(self, number: int) -> "tuple[Table, ...]":
        """A vector of tables."""
        at = self._field(number)
        if at is None:
            return ()
        start, count = self._vector(at, 4)
        self.buffer.spend(count)
        return tuple(Table(self.buffer, self.buffer.offset(start + 4 * i)) for i in range(count))

    def text(self, number: int) -> str:
        """A string; what is not UTF-8 in it is replaced, what is too long cut."""
        return bytes(self.numbers(number, "u1")[:_MOST_TEXT]).decode("utf-8", "replace")

    def _vector(self, at: int, size: int) -> tuple[int, int]:
        """Where the elements start, and how many there are."""
        start = self.buffer.offset(at)
        count = int(self.buffer.number("I", start))
        if count * size > len(self.buffer.content) - start - 4:
            raise Damaged("a list is longer than the file")
        return start + 4, count


def root(content: bytes, identifier: bytes) -> Table:
    """The file's outermost table; `Damaged` unless the file has the identifier."""
    if content[4:8] != identifier:
        raise Damaged(f"it lacks the identifier {identifier.decode()}")
    buffer = Buffer(content)
    return Table(buffer, buffer.offset(0))
