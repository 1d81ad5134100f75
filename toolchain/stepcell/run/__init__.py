"""Run compiled bundles on the host, in Unicorn and in QEMU, and count what they execute."""

from stepcell.run.counts import Counts
from stepcell.run.cycles import CycleEstimate
from stepcell.run.emulators import EMULATORS, check_emulator, counting_emulator, emulator, emulators_of
from stepcell.run.faults import FirmwareFault
from stepcell.run.host import run_host
from stepcell.run.jobs import (
    Job,
    JobResult,
    Kind,
    Lane,
    LaneResult,
    Part,
    PartResult,
    lane,
    lane_of,
    split_state,
)
from stepcell.run.profile import LayerProfile, Profile, profile_each_step, profile_step
from stepcell.run.qemu import run_qemu
from stepcell.run.qemu_user import run_qemu_user
from stepcell.run.simavr import run_simavr
from stepcell.run.stack import worst_stack
from stepcell.run.unicorn_machine import run_unicorn

__all__ = [
    "EMULATORS",
    "Counts",
    "CycleEstimate",
    "FirmwareFault",
    "Job",
    "JobResult",
    "Kind",
    "Lane",
    "LaneResult",
    "LayerProfile",
    "Part",
    "PartResult",
    "Profile",
    "check_emulator",
    "counting_emulator",
    "emulator",
    "emulators_of",
    "lane",
    "lane_of",
    "profile_each_step",
    "profile_step",
    "run_host",
    "run_qemu",
    "run_qemu_user",
    "run_simavr",
    "run_unicorn",
    "split_state",
    "worst_stack",
]
