"""What can go wrong while an image runs. All of these are bugs, so none is a StepcellError."""

import struct

from stepcell.build.elf import Firmware

FAULT_EXIT = 99

# The exit codes of targets/support/harness/harness.h.
_EXITS = {
    10: "the job stream ended early",
    11: "the job stream does not start with its mark",
    12: "a job has an unknown kind or flag",
    13: "a job names a model that is not in the image",
    14: "a job has no lane or too many",
    15: "a job's sizes are not those of the model in the image",
    16: "the model wrote past the end of its state or its outputs",
    17: "the results could not be written",
    18: "the depth of the stack could not be measured",
    19: "the stack grew into the data",
}
_EXCEPTIONS = {
    2: "NMI",
    3: "hard fault",
    4: "memory fault",
    5: "bus fault",
    6: "usage fault",
    7: "secure fault",
}
_CFSR_BITS = {
    0: "instruction fetch from forbidden memory",
    1: "access to forbidden memory",
    8: "instruction fetch from no memory",
    9: "access to no memory",
    10: "access to no memory",
    16: "undefined instruction",
    17: "wrong instruction set state",
    19: "the FPU is not enabled",
    24: "unaligned access",
    25: "division by zero",
}
_TRAPS = {
    0: "jump to an unaligned address",
    1: "instruction fetch from no memory",
    2: "undefined instruction",
    4: "unaligned load",
    5: "load from no memory",
    6: "unaligned store",
    7: "store to no memory",
}


class HarnessError(RuntimeError):
    """The harness refused a job or found a model misbehaving."""


class FirmwareFault(RuntimeError):
    """Firmware faulted: at `pc`, in `function`, because of `cause`."""

    def __init__(self, pc: int, function: str, cause: str) -> None:
        super().__init__(f"Firmware faulted at {pc:#010x} in {function}: {cause}.")
        self.pc = pc
        self.function = function
        self.cause = cause


def check_exit(code: int, context: str) -> None:
    """Raises HarnessError with the meaning of a harness's exit code other than 0."""
    if code != 0:
        raise HarnessError(f"{context}: {_EXITS.get(code, f'it ended with code {code}')}.")


def fault_from_report(firmware: Firmware, isa: str, report: bytes) -> FirmwareFault:
    """The fault in the 16 bytes that the firmware's fault handler wrote (support/harness/semihosting.h)."""
    exception, pc, caller, detail = struct.unpack("<4I", report)
    what = _trap(exception, detail) if isa.startswith("rv32") else _arm_fault(exception, detail)
    cause = f"{what}, called from {firmware.function_at(caller)}"
    return FirmwareFault(pc, firmware.function_at(pc), cause)


def _arm_fault(exception: int, cfsr: int) -> str:
    reasons = [text for bit, text in _CFSR_BITS.items() if cfsr >> bit & 1]
    kind = _EXCEPTIONS.get(exception, f"exception {exception}")
    return f"{kind} ({', '.join(reasons) or 'no further cause given'})"


def _trap(cause: int, value: int) -> str:
    """mcause and mtval, which is the address or the instruction."""
    return f"{_TRAPS.get(cause, f'trap {cause}')} ({value:#x})"
