"""What each axis of each input is, as far as lifting has found out, and the size it gets."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from stepcell.errors import StepcellError
from stepcell.importers.graph import Array, Graph, GraphInput, all_nodes, bodies
from stepcell.importers.lift.axes import KEYS

Roles = dict[str, str]
"""{"x.0": "batch", "x.1": "time", "x.2": "inner", "h0": "state"}; an axis not in it is open."""

MEMORY = "memory"
"""The role of an input that holds every step of another function."""
_LARGEST_AXIS = 2**16
"""Sequences, or steps, that a file may be made for."""


def label(source: GraphInput, axis: int) -> str:
    """The label of an axis whose role is not known."""
    return f"{source.name}.{axis}"


def memory_roles(graph: Graph) -> Roles:
    """Of inputs that hold every step of another function."""
    of = {"batch": "batch", "time": KEYS, "inner": "inner"}
    roles: Roles = dict.fromkeys(graph.memories, MEMORY)
    for source in graph.inputs:
        axes = graph.memories.get(source.name, ())
        roles |= {label(source, k): of[axis] for k, axis in enumerate(axes)}
    return roles


def label_sizes(graph: Graph, roles: Roles, first: int = 101) -> dict[str, int]:
    """The size of every label: as the file freezes it, else a prime from `first` on that divides none."""
    symbols = _symbol_sizes(graph, first)
    sizes: dict[str, int] = {}
    for role in ("batch", "time"):
        found = [size for size, _ in _axes_with(graph, roles, role)]
        sizes[role] = frozen_size(graph, roles, role) or next(
            (symbols[s] for s in found if isinstance(s, str)), 1
        )
    frames = int(roles.get("frames of a step", "1"))
    if frozen_size(graph, roles, "time"):
        if sizes["time"] % frames:
            raise StepcellError(
                f"{graph.file}: its time axis is fixed to {sizes['time']} frames, and its strides take "
                f"{frames} a step.",
                f"export with a free time axis, or with a multiple of {frames} frames.",
            )
        sizes["time"] //= frames
    sizes[KEYS] = frozen_size(graph, roles, KEYS) or sizes["time"]
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
    size = next(iter(frozen), None)
    if size is not None and not 0 < size <= _LARGEST_AXIS:
        raise StepcellError(
            f"{graph.file}: the {role} axis of '{frozen[size]}' has size {size}; "
            f"1 to {_LARGEST_AXIS} are allowed.",
            "export with a free axis, or a smaller one.",
        )
    return size


def _axes_with(graph: Graph, roles: Roles, role: str) -> Iterator[tuple[int | str, str]]:
    for source in graph.inputs:
        for axis, size in enumerate(source.shape):
            if roles.get(label(source, axis)) == role:
                yield size, source.name


def _symbol_sizes(graph: Graph, first: int) -> dict[str, int]:
    symbols = dict.fromkeys(size for source in graph.inputs for size in source.shape if isinstance(size, str))
    taken = _numbers(graph)
    primes = (p for p in _primes(first) if not any(n % p == 0 for n in taken))
    return dict(zip(symbols, primes, strict=False))


def _numbers(graph: Graph) -> set[int]:
    """Every number that shape arithmetic in the file could contain."""
    numbers: set[int] = set()
    for source in graph.inputs:
        numbers.update(size for size in source.shape if isinstance(size, int))
    for array in (*graph.constants.values(), *_inner_constants(graph)):
        numbers.update(array.shape)
        numbers.update(_integers(array))
    for node in all_nodes(graph.nodes):
        for value in node.attributes.values():
            numbers.update(
                _integers(np.asarray(value)) if isinstance(value, (int, list, tuple, np.ndarray)) else ()
            )
    return {n for n in numbers if n > 1}


def _inner_constants(graph: Graph) -> Iterator[Array]:
    for node in all_nodes(graph.nodes):
        for body in bodies(node):
            yield from body.constants.values()


def _integers(array: Array) -> Iterable[int]:
    return [int(n) for n in array.ravel()] if array.dtype.kind in "iu" and array.size <= 64 else []


def _primes(start: int) -> Iterator[int]:
    candidate = start
    while True:
        if all(candidate % divisor for divisor in range(2, int(candidate**0.5) + 1)):
            yield candidate
        candidate += 1


def without_recurrence(graph: Graph, carried: Mapping[str, str]) -> Roles:
    """Roles of a graph that is one step: every axis but the batch axis is inner."""
    roles: Roles = dict.fromkeys(carried, "carried")
    batch = _batch_axes(graph.inputs)
    for source in graph.inputs:
        for axis in range(len(source.shape)):
            roles[label(source, axis)] = "batch" if batch.get(source.name) == axis else "inner"
    return roles


def _batch_axes(inputs: Sequence[GraphInput]) -> dict[str, int]:
    """Each input's batch axis: the free one of a symbol that all share, else one free or of size one."""
    shared = (
        set.intersection(*({n for n in x.shape if isinstance(n, str)} for x in inputs)) if inputs else set()
    )
    if shared:
        symbol = min(shared, key=lambda found: [source.shape.index(found) for source in inputs])
        return {source.name: source.shape.index(symbol) for source in inputs}
    for axis in range(min((len(source.shape) for source in inputs), default=0)):
        if all(source.shape[axis] == 1 or isinstance(source.shape[axis], str) for source in inputs):
            return {source.name: axis for source in inputs}
    free = {
        source.name: [k for k, n in enumerate(source.shape) if n == 1 or isinstance(n, str)]
        for source in inputs
    }
    return {name: axes[0] for name, axes in free.items()} if all(free.values()) else {}
