"""Count what Unicorn executes, by basic blocks."""

from collections import Counter
from typing import Any

from stepcell.build.toolchains import device_module
from stepcell.run.counts import NO_SITE, Counts, Marks, Watch, thumb_bytes

_Block = tuple[int, int]  # address, bytes


class Trace:
    """Counts basic blocks while the machine runs; instructions and edges are worked out afterwards."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._blocks: Counter[tuple[_Block | None, _Block]] = Counter()
        self._edges: Counter[tuple[_Block | None, _Block, int]] = Counter()
        self._sites: dict[_Block, int] = {}
        self._watched: dict[int, bool] = {}
        self._site: _Block | None = None
        self._last: _Block | None = None
        self._last_site: _Block | None = None
        self._code: dict[_Block, bytes] = {}

    def attach(self, uc: Any) -> None:
        """Count every block that `uc` executes from now on."""
        unicorn = device_module("unicorn")
        uc.hook_add(unicorn.UC_HOOK_BLOCK, self._on_block)

    def counts(self) -> Counts:
        """The blocks as counts of instructions."""
        last = {block: _addresses(block, code)[-1] for block, code in self._code.items()}
        result = Counts(Counter(), Counter(), {}, {last[site]: to for site, to in self._sites.items()})
        for (site, block), times in self._blocks.items():
            for pc, size in _instructions(block, self._code[block]):
                result.instructions[last[site] if site else NO_SITE, pc] += times
                result.sizes[pc] = size
        for (site, source, to), times in self._edges.items():
            if sum(source) != to:
                result.edges[last[site] if site else NO_SITE, last[source], to] += times
        return result

    def _on_block(self, uc: Any, address: int, size: int, _: object) -> None:
        block = (address, size)
        if block not in self._code:
            self._code[block] = bytes(uc.mem_read(address, size))
            self._watched[address] = address in self._watch
        watched = self._watched[address]
        if not watched and self._last is not None and self._last == self._site:
            self._sites.setdefault(self._site, address)
        site = None if watched else self._site
        self._blocks[site, block] += 1
        if self._last is not None:
            self._edges[self._last_site, self._last, address] += 1
        self._site = block if watched else self._site
        self._last, self._last_site = block, site


class StepTrace:
    """Counts the instructions of every single step; lean, because it runs over whole data sets."""

    def __init__(self, marks: Marks) -> None:
        self.counts: list[int] = []
        self._marks = marks
        self._in_step = False
        self._known: dict[_Block, int] = {}

    def attach(self, uc: Any) -> None:
        """Count what `uc` executes from now on."""
        unicorn = device_module("unicorn")
        for start, end in self._marks.ranges:
            uc.hook_add(unicorn.UC_HOOK_BLOCK, self._on_block, begin=start, end=end - 1)

    def _on_block(self, uc: Any, address: int, size: int, _: object) -> None:
        block = (address, size)
        instructions = self._known.get(block)
        if instructions is None:
            instructions = self._known[block] = len(_instructions(block, bytes(uc.mem_read(address, size))))
        if address == self._marks.step:
            self.counts.append(0)
            self._in_step = True
        elif address == self._marks.init:
            self._in_step = False
        if self._in_step:
            self.counts[-1] += instructions


def _instructions(block: _Block, code: bytes) -> list[tuple[int, int]]:
    """(address, bytes) of a block's instructions."""
    result, offset = [], 0
    while offset < len(code):
        size = thumb_bytes(code[offset:])
        result.append((block[0] + offset, size))
        offset += size
    return result


def _addresses(block: _Block, code: bytes) -> list[int]:
    return [address for address, _ in _instructions(block, code)]
