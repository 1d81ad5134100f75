"""What each axis of each input is, as far as lifting has found out, and the size it gets."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.graph import Array, Graph, GraphInput

Roles = dict[str, str]
"""{"x.0": "batch", "x.1": "time", "x.2": "inner", "h0": "state"}; an axis not in it is open."""


def label(source: GraphInput, axis: int) -> str:
    """The label of an axis whose role is not known."""
    return f"{source.name}.{axis}"


def label_sizes(graph: Graph, roles: Roles) -> dict[str, int]:
    """The size of every label: as the file freezes it, else a prime that divides no number in the file."""
    symbols = _symbol_sizes(graph)
    sizes: dict[str, int] = {}
    for role in ("batch", "time"):
        found = [size for size, _ in _axes_with(graph, roles, role)]
        sizes[role] = frozen_size(graph, roles, role) or next(
            (symbols[s] for s in found if isinstance(s, str)), 1
        )
    for source in graph.inputs:
        for axis, size in enumerate(source.shape):
            sizes[label(source, axis)] = symbols[size] if isinstance(size, str) else size
    return sizes


def frozen_size(graph: Graph, roles: Roles, role: str) -> int | None:
    """What the file fixes batch or time to; None if it is free."""
    frozen = {size: name for size, name in _axes_with(graph, roles, role) if isinstance(size, int)}
    if len(frozen) > 1:
        sizes = ", ".join(f"{name} {size}" for size, name in frozen.items())
        raise StepcellError(
            f"{graph.file}: the {role} axes of its inputs differ in size ({sizes}); one size is allowed.",
            "export with one size for all inputs, or with free axes.",
        )
    return next(iter(frozen), None)


def _axes_with(graph: Graph, roles: Roles, role: str) -> Iterator[tuple[int | str, str]]:
    for source in graph.inputs:
        for axis, size in enumerate(source.shape):
            if roles.get(label(source, axis)) == role:
                yield size, source.name


def _symbol_sizes(graph: Graph) -> dict[str, int]:
    symbols = dict.fromkeys(size for source in graph.inputs for size in source.shape if isinstance(size, str))
    taken = _numbers(graph)
    primes = (p for p in _primes(101) if not any(n % p == 0 for n in taken))
    return dict(zip(symbols, primes, strict=False))


def _numbers(graph: Graph) -> set[int]:
    """Every number that shape arithmetic in the file could contain."""
    numbers: set[int] = set()
    for source in graph.inputs:
        numbers.update(size for size in source.shape if isinstance(size, int))
    for array in graph.constants.values():
        numbers.update(array.shape)
        numbers.update(_integers(array))
    for node in graph.nodes:
        for value in node.attributes.values():
            numbers.update(
                _integers(np.asarray(value)) if isinstance(value, (int, list, tuple, np.ndarray)) else ()
            )
    return {n for n in numbers if n > 1}


def _integers(array: Array) -> Iterable[int]:
    return [int(n) for n in array.ravel()] if array.dtype.kind in "iu" and array.size <= 64 else []


def _primes(start: int) -> Iterator[int]:
    candidate = start
    while True:
        if all(candidate % divisor for divisor in range(2, int(candidate**0.5) + 1)):
            yield candidate
        candidate += 1


def without_recurrence(graph: Graph, carried: Mapping[str, str]) -> Roles:
    """Roles of a graph that is one step: the batch axis is where every input has size one or a free size."""
    roles: Roles = dict.fromkeys(carried, "carried")
    for axis in range(min((len(source.shape) for source in graph.inputs), default=0)):
        if all(source.shape[axis] == 1 or isinstance(source.shape[axis], str) for source in graph.inputs):
            roles.update({label(source, axis): "batch" for source in graph.inputs})
            break
    for source in graph.inputs:
        for axis in range(len(source.shape)):
            roles.setdefault(label(source, axis), "inner")
    return roles
