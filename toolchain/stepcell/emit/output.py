"""Where a bundle may be written: nothing that is no bundle is ever replaced."""

import json
from pathlib import Path

from stepcell.errors import StepcellError

# fmt: off
_HEADERS = frozenset([
    "assert", "complex", "ctype", "errno", "fenv", "float", "inttypes", "iso646", "limits", "locale",
    "math", "setjmp", "signal", "stdalign", "stdarg", "stdatomic", "stdbool", "stddef", "stdint",
    "stdio", "stdlib", "stdnoreturn", "string", "tgmath", "threads", "time", "uchar", "wchar", "wctype",
    "stepcell",
])
# fmt: on
"""Of C's library and of the runtime: NAME.h on the include path would hide one of them."""


def check_name(name: str) -> None:
    """StepcellError for a model whose header would hide another one."""
    if name in _HEADERS:
        raise StepcellError(
            f"A model called '{name}' would make a {name}.h that hides another header.",
            "give it another name: --name my_model.",
        )


def check_output(folder: Path) -> None:
    """StepcellError where a bundle in `folder` would destroy something else."""
    if folder.exists() and not folder.is_dir():
        raise StepcellError(f"{folder} is a file, not a folder.", "choose another output folder.")
    if folder.is_dir() and any(folder.iterdir()) and not _is_bundle(folder):
        raise StepcellError(
            f"{folder} is not empty and holds no stepcell bundle.",
            "choose another folder, or empty this one.",
        )


def unwritable(path: Path, error: OSError) -> StepcellError:
    """The operating system's refusal in one sentence."""
    return StepcellError(f"{path} cannot be written: {error.strerror}.", "choose another folder.")


def _is_bundle(folder: Path) -> bool:
    """Many programs write a manifest.json; a bundle's says which stepcell made it."""
    try:
        return "stepcell_version" in json.loads((folder / "manifest.json").read_bytes())
    except (OSError, ValueError, TypeError):
        return False
