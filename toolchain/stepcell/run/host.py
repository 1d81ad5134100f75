"""Run jobs on this computer: in a shared library, or in the program that `sanitize=True` builds."""

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from stepcell.build.toolchains import device_module
from stepcell.run.faults import HarnessError, check_exit
from stepcell.run.jobs import Job, JobResult
from stepcell.run.wire import pack_jobs, result_bytes, unpack_results

_PROTOTYPE = "int stepcell_harness(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t *out_bytes);"


def run_host(library: Path, jobs: Sequence[Job]) -> list[JobResult]:
    """Run jobs in what `build_host` built.

    Raises HarnessError where the harness or a sanitizer stopped.
    """
    if library.suffix == ".so":
        return unpack_results(jobs, _call(library, jobs))
    return unpack_results(jobs, _execute(library, jobs))


def _call(library: Path, jobs: Sequence[Job]) -> bytes:
    ffi = device_module("cffi").FFI()
    ffi.cdef(_PROTOTYPE)
    data = pack_jobs(jobs)
    room = result_bytes(jobs)
    out = ffi.new("uint8_t[]", room)
    out_bytes = ffi.new("size_t *", room)
    loaded = ffi.dlopen(str(library))
    try:
        code = loaded.stepcell_harness(ffi.from_buffer(data), len(data), out, out_bytes)
    finally:
        ffi.dlclose(loaded)
    check_exit(code, library.name)
    return bytes(ffi.buffer(out, out_bytes[0]))


def _execute(program: Path, jobs: Sequence[Job]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source, results = Path(folder) / "jobs", Path(folder) / "results"
        source.write_bytes(pack_jobs(jobs))
        ended = subprocess.run([program, source, results], capture_output=True, text=True, check=False)
        if ended.returncode < 0 or ended.stderr:
            raise HarnessError(f"{program.name} ended with {ended.returncode}:\n{ended.stderr}")
        check_exit(ended.returncode, program.name)
        return results.read_bytes()
