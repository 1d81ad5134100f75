"""Flash of a model: what the linker kept of the bundle's and the runtime's objects."""

from dataclasses import dataclass
from pathlib import Path

from stepcell.build.elf import Firmware


@dataclass(frozen=True)
class FlashUse:
    """Bytes of flash. `text` is code (with its literal pools), `rodata` weights and tables.

    `library` is code that the model makes the compiler add (division, memcpy); firmware usually has it
    already, so it is not in `total`. The self-test's vectors, which firmware may drop, are not in it either.
    A model has no mutable globals: the link fails if it had.
    """

    text: int
    rodata: int
    library: int

    @property
    def total(self) -> int:
        """Bytes of code and tables."""
        return self.text + self.rodata


def measure_flash(elf: Path) -> FlashUse:
    """Flash of all bundles in the image, exact: the linker script gives them sections of their own."""
    sections = Firmware(elf).sections
    sizes = {name: section.size for name, section in sections.items()}
    rodata = sizes.get(".model_rodata", 0) + sizes.get(
        ".model_constants", 0
    )  # an AVR copies the latter to RAM
    return FlashUse(sizes.get(".model_text", 0), rodata, sizes.get(".library", 0))
