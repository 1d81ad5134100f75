"""Static memory plan of a function's local arrays: arrays that are never alive together share a buffer."""

from dataclasses import dataclass, replace

from stepcell.lower.parts import C_BYTES, Buffer, Call


@dataclass(frozen=True)
class LocalArray:
    """An array that one value needs."""

    name: str
    ctype: str
    count: int


def share_buffers(arrays: list[LocalArray], calls: list[Call]) -> tuple[tuple[Buffer, ...], tuple[Call, ...]]:
    """Greedy by size: each array joins the first buffer of its type that is free over its lifetime.

    An array lives from the first call that names it to the last. Buffers keep the name of their
    largest array, and calls are renamed to match.
    """
    spans = {array.name: _span(array.name, calls) for array in arrays}
    shared: list[list[LocalArray]] = []
    for array in sorted(arrays, key=lambda a: (-a.count * C_BYTES[a.ctype], spans[a.name])):
        for group in shared:
            if group[0].ctype == array.ctype and not any(
                _overlap(spans[array.name], spans[o.name]) for o in group
            ):
                group.append(array)
                break
        else:
            shared.append([array])
    shared.sort(key=lambda group: min(spans[array.name] for array in group))
    names = {array.name: group[0].name for group in shared for array in group}
    return tuple(_buffer(group, spans) for group in shared), tuple(_renamed(call, names) for call in calls)


def _span(name: str, calls: list[Call]) -> tuple[int, int]:
    at = [i for i, call in enumerate(calls) if any(_array(argument) == name for argument in call.arguments)]
    return at[0], at[-1]


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]


def _buffer(group: list[LocalArray], spans: dict[str, tuple[int, int]]) -> Buffer:
    in_order = sorted(group, key=lambda array: spans[array.name])
    holds = ", then ".join(array.name for array in in_order)
    return Buffer(group[0].name, group[0].ctype, max(array.count for array in group), holds)


def _renamed(call: Call, names: dict[str, str]) -> Call:
    return replace(call, arguments=tuple(_rename(argument, names) for argument in call.arguments))


def _array(argument: str) -> str:
    """`name` of `name` or of `name + offset`."""
    return argument.split(" ", 1)[0]


def _rename(argument: str, names: dict[str, str]) -> str:
    array = _array(argument)
    return names.get(array, array) + argument[len(array) :]
