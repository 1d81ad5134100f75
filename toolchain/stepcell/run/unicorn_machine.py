"""Run firmware in Unicorn, with or without counting."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stepcell.build.elf import Firmware
from stepcell.build.toolchains import device_module
from stepcell.run.counts import Counts, Marks, Watch
from stepcell.run.faults import FirmwareFault, check_exit
from stepcell.run.jobs import Job, JobResult
from stepcell.run.semihosting import Semihosting
from stepcell.run.unicorn_trace import StepTrace, Trace
from stepcell.run.wire import pack_jobs, unpack_results
from stepcell.target import Core

_PAGE = 0x1000
_SYSTEM_SPACE = (0xE000E000, _PAGE)  # plain memory: Unicorn has no system registers
_SEMIHOSTING_CALL = b"\xab\xbe"  # bkpt 0xab
_BREAKPOINT = 7  # Unicorn's number of that exception
_NEVER = 0xFFFFFFFE


def run_unicorn(
    elf: Path, core: Core, jobs: Sequence[Job], check_alignment: bool | None = None
) -> list[JobResult]:
    """Run jobs in the firmware `elf`.

    Unicorn allows unaligned access on every core. `check_alignment` makes it a fault, slowly (each access
    calls Python); None does so for misaligned jobs on ARMv6-M, which has no unaligned access.
    Raises FirmwareFault, or HarnessError where the harness stopped.
    """
    machine = _Machine(Firmware(elf), core, pack_jobs(jobs))
    if check_alignment is None:
        check_alignment = core.isa == "armv6-m" and any(job.misaligned for job in jobs)
    if check_alignment:
        machine.check_alignment()
    return unpack_results(jobs, machine.run(elf.name))


def count_unicorn(elf: Path, core: Core, jobs: Sequence[Job], watch: Watch) -> Counts:
    """Run jobs and count every instruction."""
    machine = _Machine(Firmware(elf), core, pack_jobs(jobs))
    trace = Trace(watch)
    trace.attach(machine.uc)
    machine.run(elf.name)
    return trace.counts()


def count_each_unicorn(elf: Path, core: Core, jobs: Sequence[Job], marks: Marks) -> list[int]:
    """Run jobs: the instructions of every step, in the order of execution."""
    machine = _Machine(Firmware(elf), core, pack_jobs(jobs))
    trace = StepTrace(marks)
    trace.attach(machine.uc)
    machine.run(elf.name)
    return trace.counts


class _Machine:
    """A core, its memory as the linker script laid it out, and semihosting."""

    def __init__(self, firmware: Firmware, core: Core, jobs: bytes) -> None:
        unicorn = device_module("unicorn")
        arm_const = device_module("unicorn.arm_const")
        self._firmware, self._unicorn = firmware, unicorn
        self._files = Semihosting({"stepcell.in": jobs})
        self._pc, self._sp = arm_const.UC_ARM_REG_PC, arm_const.UC_ARM_REG_SP
        self._arguments = (arm_const.UC_ARM_REG_R0, arm_const.UC_ARM_REG_R1)
        self.uc: Any = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self.uc.ctl_set_cpu_model(getattr(arm_const, f"UC_CPU_ARM_{core.unicorn_cpu}"))
        self._map("flash", unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        self._map("ram", unicorn.UC_PROT_ALL)
        self.uc.mem_map(*_SYSTEM_SPACE)
        self.uc.hook_add(unicorn.UC_HOOK_INTR, self._on_exception)
        self.uc.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._on_bad_access)
        for address, data in firmware.segments:
            self.uc.mem_write(address, data)

    def run(self, name: str) -> bytes:
        """Run from reset to the end: the harness's results. Raises FirmwareFault or HarnessError."""
        vectors = self.uc.mem_read(self._firmware.values["stepcell_flash_start"], 8)
        self.uc.reg_write(self._sp, int.from_bytes(vectors[:4], "little"))
        try:
            self.uc.emu_start(int.from_bytes(vectors[4:], "little") | 1, _NEVER)
        except self._unicorn.UcError as error:
            raise self._fault(str(error)) from error
        if self._files.exit_code is None:
            raise RuntimeError("the emulation ended, but the firmware did not")
        check_exit(self._files.exit_code, name)
        return bytes(self._files.files["stepcell.out"])

    def check_alignment(self) -> None:
        """Make unaligned access a fault from now on."""
        kinds = self._unicorn.UC_HOOK_MEM_READ | self._unicorn.UC_HOOK_MEM_WRITE
        self.uc.hook_add(kinds, self._on_access)

    def _map(self, region: str, permissions: int) -> None:
        start = self._firmware.values[f"stepcell_{region}_start"]
        end = self._firmware.values[f"stepcell_{region}_end"]
        self.uc.mem_map(start, -(-(end - start) // _PAGE) * _PAGE, permissions)

    def _on_exception(self, uc: Any, number: int, _: object) -> None:
        pc = uc.reg_read(self._pc)
        if number != _BREAKPOINT or bytes(uc.mem_read(pc, 2)) != _SEMIHOSTING_CALL:
            raise self._fault(f"exception {number}")
        operation, block = (uc.reg_read(register) for register in self._arguments)
        uc.reg_write(self._arguments[0], self._files.call(uc, operation, block))
        uc.reg_write(self._pc, (pc + 2) | 1)
        if self._files.exit_code is not None:
            uc.emu_stop()

    def _on_access(self, _uc: Any, _kind: int, address: int, size: int, _value: int, _: object) -> None:
        if address % min(size, 4):  # a pair of words needs the alignment of one
            raise self._fault(f"unaligned access to {size} bytes at {address:#010x}")

    def _on_bad_access(self, _uc: Any, _kind: int, address: int, size: int, _value: int, _: object) -> bool:
        """Here the pc is exact; once emulation has stopped, it is that of an earlier block."""
        raise self._fault(f"access to {size} bytes at {address:#010x}, where there is no such memory")

    def _fault(self, cause: str) -> FirmwareFault:
        pc = self.uc.reg_read(self._pc)
        return FirmwareFault(pc, self._firmware.function_at(pc), cause)
