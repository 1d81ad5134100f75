"""Which class of a core's timing table an instruction belongs to."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from stepcell.build.elf import Firmware
from stepcell.build.toolchains import device_module

_KINDS = {
    "load": "ldr ldrb ldrh ldrsb ldrsh vldr",
    "store": "str strb strh vstr",
    "pair": "ldrd strd",
    "multiple": "ldm ldmdb stm stmdb push pop vldmia vldmdb vstmia vstmdb vpush vpop",
    "multiply": "mul smulbb smulbt smultb smultt smulwb smulwt smuad smuadx smusd smusdx smmul smmulr",
    "multiply_accumulate": "mla mls smlabb smlabt smlatb smlatt smlawb smlawt smlad smladx smlsd smlsdx"
    " smmla smmlar smmls smmlsr",
    "multiply_long": "smull umull",
    "multiply_accumulate_long": "smlal umlal umaal smlald smlaldx smlsld smlalbb smlalbt smlaltb smlaltt",
    "divide": "sdiv udiv",
    "if_then": "it",
    "table_branch": "tbb tbh",
    "branch_link": "bl",
    "branch_exchange": "bx blx",
    "system": "mrs msr dmb dsb isb",
    "float_multiply_accumulate": "vmla vmls vfma vfms vfnma vfnms vnmla vnmls",
    "float_divide": "vdiv vsqrt",
}
_DIRECT = frozenset(("b", "cbz", "cbnz"))


@dataclass(frozen=True)
class Instruction:
    """One decoded instruction, as far as its time depends on it.

    `registers` counts a list's registers; `writes` is a load's destination; `address` the registers that form
    an address; `jump` is taken, taken_link or taken_indirect, for the case that it does not fall through.
    """

    kind: str
    registers: int
    loads_pc: bool
    writes: int | None
    address: frozenset[int]
    jump: str


def decode(firmware: Firmware, pc: int, size: int) -> Instruction:
    """The instruction of `size` bytes at `pc`.

    Raises ValueError for bytes that are no instruction.
    """
    for found in _disassembler().disasm(firmware.read(pc, size), pc):
        return _classify(found)
    raise ValueError(f"no instruction at {pc:#x}")


@cache
def _disassembler() -> Any:
    capstone = device_module("capstone")
    result = capstone.Cs(
        capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS | capstone.CS_MODE_V8
    )
    result.detail = True
    return result


@cache
def _kind_of_id() -> dict[int, str]:
    arm = device_module("capstone.arm")
    names = {name: kind for kind, group in _KINDS.items() for name in group.split()}
    return {getattr(arm, f"ARM_INS_{name.upper()}"): kind for name, kind in names.items()}


@cache
def _direct_ids() -> frozenset[int]:
    arm = device_module("capstone.arm")
    return frozenset(getattr(arm, f"ARM_INS_{name.upper()}") for name in _DIRECT)


def _classify(found: Any) -> Instruction:
    arm = device_module("capstone.arm")
    kind = _kind_of_id().get(found.id, "other")
    registers = [o.reg for o in found.operands if o.type == arm.ARM_OP_REG]
    memory = [o.mem for o in found.operands if o.type == arm.ARM_OP_MEM]
    indexed = any(m.index for m in memory)
    base = found.id not in (arm.ARM_INS_PUSH, arm.ARM_INS_POP, arm.ARM_INS_VPUSH, arm.ARM_INS_VPOP)
    return Instruction(
        kind=("store_register" if indexed else "store_immediate") if kind == "store" else kind,
        registers=len(registers) - base if kind == "multiple" else 0,
        loads_pc=kind == "multiple" and arm.ARM_REG_PC in registers,
        writes=registers[0] if kind == "load" else None,
        address=frozenset(register for m in memory for register in (m.base, m.index) if register),
        jump=_jump(found.id, kind),
    )


def _jump(number: int, kind: str) -> str:
    if kind == "branch_link":
        return "taken_link"
    return "taken" if number in _direct_ids() else "taken_indirect"
