"""Frames that do the same: what each computes by its meaning, and the states that it hands on."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepcell.importers.graph import Array, Graph, Node, bodies

_FEWEST = 3
"""Frames; fewer show no pattern."""
_MOVABLE = frozenset(
    {"MatMul", "Gemm", "Add", "Squeeze", "Reshape", "Transpose", "Slice", "Split", "Identity"}
)
"""What stands between a state and the frame that reads it, where the other operands are constant."""


@dataclass(frozen=True, eq=False)
class Frames:
    """The nodes that pick frame 0, 1, ... of a sequence along an axis."""

    sequence: str
    axis: int
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Steps:
    """For each frame: the meaning of every tensor computed from it and none later."""

    frames: Frames
    level: Mapping[str, int]
    meaning: Mapping[str, int]
    maker: Mapping[str, Node]

    @property
    def count(self) -> int:
        """How many frames there are."""
        return len(self.frames.names)


@dataclass(frozen=True, eq=False)
class Cell:
    """What every frame does: the nodes of the third, and by state what it becomes and what it starts from."""

    nodes: tuple[Node, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]
    first: tuple[str, ...]
    last: tuple[str, ...]


def all_frames(graph: Graph) -> Iterable[Frames]:
    """Every sequence of which all frames are picked one by one."""
    picked: dict[tuple[str, int], dict[int, str]] = {}
    for node in graph.nodes:
        index = graph.constants.get(node.inputs[1]) if node.op == "Gather" else None
        if index is not None and index.shape == () and node.inputs[0] not in graph.constants:
            key = node.inputs[0], int(node.attributes.get("axis", 0))
            picked.setdefault(key, {})[int(index)] = node.outputs[0]
    for (sequence, axis), names in picked.items():
        if len(names) >= _FEWEST and sorted(names) == list(range(len(names))):
            yield Frames(sequence, axis, tuple(names[i] for i in range(len(names))))


def steps_of(graph: Graph, frames: Frames) -> Steps | None:
    """Levels and meanings of all that depends on the frames; None where a node holds a graph."""
    level = _levels(graph, frames)
    if level is None:
        return None
    numbers: dict[Any, int] = {}
    meaning = dict.fromkeys(frames.names, -1)
    maker: dict[str, Node] = {}
    for node in graph.nodes:
        at = level.get(node.outputs[0], -1) if node.outputs else -1
        if at < 0 or node.outputs[0] in frames.names:
            continue
        operands = tuple(_operand(graph, name, at, level, meaning) for name in node.inputs)
        for i, output in enumerate(node.outputs):
            key = (node.op, _frozen(node.attributes), operands, i)
            meaning[output] = numbers.setdefault(key, len(numbers))
            maker[output] = node
    return Steps(frames, level, meaning, maker)


def _levels(graph: Graph, frames: Frames) -> dict[str, int] | None:
    """The latest frame that each tensor depends on; what only moves or multiplies a state is the next's."""
    level = {name: t for t, name in enumerate(frames.names)}
    dependent: list[Node] = []
    for node in graph.nodes:
        at = max((level.get(name, -1) for name in node.inputs), default=-1)
        if at < 0 or node.outputs[0] in frames.names:
            continue
        if bodies(node):
            return None
        dependent.append(node)
        level.update(dict.fromkeys(node.outputs, at))
    readers: dict[str, list[Node]] = {}
    for node in dependent:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    for node in reversed(dependent):
        at = level[node.outputs[0]]
        later = {level[r.outputs[0]] for name in node.outputs for r in readers.get(name, [])}
        data = [name for name in node.inputs if name not in graph.constants]
        if node.op in _MOVABLE and later == {at + 1} and len(data) == 1 and data[0] not in frames.names:
            level.update(dict.fromkeys(node.outputs, at + 1))
    return level


def _operand(
    graph: Graph, name: str, at: int, level: Mapping[str, int], meaning: Mapping[str, int]
) -> tuple[str, object]:
    if name in graph.constants:
        return "constant", _digest(graph.constants[name])
    if name not in level:
        return "outside", name
    return ("state", "") if level[name] < at else ("own", meaning[name])


def _digest(array: Array) -> bytes:
    content = f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()
    return hashlib.sha256(content).digest()


def _frozen(attributes: Mapping[str, Any]) -> str:
    return repr(sorted((key, np.asarray(value).tolist()) for key, value in attributes.items()))


def cell_of(graph: Graph, steps: Steps) -> Cell | None:
    """The cell of the third frame, if every later one is the same and the second fits it."""
    by_level: list[dict[int, str]] = [{} for _ in range(steps.count)]
    for name, at in steps.level.items():
        if by_level[at].setdefault(steps.meaning[name], name) != name and at == 2:
            return None
    states = _read_before(steps, by_level[2].values(), 2)
    if states is None:
        return None
    kept = ancestors(steps, [by_level[2][m] for m in states if m in by_level[2]], 2)
    states = [m for m in states if m in {steps.meaning[r] for r in _state_reads(steps, kept, 2)}]
    if not states or any(m not in by_level[2] for m in states):
        return None
    nodes = tuple(node for node in graph.nodes if node.outputs and node.outputs[0] in kept)
    previous: dict[int, str] = {}
    for t in range(1, steps.count):
        found = _matched(steps, kept, by_level, t)
        if found is None or set(found) != set(states) or (t > 1 and found != previous):
            return None
        if t == 1:
            first = found
        previous = {m: by_level[t][m] for m in states}
    before = tuple(by_level[1][m] for m in states)
    after = tuple(by_level[2][m] for m in states)
    return Cell(nodes, before, after, tuple(first[m] for m in states), tuple(previous[m] for m in states))


def _read_before(steps: Steps, names: Iterable[str], at: int) -> list[int] | None:
    """Meanings of what a frame reads of the one before; None if it reads an earlier one."""
    reads = _state_reads(steps, names, at)
    if any(steps.level[name] != at - 1 for name in reads if at < steps.count - 1):
        return None
    return list(dict.fromkeys(steps.meaning[name] for name in reads))


def _state_reads(steps: Steps, names: Iterable[str], at: int) -> list[str]:
    makers = (steps.maker[name] for name in names if name in steps.maker)
    return [r for node in makers for r in node.inputs if r in steps.level and steps.level[r] < at]


def ancestors(steps: Steps, names: list[str], at: int) -> set[str]:
    """The tensors of one frame that these are computed from, themselves included."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        node = steps.maker.get(name)
        if node is None or steps.level[name] != at or name in found:
            continue
        found.update(node.outputs)
        waiting += [r for r in node.inputs if r in steps.level]
    return found


def _matched(steps: Steps, kept: set[str], by_level: list[dict[int, str]], t: int) -> dict[int, str] | None:
    """By state, what frame t reads for it, where its nodes are the cell's; None where they are not."""
    found: dict[int, str] = {}
    for name in kept:
        twin = by_level[t].get(steps.meaning[name])
        if twin is None:
            return None
        for mine, other in zip(steps.maker[name].inputs, steps.maker[twin].inputs, strict=True):
            is_state = steps.level.get(mine) == 1 and steps.level.get(other) != t
            if is_state and found.setdefault(steps.meaning[mine], other) != other:
                return None
    return found
