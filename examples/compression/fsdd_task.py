"""The spoken-digit task of the benchmark, seed 0, for `stepcell compress --task`.

python examples/compression/fsdd_task.py trains the dense GRU-128 and says where it is.
"""

from __future__ import annotations

from compression.tasks import BENCHMARKS
from stepcell.compress import Task

NAME = "fsdd-gru128"


def task() -> Task:
    """2,430 clips to learn from, 270 to choose by, the official 300 test clips."""
    return BENCHMARKS[NAME].task(0)


if __name__ == "__main__":
    print(BENCHMARKS[NAME].source(0))
