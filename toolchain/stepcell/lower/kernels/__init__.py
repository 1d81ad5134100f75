"""Matrix kernels by family; a core's file in targets/cores names its families."""

from stepcell.lower.kernels import hilo, mve, nibble, portable, quad, rows8, simd, swar, swar8, word
from stepcell.lower.kernels.kernel import Kernel, Packed
from stepcell.target.model import Core

FAMILIES: dict[str, tuple[Kernel, ...]] = {
    "portable": portable.KERNELS,
    "simd": simd.KERNELS,
    "rows8": rows8.KERNELS,
    "swar8": swar8.KERNELS,
    "mve": mve.KERNELS,
    "hilo": hilo.KERNELS,
    "quad": quad.KERNELS,
    "nibble": nibble.KERNELS,
    "swar": swar.KERNELS,
    "word": word.SIGNED,
    "offset": word.UNSIGNED,
}


def kernels_of(core: Core) -> tuple[Kernel, ...]:
    """Every kernel that may run on a core."""
    return tuple(kernel for family in core.kernels for kernel in FAMILIES[family])


__all__ = ["FAMILIES", "Kernel", "Packed", "kernels_of"]
