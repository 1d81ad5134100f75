"""Where the elements of a value come from, and other questions about the operations of one stage."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepcell.ir.graph import reads, writes
from stepcell.ir.ops import Concat, Op, Take, Value

Indices = NDArray[np.intp]
ZERO = ""
"""The value of an element that is always zero."""


class Trace:
    """Operations by the values that they make, and elements followed back through Take and Concat."""

    def __init__(self, ops: Iterable[Op], given: Iterable[Value]) -> None:
        self.ops = tuple(ops)
        self.values = {value.name: value for value in given}
        self.values |= {value.name: value for op in self.ops for value in writes(op)}
        self._origins: dict[str, tuple[NDArray[np.object_], Indices]] = {}

    @cached_property
    def producer(self) -> dict[str, Op]:
        """The operation that makes a value."""
        return {value.name: op for op in self.ops for value in writes(op)}

    @cached_property
    def readers(self) -> dict[str, list[Op]]:
        """The operations that read a value."""
        found: dict[str, list[Op]] = {}
        for op in self.ops:
            for name in dict.fromkeys(reads(op)):
                found.setdefault(name, []).append(op)
        return found

    def origins(self, value: str) -> tuple[NDArray[np.object_], Indices]:
        """For every element the value and the flat index that it is a copy of; ZERO for padding."""
        if value not in self._origins:
            self._origins[value] = self._find(value)
        return self._origins[value]

    def _find(self, value: str) -> tuple[NDArray[np.object_], Indices]:
        match self.producer.get(value):
            case Take() as op:
                names, indices = self.origins(op.x)
                at = np.array(op.indices, np.intp)
                return np.where(at < 0, ZERO, names[at]), np.where(at < 0, 0, indices[at])
            case Concat() as op:
                parts = [self.origins(x) for x in op.xs]
                return np.concatenate([n for n, _ in parts]), np.concatenate([i for _, i in parts])
            case _:
                size = self.values[value].size
                return np.full(size, value, object), np.arange(size)


def is_whole(indices: Indices, size: int) -> bool:
    """Whether the indices are all of a value's elements in order."""
    return len(indices) == size and np.array_equal(indices, np.arange(size))


_READ = frozenset(
    ["x", "h", "c", "a", "b", "token", "total", "count", "memory", "query", "keys", "values", "xs"]
)
"""Fields of operations that name values; others name parameters, functions and kinds."""


def substituted(op: Op, names: Mapping[str, str]) -> Op:
    """The operation reading (and making) other names."""
    changed: dict[str, Any] = {}
    for field in fields(op):
        part = getattr(op, field.name)
        if isinstance(part, Value):
            changed[field.name] = replace(part, name=names.get(part.name, part.name))
        elif field.name in _READ and isinstance(part, str):
            changed[field.name] = names.get(part, part)
        elif field.name in _READ and isinstance(part, tuple):
            changed[field.name] = tuple(names.get(item, item) for item in part)
    return replace(op, **changed)


def in_order(ops: Sequence[Op]) -> tuple[Op, ...]:
    """The operations after what they read, otherwise in the order given."""
    made = {value.name: op for op in ops for value in writes(op)}
    placed: dict[int, Op] = {}

    def place(op: Op) -> None:
        stack = [op]
        while stack:
            top = stack[-1]
            missing = [made[n] for n in reads(top) if n in made and id(made[n]) not in placed]
            if len(stack) > len(ops):
                raise ValueError("operations read each other in a circle")
            if missing:
                stack.append(missing[0])
            else:
                placed[id(stack.pop())] = top

    for op in ops:
        if id(op) not in placed:
            place(op)
    return tuple(placed.values())


def live(ops: Sequence[Op], wanted: Iterable[str]) -> tuple[Op, ...]:
    """The operations that the wanted values depend on."""
    needed = set(wanted)
    kept: list[Op] = []
    for op in reversed(ops):
        if any(value.name in needed for value in writes(op)):
            needed.update(reads(op))
            kept.append(op)
    return tuple(reversed(kept))
