"""Whether a Plan fits the memories of its board: what is certain before any compiler has run."""

from collections.abc import Iterable, Mapping

from stepcell.errors import StepcellError
from stepcell.lower.parts import Body
from stepcell.lower.plan import Plan
from stepcell.target.model import Board

NAMED = 3
"""How many of the largest tensors a refusal names."""


def check_fit(plan: Plan, board: Board) -> None:
    """StepcellError where the tables outgrow the board's flash, or state and stack its RAM.

    Code and the rest of the firmware come on top: what passes here may still not link.
    """
    tables = {table.name: table.bytes for table in plan.tables}
    if board.near_flash_bytes and tables:
        _check_near_flash(plan, board, tables)
    _check(plan, board, "flash", board.flash_bytes, tables)
    arrays = {field.name: field.bytes for field in plan.state} | _largest_buffers(plan.bodies)
    _check(plan, board, "RAM", board.ram_bytes, arrays)


def _check_near_flash(plan: Plan, board: Board, tables: Mapping[str, int]) -> None:
    """Where pointers have 16 bits: all tables within their reach, and differences within one of them too."""
    near = board.near_flash_bytes
    largest = max(tables, key=lambda name: tables[name])
    _check(plan, board, "near flash for a single table", near // 2 - 1, {largest: tables[largest]})
    _check(plan, board, "near flash, where data has 16-bit addresses", near, tables)


def _largest_buffers(bodies: Iterable[Body]) -> dict[str, int]:
    """The local arrays of the function that has most; functions run one after the other."""
    of_each = [{buffer.name: buffer.bytes for buffer in body.buffers} for body in bodies]
    return max(of_each, key=lambda sizes: sum(sizes.values()))


def _check(plan: Plan, board: Board, memory: str, available: int, sizes: Mapping[str, int]) -> None:
    needed = sum(sizes.values())
    if needed <= available:
        return
    largest = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:NAMED]
    named = ", ".join(f"{name} ({size:,} bytes)" for name, size in largest)
    shorter = "lower --max-steps, " if memory == "RAM" and plan.buffers else ""
    raise StepcellError(
        f"{plan.name} needs at least {needed:,} bytes of {memory}, {needed - available:,} more than the "
        f"{available:,} of {board.name}; the largest tensors are {named}.",
        f"{shorter}lower --density, use fewer units, or choose a larger board.",
    )
