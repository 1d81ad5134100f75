"""The harness protocol: little-endian words and bytes, the same bytes on every backend.

Jobs:    "SCJ1", number of jobs; per job: kind, flags (1: misaligned), lanes, frames; per lane: model id
         (CRC-32 of its name), state bytes, x bytes, y bytes; then for each frame, for each lane: x.
Results: "SCR1"; per job, for each frame, for each lane: state, y, and of a stack job the bytes used;
         of a self-test job one code per lane; "END!".
"""

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stepcell.build import Bundle
from stepcell.run.jobs import Array, Job, JobResult, Kind, Lane, LaneResult, take

MAX_LANES = 4


def pack_jobs(jobs: Sequence[Job]) -> bytes:
    """Jobs as the bytes that the harness reads."""
    return b"".join([struct.pack("<4sI", b"SCJ1", len(jobs)), *map(_pack_job, jobs)])


def unpack_results(jobs: Sequence[Job], data: bytes) -> list[JobResult]:
    """What the harness wrote for `jobs`; raises ValueError where it is not exactly that."""
    sizes = [_result_bytes(job) for job in jobs]
    if len(data) != 8 + sum(sizes) or data[:4] != b"SCR1" or data[-4:] != b"END!":
        raise ValueError(f"the harness wrote {len(data)} bytes, not {8 + sum(sizes)} between its marks")
    results = []
    offset = 4
    for job, size in zip(jobs, sizes, strict=True):
        results.append(_unpack_job(job, data[offset : offset + size]))
        offset += size
    return results


def result_bytes(jobs: Sequence[Job]) -> int:
    """How many bytes the harness writes for `jobs`."""
    return 8 + sum(map(_result_bytes, jobs))


def _pack_job(job: Job) -> bytes:
    steps = {lane.steps for lane in job.lanes}
    if not 1 <= len(job.lanes) <= MAX_LANES or len(steps) != 1:
        raise ValueError(f"a job has 1 to {MAX_LANES} lanes of one length; found lengths {sorted(steps)}")
    header = struct.pack("<4I", job.kind, int(job.misaligned), len(job.lanes), steps.pop())
    requests = [_pack_request(lane.bundle) for lane in job.lanes]
    frames = np.concatenate([_frames(lane) for lane in job.lanes], axis=1)
    return b"".join([header, *requests, b"" if job.kind == Kind.SELFTEST else frames.tobytes()])


def _pack_request(bundle: Bundle) -> bytes:
    return struct.pack("<4I", bundle.id, bundle.state_bytes, bundle.x_bytes, bundle.y_bytes)


def _frames(lane: Lane) -> NDArray[np.uint8]:
    frames = np.zeros((lane.steps, lane.bundle.x_bytes), np.uint8)
    for port in lane.bundle.inputs:
        if lane.inputs:
            values = np.ascontiguousarray(lane.inputs[port.name]).view(np.uint8)
            frames[:, port.offset : port.offset + port.bytes] = values.reshape(lane.steps, port.bytes)
    return frames


def _row_bytes(job: Job, lane: Lane) -> int:
    stack = 4 if job.kind == Kind.STACK else 0
    return lane.bundle.state_bytes + lane.bundle.y_bytes + stack


def _result_bytes(job: Job) -> int:
    if job.kind == Kind.SELFTEST:
        return 4 * len(job.lanes)
    return sum(lane.steps * _row_bytes(job, lane) for lane in job.lanes)


def _unpack_job(job: Job, data: bytes) -> JobResult:
    if job.kind == Kind.SELFTEST:
        codes = np.frombuffer(data, "<i4")
        return tuple(_selftest_result(lane, int(code)) for lane, code in zip(job.lanes, codes, strict=True))
    widths = [_row_bytes(job, lane) for lane in job.lanes]
    rows = np.frombuffer(data, np.uint8).reshape(job.lanes[0].steps, sum(widths))
    parts = np.split(rows, np.cumsum(widths)[:-1], axis=1)
    return tuple(_lane_result(job, lane, part) for lane, part in zip(job.lanes, parts, strict=True))


def _lane_result(job: Job, lane: Lane, rows: NDArray[np.uint8]) -> LaneResult:
    bundle = lane.bundle
    y = rows[:, bundle.state_bytes :]
    stack = None
    if job.kind == Kind.STACK:
        stack = take(rows, bundle.state_bytes + bundle.y_bytes, np.dtype("<u4"), 1)[:, 0]
    outputs: dict[str, Array] = {p.name: take(y, p.offset, p.dtype, p.count) for p in bundle.outputs}
    return LaneResult(np.ascontiguousarray(rows[:, : bundle.state_bytes]), outputs, stack)


def _selftest_result(lane: Lane, code: int) -> LaneResult:
    return LaneResult(np.zeros((0, lane.bundle.state_bytes), np.uint8), {}, selftest=code)
