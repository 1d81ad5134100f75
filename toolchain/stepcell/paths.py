"""Where the C runtime and the target descriptions lie: in a checkout, or in the installed wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_SHARE = _PACKAGE / "_share"
_ROOT = _SHARE if _SHARE.is_dir() else _PACKAGE.parents[1]


def runtime_dir() -> Path:
    """Folder of the C runtime (`include/`, `src/`)."""
    return _ROOT / "runtime_c"


def targets_dir() -> Path:
    """Folder of the target descriptions (`cores/`, `boards/`, `support/`)."""
    return _ROOT / "targets"
