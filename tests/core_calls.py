"""Calls of single functions on an emulated Cortex-M: counts, stack, and whether they preserve registers."""

import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepcell.build.elf import Firmware
from stepcell.build.flags import command, core_flags
from stepcell.build.objects import run_compiler
from stepcell.build.toolchains import device_module, find_tool
from stepcell.paths import runtime_dir
from stepcell.target import Core

CODE, CODE_BYTES = 0x10000, 0x20000
MEMORY, MEMORY_BYTES = 0x20000000, 0x40000
STACK, RETURN = MEMORY + MEMORY_BYTES - 64, 0x1000
SAVED = tuple(range(4, 12))
UNTOUCHED = 0xA5
DEEPEST = 1024


class CoreFunctions:
    """`functions(name, arguments)` -> instructions. Arrays are passed by address and read back."""

    def __init__(self, sources: Sequence[Path], core: Core, compiler: str, folder: Path) -> None:
        tool, linker = find_tool(compiler), find_tool("arm-gcc")
        include = [f"-I{runtime_dir() / 'include'}", f"-I{runtime_dir() / 'src'}", "-ffreestanding", "-O2"]
        objects = [f"{number}.o" for number in range(len(sources))]
        folder.mkdir(parents=True, exist_ok=True)
        for source, name in zip(sources, objects, strict=True):
            flags = [*command(tool), *core_flags(tool, core), *include]
            run_compiler([*flags, "-c", str(source), "-o", name], folder)
        link = ["-nostdlib", f"-Wl,-Ttext={CODE:#x},-e,{CODE:#x}", *objects, "-o", "functions.elf"]
        run_compiler([linker.path, *core_flags(linker, core), *link], folder)
        self.values = Firmware(folder / "functions.elf").values
        self.stack = 0
        self._count = 0
        self._uc = self._machine(core, Firmware(folder / "functions.elf"))

    def __call__(self, name: str, *arguments: Any) -> int:
        """Calls a function; numbers and arrays are its arguments. `stack` is then what it took of it."""
        place, arrays, numbers = MEMORY, [], []
        for argument in arguments:
            if isinstance(argument, np.ndarray):
                self._uc.mem_write(place, argument.tobytes())
                arrays.append((place, argument))
                numbers.append(place)
                place += -(-argument.nbytes // 16) * 16 + 32
            else:
                numbers.append(int(argument))
        self._run(self.values[name], numbers)
        for address, array in arrays:
            found = np.frombuffer(self._uc.mem_read(address, array.nbytes), array.dtype)
            array[...] = found.reshape(array.shape)
        return self._count

    def _run(self, address: int, numbers: list[int]) -> None:
        constants = device_module("unicorn.arm_const")
        on_stack = numbers[4:] + [0] * (len(numbers[4:]) % 2)
        sp = STACK - 4 * len(on_stack)
        self._uc.mem_write(sp - DEEPEST, bytes([UNTOUCHED]) * DEEPEST)
        self._uc.mem_write(sp, struct.pack(f"<{len(on_stack)}I", *on_stack))
        for number, value in (*enumerate(numbers[:4]), *((n, 0xDEAD0000 + n) for n in SAVED)):
            self._uc.reg_write(getattr(constants, f"UC_ARM_REG_R{number}"), value & 0xFFFFFFFF)
        self._uc.reg_write(constants.UC_ARM_REG_SP, sp)
        self._uc.reg_write(constants.UC_ARM_REG_LR, RETURN | 1)
        self._count = 0
        self._uc.emu_start(address | 1, RETURN)
        for number in SAVED:
            register = self._uc.reg_read(getattr(constants, f"UC_ARM_REG_R{number}"))
            assert register == 0xDEAD0000 + number, f"r{number} is not preserved"
        assert self._uc.reg_read(constants.UC_ARM_REG_SP) == sp
        below = bytes(self._uc.mem_read(sp - DEEPEST, DEEPEST))
        self.stack = len(below.lstrip(bytes([UNTOUCHED])))

    def _machine(self, core: Core, firmware: Firmware) -> Any:
        unicorn = device_module("unicorn")
        constants = device_module("unicorn.arm_const")
        uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        uc.ctl_set_cpu_model(getattr(constants, f"UC_CPU_ARM_{core.unicorn_cpu}"))
        uc.mem_map(0, CODE + CODE_BYTES)
        uc.mem_map(MEMORY, MEMORY_BYTES)
        for address, data in firmware.segments:
            uc.mem_write(address, data)
        uc.hook_add(unicorn.UC_HOOK_CODE, self._count_one, begin=CODE, end=CODE + CODE_BYTES)
        return uc

    def _count_one(self, *_: object) -> None:
        self._count += 1


def frame_bytes(source: Path) -> int:
    """What an assembly file says its function takes of the stack."""
    match = re.search(r"/\* frame: (\d+) bytes", source.read_text())
    assert match, source
    return int(match[1])


def fields(size: int, **values: tuple[int, str, int]) -> NDArray[np.uint8]:
    """A struct of `size` bytes: name=(offset, struct format, value); the rest is filled with ones."""
    data = bytearray(b"\xff" * size)
    for offset, kind, value in values.values():
        struct.pack_into(f"<{kind}", data, offset, value)
    return np.frombuffer(bytes(data), np.uint8).copy()
