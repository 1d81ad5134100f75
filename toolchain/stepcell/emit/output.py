"""Where a bundle may be written: nothing that stepcell did not write is ever replaced."""

import json
import shutil
from collections.abc import Iterator
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


def keep_users_files(folder: Path, built: Path) -> None:
    """Copy into `built`, a new bundle, what somebody added to the old one in `folder`.

    Raises StepcellError where the new bundle has a file of that name.
    """
    for path in _users_files(folder):
        copy = built / path.relative_to(folder)
        if copy.exists():
            raise StepcellError(
                f"{path} was not written by stepcell, and the new bundle has a file of that name.",
                "move it away, or choose another folder.",
            )
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy, follow_symlinks=False)


def _users_files(folder: Path) -> Iterator[Path]:
    """What the manifest of the bundle in `folder` does not list; bundles of old versions list nothing."""
    if not _is_bundle(folder):
        return
    manifest = json.loads((folder / "manifest.json").read_bytes())
    listed, name = manifest.get("files"), manifest.get("name")
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        if listed is None:
            own = inside.parts[0] in ("stepcell", "onnx", "manifest.json") or path.name.startswith(str(name))
        else:
            own = inside.as_posix() in (*listed, "manifest.json")
        if not own and (path.is_symlink() or path.is_file()):
            yield path


def unwritable(path: Path, error: OSError) -> StepcellError:
    """The operating system's refusal in one sentence."""
    return StepcellError(f"{path} cannot be written: {error.strerror}.", "choose another folder.")


def _is_bundle(folder: Path) -> bool:
    """Many programs write a manifest.json; a bundle's says which stepcell made it."""
    try:
        return "stepcell_version" in json.loads((folder / "manifest.json").read_bytes())
    except (OSError, ValueError, TypeError):
        return False
