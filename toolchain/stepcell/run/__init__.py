"""Run compiled bundles on the host, in Unicorn and in QEMU, and count what they execute."""

from stepcell.run.counts import Counts
from stepcell.run.cycles import CycleEstimate
from stepcell.run.faults import FirmwareFault
from stepcell.run.host import run_host
from stepcell.run.jobs import Job, JobResult, Kind, Lane, LaneResult, lane, split_state
from stepcell.run.profile import LayerProfile, Profile, profile_step
from stepcell.run.qemu import run_qemu
from stepcell.run.stack import worst_stack
from stepcell.run.unicorn_machine import run_unicorn

__all__ = [
    "Counts",
    "CycleEstimate",
    "FirmwareFault",
    "Job",
    "JobResult",
    "Kind",
    "Lane",
    "LaneResult",
    "LayerProfile",
    "Profile",
    "lane",
    "profile_step",
    "run_host",
    "run_qemu",
    "run_unicorn",
    "split_state",
    "worst_stack",
]
