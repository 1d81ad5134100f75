"""The harness protocol: little-endian words and bytes, the same bytes on every backend.

Jobs:    "SCJ2", number of jobs; per job: kind, flags (1: misaligned), lanes, parts; per lane: model id
         (CRC-32 of its name), state bytes; per part: frames; per lane: function, x bytes, y bytes; then for
         each frame, for each lane: x. The x of a run: number of steps, then room for all steps of each input.
Results: "SCR2"; per job, for each part, for each frame, for each lane: state, y, and of a stack job the bytes
         used; of a self-test job one code per lane; "END!".
"""

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stepcell.run.jobs import Array, Job, JobResult, Kind, Lane, LaneResult, Part, PartResult, take

MAX_LANES = 4
UNUSED = 0x5A


def pack_jobs(jobs: Sequence[Job]) -> bytes:
    """Jobs as the bytes that the harness reads."""
    return b"".join([struct.pack("<4sI", b"SCJ2", len(jobs)), *map(_pack_job, jobs)])


def unpack_results(jobs: Sequence[Job], data: bytes) -> list[JobResult]:
    """What the harness wrote for `jobs`; raises ValueError where it is not exactly that."""
    sizes = [_result_bytes(job) for job in jobs]
    if len(data) != 8 + sum(sizes) or data[:4] != b"SCR2" or data[-4:] != b"END!":
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
    calls = {() if job.kind == Kind.SELFTEST else tuple(p.calls for p in lane.parts) for lane in job.lanes}
    if not 1 <= len(job.lanes) <= MAX_LANES or len(calls) != 1:
        raise ValueError(f"a job has 1 to {MAX_LANES} lanes of one length; found lengths {sorted(calls)}")
    parts = [] if job.kind == Kind.SELFTEST else list(zip(*(lane.parts for lane in job.lanes), strict=True))
    header = struct.pack("<4I", job.kind, int(job.misaligned), len(job.lanes), len(parts))
    requests = [struct.pack("<2I", lane.bundle.id, lane.bundle.state_bytes) for lane in job.lanes]
    packed = [_pack_part(job.lanes, together) for together in parts]
    return b"".join([header, *requests, *packed])


def _pack_part(lanes: Sequence[Lane], parts: Sequence[Part]) -> bytes:
    """What every lane does, side by side."""
    pairs = list(zip(lanes, parts, strict=True))
    requests = [_pack_request(lane, part) for lane, part in pairs]
    frames = np.concatenate([_frames(part) for part in parts], axis=1)
    return b"".join([struct.pack("<I", parts[0].calls), *requests, frames.tobytes()])


def _pack_request(lane: Lane, part: Part) -> bytes:
    function = part.function
    return struct.pack("<3I", lane.bundle.functions.index(function), function.x_bytes, function.y_bytes)


def _frames(part: Part) -> NDArray[np.uint8]:
    """[calls, x bytes]; what a run leaves unused is not zero, so that reading it would be found out."""
    function = part.function
    frames = np.zeros((part.calls, function.x_bytes), np.uint8)
    if not function.is_step:
        frames[:] = UNUSED
        frames[:, :4] = np.frombuffer(struct.pack("<I", part.steps), np.uint8)
    for port in function.inputs:
        if part.inputs:
            width = port.bytes if function.is_step else part.steps * port.count * port.dtype.itemsize
            values = np.ascontiguousarray(part.inputs[port.name]).view(np.uint8)
            frames[:, port.offset : port.offset + width] = values.reshape(part.calls, width)
    return frames


def _row_bytes(job: Job, lane: Lane, part: Part) -> int:
    """What one call gives."""
    stack = 4 if job.kind == Kind.STACK else 0
    return lane.bundle.state_bytes + part.function.y_bytes + stack


def _part_bytes(job: Job, number: int) -> int:
    return sum(lane.parts[number].calls * _row_bytes(job, lane, lane.parts[number]) for lane in job.lanes)


def _result_bytes(job: Job) -> int:
    if job.kind == Kind.SELFTEST:
        return 4 * len(job.lanes)
    return sum(_part_bytes(job, number) for number in range(len(job.lanes[0].parts)))


def _unpack_job(job: Job, data: bytes) -> JobResult:
    if job.kind == Kind.SELFTEST:
        return tuple(LaneResult((), int(code)) for code in np.frombuffer(data, "<i4"))
    results: list[list[PartResult]] = [[] for _ in job.lanes]
    offset = 0
    for number in range(len(job.lanes[0].parts)):
        size = _part_bytes(job, number)
        for found, result in zip(
            _unpack_part(job, number, data[offset : offset + size]), results, strict=True
        ):
            result.append(found)
        offset += size
    return tuple(LaneResult(tuple(parts)) for parts in results)


def _unpack_part(job: Job, number: int, data: bytes) -> list[PartResult]:
    """Of every lane."""
    pairs = [(lane, lane.parts[number]) for lane in job.lanes]
    widths = [_row_bytes(job, lane, part) for lane, part in pairs]
    rows = np.frombuffer(data, np.uint8).reshape(pairs[0][1].calls, sum(widths))
    columns = np.split(rows, np.cumsum(widths)[:-1], axis=1)
    return [_part_result(job, *pair, part) for pair, part in zip(pairs, columns, strict=True)]


def _part_result(job: Job, lane: Lane, part: Part, rows: NDArray[np.uint8]) -> PartResult:
    state_bytes, function = lane.bundle.state_bytes, part.function
    y = rows[:, state_bytes:]
    stack = None
    if job.kind == Kind.STACK:
        stack = take(rows, state_bytes + function.y_bytes, np.dtype("<u4"), 1)[:, 0]
    outputs: dict[str, Array] = {}
    for port in function.outputs:
        found = take(y, port.offset, port.dtype, port.rows * port.count)
        if function.is_step or port.finished:
            outputs[port.name] = found
        else:
            outputs[port.name] = found.reshape(port.rows, port.count)[: part.steps]
    return PartResult(np.ascontiguousarray(rows[:, :state_bytes]), outputs, stack)
