"""Cycles from exact counts and a core's timing table: a model, for memory without wait states.

Every instruction costs what its class costs. Whatever does not fall through adds its jump's extra (the
pipeline's refill), one more by estimate where the target is a 32-bit instruction at an odd halfword. A load
or store that directly follows a load whose result does not form its address saves a cycle on cores that
pipeline them.
Not modelled: wait states, buses shared with DMA, and stalls that the manual does not quantify.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from stepcell.build.elf import Firmware
from stepcell.run.counts import Counts
from stepcell.run.instructions import Instruction, decode
from stepcell.target import CycleTable

_PIPELINED = ("load", "store_immediate", "store_register")


@dataclass(frozen=True)
class CycleEstimate:
    """Modelled processor cycles: between `low` and `high`, most likely `estimate`."""

    low: int
    estimate: int
    high: int

    @staticmethod
    def total(parts: Iterable["CycleEstimate"]) -> "CycleEstimate":
        """The sum of estimates."""
        columns = zip((0, 0, 0), *((p.low, p.estimate, p.high) for p in parts), strict=True)
        return CycleEstimate(*(sum(column) for column in columns))

    def divided(self, steps: int) -> "CycleEstimate":
        """Per step, rounded up."""
        return CycleEstimate(*(-(-value // steps) for value in (self.low, self.estimate, self.high)))


def estimate_cycles(firmware: Firmware, counts: Counts, table: CycleTable) -> CycleEstimate:
    """Modelled cycles of everything in `counts`."""
    executed: Counter[int] = Counter()
    for (_, pc), times in counts.instructions.items():
        executed[pc] += times
    code = {pc: decode(firmware, pc, counts.sizes[pc]) for pc, times in executed.items() if times}
    bill: Counter[str] = Counter()
    for pc, instruction in code.items():
        _bill_instruction(bill, instruction, executed[pc])
    _bill_jumps(bill, code, counts)
    _bill_pipelining(bill, code, counts, executed)
    return CycleEstimate(*(sum(n * table.cost(kind)[i] for kind, n in bill.items()) for i in range(3)))


def _bill_instruction(bill: Counter[str], instruction: Instruction, times: int) -> None:
    if instruction.kind != "multiple":
        bill[instruction.kind] += times
        return
    bill["multiple_base"] += times
    bill["multiple_each"] += instruction.registers * times
    if instruction.loads_pc:
        bill["pop_pc_extra"] += times


def _bill_jumps(bill: Counter[str], code: dict[int, Instruction], counts: Counts) -> None:
    for (_, source, to), times in counts.edges.items():
        if source in code:
            bill[f"{code[source].jump}_extra"] += times
            if to % 4 and counts.sizes[to] == 4:
                bill["taken_unaligned_extra"] += times


def _bill_pipelining(
    bill: Counter[str], code: dict[int, Instruction], counts: Counts, executed: Counter[int]
) -> None:
    jumped_to: Counter[int] = Counter()
    for (_, _, to), times in counts.edges.items():
        jumped_to[to] += times
    for pc, first in code.items():
        after = pc + counts.sizes[pc]
        if first.kind == "load" and after in code and _pipelines(first, code[after]):
            bill["load_pipelined_saving"] -= executed[after] - jumped_to[after]


def _pipelines(first: Instruction, follower: Instruction) -> bool:
    return follower.kind in _PIPELINED and first.writes not in follower.address
