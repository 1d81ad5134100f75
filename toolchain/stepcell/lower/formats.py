"""Dense or sparse: the choice of a kernel, and so of a storage format, for each matrix."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from stepcell.errors import StepcellError
from stepcell.ir.qmodel import IntArray
from stepcell.lower.kernels import Kernel, Packed, kernels_of
from stepcell.target.model import Core

Optimize = Literal["size", "speed"]
"""size: no format bigger than dense at a byte a weight (half a byte where the weights fit). speed: any."""


@dataclass(frozen=True, eq=False)
class Format:
    """A kernel, its tables, what it costs, and why it was chosen."""

    kernel: Kernel
    packed: Packed
    instructions: int
    bytes: int
    why: str = ""


def choose_format(
    weights: IntArray,
    starts: IntArray,
    input_bits: int,
    core: Core,
    optimize: Optimize = "size",
    wanted: str | None = None,
) -> Format:
    """The fastest kernel for rows in kernel order [rows, cols], and by default none bigger than dense.

    Instructions come from the core's measured costs: an affine function of row groups and inner iterations.
    A kernel that was not measured, or that is not proven exact for these weights, is no candidate.
    `wanted` names a format to take even where it is slower or bigger than dense.
    Raises StepcellError where the core has no kernel of the wanted format for inputs of `input_bits`.
    """
    found = list(_formats(weights, starts, input_bits, core))
    plain = _fastest(_shortest_dense(found, weights.shape[1]))
    candidates = [f for f in found if f.bytes <= plain.bytes or optimize == "speed"]
    if wanted is not None:
        candidates = [f for f in found if f.kernel.format == wanted] or _refuse(wanted, found, core)
    best = _fastest(candidates)
    why = (
        f"{best.kernel.format} ({best.kernel.name}): {best.instructions} instructions, {best.bytes} bytes "
        f"({plain.kernel.format}: {plain.instructions}, {plain.bytes}"
    )
    others = sorted((f for f in found if f not in (best, plain)), key=lambda f: f.instructions)
    why += "".join(f"; {f.kernel.format}: {f.instructions}, {f.bytes}" for f in others[:2]) + ")"
    return Format(best.kernel, best.packed, best.instructions, best.bytes, why)


def _shortest_dense(found: list[Format], cols: int) -> list[Format]:
    """The dense formats with the fewest bytes a weight, columns that a kernel pads with zeros counted in."""

    def rate(form: Format) -> float:
        return form.bytes / (-(-cols // form.kernel.multiple) * form.kernel.multiple)

    dense = [f for f in found if f.packed.columns is None]
    least = min(map(rate, dense))
    return [f for f in dense if rate(f) <= least]


def _fastest(formats: list[Format]) -> Format:
    return min(formats, key=lambda f: (f.instructions, f.bytes))


def _formats(weights: IntArray, starts: IntArray, input_bits: int, core: Core) -> Iterable[Format]:
    largest = int(abs(weights).max(initial=0))
    for kernel in kernels_of(core):
        cost = core.costs.get(kernel.name)
        if cost is None or kernel.input_bits != input_bits or largest > kernel.weight_limit:
            continue
        if kernel.fits(weights, starts):
            packed = kernel.pack(weights, starts)
            yield Format(
                kernel, packed, instructions_of(kernel, cost, len(weights), packed.items), packed.bytes
            )


def instructions_of(kernel: Kernel, cost: Mapping[str, float], rows: int, items: int) -> int:
    """What a whole matrix costs, but for the calls, which every kernel has as many of."""
    return round(cost["group"] * (rows // kernel.rows) + cost["item"] * items)


def _refuse(wanted: str, found: list[Format], core: Core) -> list[Format]:
    known = ", ".join(sorted({f.kernel.format for f in found}))
    raise StepcellError(
        f"{core.name} has no kernel of format {wanted} for this matrix; it has {known}.",
        "Leave the choice to stepcell, or name one of these.",
    )
