"""Which files a process opens in a folder, by whatever library: inotify(7)."""

import ctypes
import os
from pathlib import Path
from types import TracebackType

_IN_OPEN, _IN_NONBLOCK = 0x20, 0o4000


class OpensIn:
    """Watches a folder; `any()` tells whether a file in it was opened since the last question."""

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(_IN_NONBLOCK)
        if self._fd < 0 or libc.inotify_add_watch(self._fd, os.fsencode(folder), _IN_OPEN) < 0:
            raise OSError(ctypes.get_errno(), "inotify")

    def __enter__(self) -> "OpensIn":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def any(self) -> bool:
        """Whether anything was opened."""
        try:
            return bool(os.read(self._fd, 4096))
        except BlockingIOError:
            return False
